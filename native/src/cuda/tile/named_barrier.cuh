// Barriers among some warps of a block (PTX ISA, "Parallel Synchronization and Communication
// Instructions: bar, barrier"). A block has 16; __syncthreads is number 0.
#pragma once

#include "cuda/tile/arch.cuh"
#include "cuda/tile/site.cuh"

namespace caravan::tile {

// Waits until `threads` threads (a multiple of 32, the same in every call) have called sync or
// arrive on barrier `id` (1 to 15). Whole warps take part.
__device__ __forceinline__ void barrier_sync(int id, int threads CARAVAN_SITE);

// Counts as one of the `threads` without waiting.
__device__ __forceinline__ void barrier_arrive(int id, int threads CARAVAN_SITE);

}  // namespace caravan::tile

#ifdef CARAVAN_SIMT
#include "simt/tile/named_barrier.h"
#else
#include "cuda/tile/ptx/named_barrier.cuh"
#endif
