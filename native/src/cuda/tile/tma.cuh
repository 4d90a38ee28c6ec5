// Copies by the tensor memory accelerator: cp.async.bulk and cp.async.bulk.tensor (PTX ISA, "Data
// Movement and Conversion Instructions: Asynchronous copy"; sm_90 on). One thread starts a copy of
// any size.
//
// Into shared memory a copy counts its bytes on an mbarrier, whose phase must expect them; what it
// wrote may be read after a wait for that phase. Out of shared memory copies belong to groups of
// the thread that started them; what they read must stay as it is until tma_wait_read, and what
// they write is there after tma_wait. Shared memory that was written by plain stores needs
// fence_async_shared first.
//
// Addresses: a bulk copy needs 16 bytes' alignment on both sides and in its size; a tensor copy a
// place in shared memory aligned to 128 bytes, and to the swizzle's period for the pattern to start
// there.
//
// Measured on an H200 (driver 580), where the manual is silent: x times the element's size must be
// a multiple of 16 bytes, else the kernel ends with an illegal instruction; a load may begin at a
// negative coordinate, a store may not (the same end); what lies beyond an extent is read as zeros
// to the element, but a store cuts rows at whole 16 bytes, so it writes up to 15 bytes beyond an
// extent that is not a multiple of them.
#pragma once

#include <cstdint>

#include "cuda/tile/arch.cuh"
#include "cuda/tile/mbarrier.cuh"
#include "cuda/tile/tensor_map.h"

namespace caravan::tile {

// Starts a copy of contiguous bytes from global to shared memory; counts `bytes` on the barrier.
__device__ __forceinline__ void tma_copy_in(void* to_shared, const void* from_global,
                                            uint32_t bytes, Mbarrier* barrier);

// Starts a copy of the box at (x[, y[, z]]), in elements, innermost first, into shared memory;
// counts the whole box's bytes on the barrier, those outside the tensor included.
__device__ __forceinline__ void tma_load(void* to_shared, const TensorMap& map, int x,
                                         Mbarrier* barrier);
__device__ __forceinline__ void tma_load(void* to_shared, const TensorMap& map, int x, int y,
                                         Mbarrier* barrier);
__device__ __forceinline__ void tma_load(void* to_shared, const TensorMap& map, int x, int y, int z,
                                         Mbarrier* barrier);

// The same, into the same place of every block of the cluster whose bit is set in `blocks`,
// counting on the same barrier in each (sm_90a).
__device__ __forceinline__ void tma_load_multicast(void* to_shared, const TensorMap& map, int x,
                                                   int y, Mbarrier* barrier, uint16_t blocks);

// Starts a copy of contiguous bytes from shared to global memory.
__device__ __forceinline__ void tma_copy_out(void* to_global, const void* from_shared,
                                             uint32_t bytes);

// Starts a copy of a box from shared memory to (x[, y[, z]]).
__device__ __forceinline__ void tma_store(const TensorMap& map, int x, const void* from_shared);
__device__ __forceinline__ void tma_store(const TensorMap& map, int x, int y,
                                          const void* from_shared);
__device__ __forceinline__ void tma_store(const TensorMap& map, int x, int y, int z,
                                          const void* from_shared);

// Adds float32 values in shared memory to those in global memory; each addition is atomic, their
// order is not fixed.
__device__ __forceinline__ void tma_add_out(float* to_global, const float* from_shared,
                                            uint32_t bytes);

// Closes a group of this thread's copies out of shared memory.
__device__ __forceinline__ void tma_commit();

// Waits until all but the kPending newest groups have read their shared memory, or have written as
// well.
template <int kPending>
__device__ __forceinline__ void tma_wait_read();
template <int kPending>
__device__ __forceinline__ void tma_wait();

// Brings a map near, ahead of its first use.
__device__ __forceinline__ void tma_prefetch(const TensorMap& map);

}  // namespace caravan::tile

#ifdef CARAVAN_SIMT
#include "simt/tile/tma.h"
#else
#include "cuda/tile/ptx/tma.cuh"
#endif
