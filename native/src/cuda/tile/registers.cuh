// Registers handed from one warpgroup to another (PTX ISA, "Miscellaneous Instructions:
// setmaxnreg"; sm_90a). A producer that only starts copies gives back what the consumers' sums
// need.
#pragma once

#include "cuda/tile/arch.cuh"

namespace caravan::tile {

// Lowers to kCount registers a thread (24 to 256, a multiple of 8). All warps of a warpgroup call.
template <int kCount>
__device__ __forceinline__ void registers_release();

// Raises to kCount registers a thread; waits until the block's pool has them.
template <int kCount>
__device__ __forceinline__ void registers_claim();

}  // namespace caravan::tile

#ifdef CARAVAN_SIMT
#include "simt/tile/registers.h"
#else
#include "cuda/tile/ptx/registers.cuh"
#endif
