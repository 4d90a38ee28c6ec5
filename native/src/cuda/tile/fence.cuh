// Orders of memory accesses (PTX ISA, "Parallel Synchronization and Communication Instructions:
// membar/fence", and "Memory Consistency Model: Proxies").
//
// Bulk copies and wgmma reach memory through the asynchronous proxy, plain loads and stores through
// the generic one, and neither sees the other's writes in order without a fence between. Where one
// thread writes shared memory that a bulk copy or a wgmma will read: every writer fences, then a
// barrier, then the read is started. What a bulk copy wrote is seen after the wait on its mbarrier,
// without a fence.
#pragma once

#include "cuda/tile/arch.cuh"

namespace caravan::tile {

// What this thread did to shared memory by plain accesses comes before what the asynchronous proxy
// does to it afterwards (fence.proxy.async.shared::cta; sm_90 on).
__device__ __forceinline__ void fence_async_shared();

// The same for global memory, before a bulk copy reads what this thread wrote there.
__device__ __forceinline__ void fence_async_global();

// This thread's writes become visible in order: to the block, to the device, to the whole system.
__device__ __forceinline__ void fence_block();
__device__ __forceinline__ void fence_device();
__device__ __forceinline__ void fence_system();

}  // namespace caravan::tile

#ifdef CARAVAN_SIMT
#include "simt/tile/fence.h"
#else
#include "cuda/tile/ptx/fence.cuh"
#endif
