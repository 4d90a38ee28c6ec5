// cp.async for nvcc; cuda/tile/copy_async.cuh says what each wrapper means.
#pragma once

#include <cstdint>

#include "cuda/tile/shared_address.cuh"

namespace caravan::tile {

template <int kBytes>
__device__ void copy_async(void* to_shared, const void* from_global) {
    static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "cp.async moves 4, 8 or 16 bytes");
    const uint32_t to = shared_address(to_shared);
    if constexpr (kBytes == 16) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from_global)
                     : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(from_global),
                     "n"(kBytes)
                     : "memory");
    }
}

template <int kBytes>
__device__ void copy_async_filled(void* to_shared, const void* from_global, int valid) {
    static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "cp.async moves 4, 8 or 16 bytes");
    const uint32_t to = shared_address(to_shared);
    if constexpr (kBytes == 16) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from_global),
                     "r"(valid)
                     : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from_global),
                     "n"(kBytes), "r"(valid)
                     : "memory");
    }
}

__device__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int kPending>
__device__ void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace caravan::tile
