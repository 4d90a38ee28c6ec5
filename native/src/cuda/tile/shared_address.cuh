// The number by which instructions name a place in shared memory: 32 bits wide, 0 at the start of
// the block's window (PTX ISA, "State Spaces: Shared State Space"; in a cluster, "shared::cta").
#pragma once

#include <cstdint>

#include "cuda/tile/arch.cuh"

namespace caravan::tile {

// Of a generic address that points into the shared memory of the calling thread's block.
__device__ __forceinline__ uint32_t shared_address(const void* shared);

}  // namespace caravan::tile

#ifdef CARAVAN_SIMT
#include "simt/tile/shared_address.h"
#else
#include "cuda/tile/ptx/shared_address.cuh"
#endif
