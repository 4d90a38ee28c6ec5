// Sums and maxima over a warp or a block, in an order that is always the same; every thread gets
// the result. All threads of the warp or block take part. Cluster-wide ones are in cluster.cuh.
// CUDA C++ Programming Guide, "Warp Shuffle Functions".
#pragma once

#include "cuda/tile/arch.cuh"

namespace caravan {
namespace tile {

struct Sum {
    template <typename T>
    __device__ __forceinline__ T operator()(T a, T b) const {
        return a + b;
    }
};

// The larger; a NaN on either side is the result, so that bad values are never lost.
struct Max {
    __device__ __forceinline__ float operator()(float a, float b) const {
        return a != a || a > b ? a : b;
    }
};

// A butterfly over `kWidth` neighbouring lanes, a power of two up to 32.
template <int kWidth = kWarp, typename T, typename Op>
__device__ __forceinline__ T warp_reduce(T value, Op op) {
#pragma unroll
    for (int distance = kWidth / 2; distance > 0; distance /= 2) {
        value = op(value, __shfl_xor_sync(kFullMask, value, distance));
    }
    return value;
}

template <int kWidth = kWarp, typename T>
__device__ __forceinline__ T warp_sum(T value) {
    return warp_reduce<kWidth>(value, Sum{});
}

template <int kWidth = kWarp>
__device__ __forceinline__ float warp_max(float value) {
    return warp_reduce<kWidth>(value, Max{});
}

// Shared memory that a block reduction needs: one element a warp. Two reductions may use the same
// scratch one after the other.
inline constexpr int kReduceScratch = kWarp;

// `identity` is what op leaves alone. Blocks are one-dimensional, of whole warps.
template <typename T, typename Op>
__device__ __forceinline__ T block_reduce(T value, Op op, T identity, T* scratch) {
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const int warps = blockDim.x / kWarp;
    value = warp_reduce(value, op);
    if (warps == 1) return value;
    __syncthreads();  // the scratch may still be read for the reduction before
    if (lane == 0) scratch[warp] = value;
    __syncthreads();
    value = lane < warps ? scratch[lane] : identity;
    return warp_reduce(value, op);
}

template <typename T>
__device__ __forceinline__ T block_sum(T value, T* scratch) {
    return block_reduce(value, Sum{}, T{0}, scratch);
}

__device__ __forceinline__ float block_max(float value, float* scratch) {
    return block_reduce(value, Max{}, -INFINITY, scratch);
}

}  // namespace tile
}  // namespace caravan
