// cp.async.bulk and its tensor forms for nvcc; cuda/tile/tma.cuh says what each wrapper means.
#pragma once

#include <cstdint>

#include "cuda/tile/ptx/require.cuh"
#include "cuda/tile/shared_address.cuh"

namespace caravan::tile {

__device__ void tma_copy_in(void* to_shared, const void* from_global, uint32_t bytes,
                            Mbarrier* barrier) {
#if CARAVAN_SM90
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
            "r"(shared_address(to_shared)),
        "l"(__cvta_generic_to_global(from_global)), "r"(bytes), "r"(shared_address(barrier))
        : "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void tma_load(void* to_shared, const TensorMap& map, int x, Mbarrier* barrier) {
#if CARAVAN_SM90
    asm volatile(
        "cp.async.bulk.tensor.1d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%2}], [%3];" ::"r"(shared_address(to_shared)),
        "l"(&map), "r"(x), "r"(shared_address(barrier))
        : "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void tma_load(void* to_shared, const TensorMap& map, int x, int y, Mbarrier* barrier) {
#if CARAVAN_SM90
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%2, %3}], [%4];" ::"r"(shared_address(to_shared)),
        "l"(&map), "r"(x), "r"(y), "r"(shared_address(barrier))
        : "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void tma_load(void* to_shared, const TensorMap& map, int x, int y, int z,
                         Mbarrier* barrier) {
#if CARAVAN_SM90
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%2, %3, %4}], [%5];" ::"r"(shared_address(to_shared)),
        "l"(&map), "r"(x), "r"(y), "r"(z), "r"(shared_address(barrier))
        : "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void tma_load_multicast(void* to_shared, const TensorMap& map, int x, int y,
                                   Mbarrier* barrier, uint16_t blocks) {
#if CARAVAN_SM90A
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
        ".multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(shared_address(to_shared)),
        "l"(&map), "r"(x), "r"(y), "r"(shared_address(barrier)), "h"(blocks)
        : "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void tma_copy_out(void* to_global, const void* from_shared, uint32_t bytes) {
#if CARAVAN_SM90
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(
                     __cvta_generic_to_global(to_global)),
                 "r"(shared_address(from_shared)), "r"(bytes)
                 : "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void tma_store(const TensorMap& map, int x, const void* from_shared) {
#if CARAVAN_SM90
    asm volatile(
        "cp.async.bulk.tensor.1d.global.shared::cta.tile.bulk_group [%0, {%1}], [%2];" ::"l"(&map),
        "r"(x), "r"(shared_address(from_shared))
        : "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void tma_store(const TensorMap& map, int x, int y, const void* from_shared) {
#if CARAVAN_SM90
    asm volatile(
        "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];" ::"l"(
            &map),
        "r"(x), "r"(y), "r"(shared_address(from_shared))
        : "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void tma_store(const TensorMap& map, int x, int y, int z, const void* from_shared) {
#if CARAVAN_SM90
    asm volatile(
        "cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%1, %2, %3}], [%4];" ::
            "l"(&map),
        "r"(x), "r"(y), "r"(z), "r"(shared_address(from_shared))
        : "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void tma_add_out(float* to_global, const float* from_shared, uint32_t bytes) {
#if CARAVAN_SM90
    asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(
                     __cvta_generic_to_global(to_global)),
                 "r"(shared_address(from_shared)), "r"(bytes)
                 : "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void tma_commit() {
#if CARAVAN_SM90
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#else
    ptx::unavailable();
#endif
}

template <int kPending>
__device__ void tma_wait_read() {
#if CARAVAN_SM90
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
#else
    ptx::unavailable();
#endif
}

template <int kPending>
__device__ void tma_wait() {
#if CARAVAN_SM90
    asm volatile("cp.async.bulk.wait_group %0;" ::"n"(kPending) : "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void tma_prefetch(const TensorMap& map) {
#if CARAVAN_SM90
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
#else
    ptx::unavailable();
#endif
}

}  // namespace caravan::tile
