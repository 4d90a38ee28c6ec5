// mbarrier for nvcc; cuda/tile/mbarrier.cuh says what each wrapper means.
#pragma once

#include <cstdint>

#include "cuda/tile/ptx/require.cuh"
#include "cuda/tile/shared_address.cuh"

namespace caravan::tile {

__device__ void mbarrier_init(Mbarrier* barrier, uint32_t arrivals) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals)
                 : "memory");
}

__device__ void mbarrier_init_fence() {
#if CARAVAN_SM90
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void mbarrier_invalidate(Mbarrier* barrier) {
    asm volatile("mbarrier.inval.shared.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
}

__device__ void mbarrier_arrive(Mbarrier* barrier) {
    asm volatile(
        "{\n"
        ".reg .b64 state;\n"
        "mbarrier.arrive.shared.b64 state, [%0];\n"
        "}" ::"r"(shared_address(barrier))
        : "memory");
}

__device__ void mbarrier_arrive_expect(Mbarrier* barrier, uint32_t bytes) {
#if CARAVAN_SM90
    asm volatile(
        "{\n"
        ".reg .b64 state;\n"
        "mbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1;\n"
        "}" ::"r"(shared_address(barrier)),
        "r"(bytes)
        : "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void mbarrier_arrive_cluster(Mbarrier* barrier, uint32_t rank) {
#if CARAVAN_SM90
    asm volatile(
        "{\n"
        ".reg .b32 there;\n"
        "mapa.shared::cluster.u32 there, %0, %1;\n"
        "mbarrier.arrive.relaxed.cluster.shared::cluster.b64 _, [there];\n"
        "}" ::"r"(shared_address(barrier)),
        "r"(rank)
        : "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void mbarrier_arrive_after_copies(Mbarrier* barrier) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(shared_address(barrier))
                 : "memory");
}

__device__ bool mbarrier_test(Mbarrier* barrier, uint32_t parity) {
    uint32_t complete = 0;
#if CARAVAN_SM90
    asm volatile(
        "{\n"
        ".reg .pred complete;\n"
        "mbarrier.test_wait.parity.shared::cta.b64 complete, [%1], %2;\n"
        "selp.u32 %0, 1, 0, complete;\n"
        "}"
        : "=r"(complete)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
#else
    ptx::unavailable();
#endif
    return complete != 0;
}

// try_wait suspends the thread for a while that the hardware chooses, so the loop seldom turns.
__device__ void mbarrier_wait(Mbarrier* barrier, uint32_t parity) {
#if CARAVAN_SM90
    const uint32_t address = shared_address(barrier);
    uint32_t complete;
    do {
        asm volatile(
            "{\n"
            ".reg .pred complete;\n"
            "mbarrier.try_wait.parity.shared::cta.b64 complete, [%1], %2;\n"
            "selp.u32 %0, 1, 0, complete;\n"
            "}"
            : "=r"(complete)
            : "r"(address), "r"(parity)
            : "memory");
    } while (complete == 0);
#else
    ptx::unavailable();
#endif
}

}  // namespace caravan::tile
