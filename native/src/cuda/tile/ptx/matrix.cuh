// ldmatrix and stmatrix for nvcc; cuda/tile/matrix.cuh says what each wrapper means.
#pragma once

#include <cstdint>

#include "cuda/tile/ptx/require.cuh"
#include "cuda/tile/shared_address.cuh"

namespace caravan::tile {

template <int kCount>
__device__ void load_matrices(uint32_t (&to)[kCount], const void* row) {
    static_assert(kCount == 1 || kCount == 2 || kCount == 4, "ldmatrix loads 1, 2 or 4 matrices");
    const uint32_t from = shared_address(row);
    if constexpr (kCount == 1) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                     : "=r"(to[0])
                     : "r"(from)
                     : "memory");
    } else if constexpr (kCount == 2) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                     : "=r"(to[0]), "=r"(to[1])
                     : "r"(from)
                     : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(from)
                     : "memory");
    }
}

template <int kCount>
__device__ void load_matrices_transposed(uint32_t (&to)[kCount], const void* row) {
    static_assert(kCount == 1 || kCount == 2 || kCount == 4, "ldmatrix loads 1, 2 or 4 matrices");
    const uint32_t from = shared_address(row);
    if constexpr (kCount == 1) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                     : "=r"(to[0])
                     : "r"(from)
                     : "memory");
    } else if constexpr (kCount == 2) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                     : "=r"(to[0]), "=r"(to[1])
                     : "r"(from)
                     : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(from)
                     : "memory");
    }
}

template <int kCount>
__device__ void store_matrices(void* row, const uint32_t (&from)[kCount]) {
    static_assert(kCount == 1 || kCount == 2 || kCount == 4, "stmatrix stores 1, 2 or 4 matrices");
#if CARAVAN_SM90
    const uint32_t to = shared_address(row);
    if constexpr (kCount == 1) {
        asm volatile("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};" ::"r"(to), "r"(from[0])
                     : "memory");
    } else if constexpr (kCount == 2) {
        asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(to),
                     "r"(from[0]), "r"(from[1])
                     : "memory");
    } else {
        asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to),
                     "r"(from[0]), "r"(from[1]), "r"(from[2]), "r"(from[3])
                     : "memory");
    }
#else
    ptx::unavailable();
#endif
}

template <int kCount>
__device__ void store_matrices_transposed(void* row, const uint32_t (&from)[kCount]) {
    static_assert(kCount == 1 || kCount == 2 || kCount == 4, "stmatrix stores 1, 2 or 4 matrices");
#if CARAVAN_SM90
    const uint32_t to = shared_address(row);
    if constexpr (kCount == 1) {
        asm volatile("stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};" ::"r"(to),
                     "r"(from[0])
                     : "memory");
    } else if constexpr (kCount == 2) {
        asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(to),
                     "r"(from[0]), "r"(from[1])
                     : "memory");
    } else {
        asm volatile(
            "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to),
            "r"(from[0]), "r"(from[1]), "r"(from[2]), "r"(from[3])
            : "memory");
    }
#else
    ptx::unavailable();
#endif
}

}  // namespace caravan::tile
