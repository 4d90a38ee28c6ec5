// Shared addresses of the emulation; cuda/tile/shared_address.cuh says what each wrapper means.
#pragma once

#include <cstdint>

#include "simt/machine.h"

namespace caravan::tile {

inline uint32_t shared_address(const void* shared) { return simt::shared_address(shared); }

}  // namespace caravan::tile
