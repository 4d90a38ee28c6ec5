// Shared addresses for nvcc; cuda/tile/shared_address.cuh says what each wrapper means.
#pragma once

#include <cstdint>

namespace caravan::tile {

__device__ uint32_t shared_address(const void* shared) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

}  // namespace caravan::tile
