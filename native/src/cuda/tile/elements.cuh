// The shape of kernels that visit flat arrays element by element.
#pragma once

#include "cuda/tile/launch.cuh"
#include "cuda/tile/vector.cuh"

namespace caravan {
namespace tile {

inline constexpr int kElementThreads = 256;

// Elements from `first` on that this thread visits, `kVector` at a time, by a grid of any size.
__device__ __forceinline__ int64_t element_first(int vector) {
    return (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * vector;
}

__device__ __forceinline__ int64_t element_step(int vector) {
    return static_cast<int64_t>(gridDim.x) * blockDim.x * vector;
}

// Every thread visits one vector: enough blocks for that.
inline Config element_config(int64_t count, int vector) {
    const int64_t per_block = static_cast<int64_t>(kElementThreads) * vector;
    return config((count + per_block - 1) / per_block, kElementThreads);
}

}  // namespace tile
}  // namespace caravan
