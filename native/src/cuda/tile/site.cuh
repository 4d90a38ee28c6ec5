// Where a kernel calls what may block, so that the emulation can say who waits where. A parameter
// that only exists there: CARAVAN_SITE behind others, CARAVAN_SITE_ALONE without others.
#pragma once

#include "cuda/tile/arch.cuh"

#ifdef CARAVAN_SIMT
#define CARAVAN_SITE_ALONE ::simt::Site site = ::simt::Site::here()
#define CARAVAN_SITE , CARAVAN_SITE_ALONE
#else
#define CARAVAN_SITE_ALONE
#define CARAVAN_SITE
#endif
