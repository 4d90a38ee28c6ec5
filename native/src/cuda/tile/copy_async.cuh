// Copies from global to shared memory that do not pass through registers and go on while the thread
// does other work: cp.async (PTX ISA, "Data Movement and Conversion Instructions: cp.async"; sm_80
// on).
//
// The copies of a thread land some time between their issue and a wait that covers them; until then
// the bytes in shared memory must be neither read nor written. A wait makes them visible to the
// waiting thread alone: others see them after a barrier that follows it.
#pragma once

#include "cuda/tile/arch.cuh"

namespace caravan::tile {

// Starts a copy of kBytes (4, 8 or 16), to and from addresses aligned to as much. 16 bytes bypass
// L1.
template <int kBytes>
__device__ __forceinline__ void copy_async(void* to_shared, const void* from_global);

// The same, but takes only the first `valid` bytes (0 to kBytes) and fills the rest with zeros. With
// 0 nothing is read, and from_global may be any aligned address; else all kBytes must be readable:
// the manual does not ask for it, but compute-sanitizer on an H200 sees them read.
template <int kBytes>
__device__ __forceinline__ void copy_async_filled(void* to_shared, const void* from_global,
                                                  int valid);

// Closes a group: the copies that this thread started since its last commit. A group may be empty.
__device__ __forceinline__ void copy_async_commit();

// Waits until all but the kPending newest groups of this thread have landed. Copies that no commit
// has closed are not waited for.
template <int kPending>
__device__ __forceinline__ void copy_async_wait();

}  // namespace caravan::tile

#ifdef CARAVAN_SIMT
#include "simt/tile/copy_async.h"
#else
#include "cuda/tile/ptx/copy_async.cuh"
#endif
