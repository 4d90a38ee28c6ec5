// Counters in device memory by which blocks of a kernel wait for one another (PTX ISA, "Memory
// Consistency Model"; "ld", "red" and "atom" with .acquire, .release and a scope).
//
// A block may wait for one that has begun, and for no other: what has not begun may have to wait
// for its place. So that blocks know which have, they take their numbers by counter_take.
#pragma once

#include <cstdint>

#include "cuda/tile/arch.cuh"
#include "cuda/tile/site.cuh"

namespace caravan::tile {

// The number of calls before this one; orders nothing.
__device__ __forceinline__ uint32_t counter_take(uint32_t* counter);

// Waits until the counter is at least `count`; what was done before the counter_adds that made it
// so comes before what this thread does next, by plain accesses. One thread calls.
__device__ __forceinline__ void counter_wait(const uint32_t* counter,
                                             uint32_t count CARAVAN_SITE);

// Adds 1, behind what this thread did and what it knows others to have done. What a bulk copy
// wrote must have been waited for (tma_wait).
__device__ __forceinline__ void counter_add(uint32_t* counter);

}  // namespace caravan::tile

#ifdef CARAVAN_SIMT
#include "simt/tile/counter.h"
#else
#include "cuda/tile/ptx/counter.cuh"
#endif
