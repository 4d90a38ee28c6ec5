// Clusters for nvcc; cuda/tile/cluster.cuh says what each wrapper means.
#pragma once

#include <cstdint>

#include "cuda/tile/ptx/require.cuh"
#include "cuda/tile/shared_address.cuh"

namespace caravan::tile {

__device__ uint32_t cluster_rank() {
    uint32_t rank = 0;
#if CARAVAN_SM90
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
    return rank;
}

__device__ uint32_t cluster_size() {
    uint32_t size = 1;
#if CARAVAN_SM90
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
#endif
    return size;
}

__device__ void cluster_arrive() {
#if CARAVAN_SM90
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void cluster_wait() {
#if CARAVAN_SM90
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void cluster_sync() {
#if CARAVAN_SM90
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
    cluster_wait();
}

namespace ptx {

// The address of `own`'s place in block `rank`.
__device__ __forceinline__ uint32_t cluster_address(const void* own, uint32_t rank) {
    uint32_t there = 0;
#if CARAVAN_SM90
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
                 : "=r"(there)
                 : "r"(shared_address(own)), "r"(rank));
#else
    unavailable();
#endif
    return there;
}

}  // namespace ptx

template <typename T>
__device__ void cluster_send(T* own, uint32_t rank, const T& value, Mbarrier* barrier) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "4 or 8 bytes");
#if CARAVAN_SM90
    union {
        T value;
        uint32_t words[sizeof(T) / 4];
    } sent = {value};
    const uint32_t to = ptx::cluster_address(own, rank);
    const uint32_t counted = ptx::cluster_address(barrier, rank);
    if constexpr (sizeof(T) == 4) {
        asm volatile(
            "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32 [%0], %1, [%2];" ::"r"(
                to),
            "r"(sent.words[0]), "r"(counted)
            : "memory");
    } else {
        asm volatile(
            "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.u32 [%0], {%1, %2}, "
            "[%3];" ::"r"(to),
            "r"(sent.words[0]), "r"(sent.words[1]), "r"(counted)
            : "memory");
    }
#else
    ptx::unavailable();
#endif
}

}  // namespace caravan::tile
