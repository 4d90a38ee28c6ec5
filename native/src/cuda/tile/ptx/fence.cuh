// Fences for nvcc; cuda/tile/fence.cuh says what each wrapper means.
#pragma once

#include "cuda/tile/ptx/require.cuh"

namespace caravan::tile {

__device__ void fence_async_shared() {
#if CARAVAN_SM90
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void fence_async_global() {
#if CARAVAN_SM90
    asm volatile("fence.proxy.async.global;" ::: "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void fence_block() { __threadfence_block(); }
__device__ void fence_device() { __threadfence(); }
__device__ void fence_system() { __threadfence_system(); }

}  // namespace caravan::tile
