// Named barriers for nvcc; cuda/tile/named_barrier.cuh says what each wrapper means.
#pragma once

namespace caravan::tile {

__device__ void barrier_sync(int id, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

__device__ void barrier_arrive(int id, int threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

}  // namespace caravan::tile
