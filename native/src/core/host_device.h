// Marks small functions that device code uses as it is, so that every device computes the same.
#pragma once

#ifdef __CUDACC__
#define CARAVAN_HOST_DEVICE __host__ __device__
#else
#define CARAVAN_HOST_DEVICE
#endif
