// What the kernels of rmsnorm share: their arguments, and sums over the threads that hold a row.
#pragma once

#include "cuda/rmsnorm_config.h"
#include "cuda/row_parts.cuh"
#include "cuda/tile/cluster.cuh"
#include "cuda/tile/reduce.cuh"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {

// weight_offset + weight, of a dtype known when it runs: it comes out of L1 mostly, and a kernel
// for each would be twice as many.
struct RmsNormWeight {
    const void* data;
    bool is_bf16;
    float offset;

    // N elements from `at` on.
    template <bool kWide, int N>
    __device__ __forceinline__ tile::Vector<float, N> part(int64_t at, int64_t width) const {
        tile::Vector<float, N> weight;
        if (is_bf16) {
            const auto* const from = static_cast<const tile::bf16*>(data);
            weight = tile::to_floats(tile::load_part<kWide, N>(from, at, width));
        } else {
            const auto* const from = static_cast<const float*>(data);
            weight = tile::load_part<kWide, N>(from, at, width);
        }
#pragma unroll
        for (int j = 0; j < N; ++j) weight[j] += offset;
        return weight;
    }
};

inline RmsNormWeight weight_of(const caravan_tensor& weight, float offset) {
    return {weight.data, weight.dtype == CARAVAN_BF16, offset};
}

template <typename T>
struct RmsNormForward {
    Rows<const T> x, residual;  // no residual: null
    Rows<T> sum, y;
    RmsNormWeight weight;
    float* rstd;  // or null
    int64_t rows, width, parts;
    float eps, inverse_width;
    int32_t group, cluster;
};

template <typename T>
struct RmsNormBackward {
    Rows<const T> d_y, x, d_sum;  // no d_sum: null
    Rows<T> d_x;
    RmsNormWeight weight;
    const float* rstd;
    float* partials;  // [blocks, width]
    int64_t rows, block_rows, width, parts;
    float inverse_width;
    int32_t group, cluster, stages;
};

// The sum over the threads of each group, by a butterfly in every warp and then over its warps. The
// block calls it together; scratch, a float for each warp, must not be that of the call before.
__device__ __forceinline__ float group_sum(float value, int group, float* scratch) {
    for (int distance = (group < tile::kWarp ? group : tile::kWarp) / 2; distance > 0;
         distance /= 2) {
        value += __shfl_xor_sync(tile::kFullMask, value, distance);
    }
    if (group <= tile::kWarp) return value;
    const int lane = threadIdx.x % tile::kWarp, warp = threadIdx.x / tile::kWarp;
    const int warps = group / tile::kWarp;
    if (lane == 0) scratch[warp] = value;
    __syncthreads();
    value = lane < warps ? scratch[warp / warps * warps + lane] : 0.0f;
    return tile::warp_sum(value);
}

// The sum over the blocks of a cluster of what all threads of each hold. slot must not be that of
// the call before, and no block may end before all have read the last one.
__device__ __forceinline__ float cluster_sum(float value, int cluster, float* slot) {
    const int lane = threadIdx.x % tile::kWarp;
    if (threadIdx.x == 0) *slot = value;
    tile::cluster_sync();
    value = lane < cluster ? tile::cluster_load(slot, lane) : 0.0f;
    return tile::warp_sum(value);
}

}  // namespace cuda
}  // namespace caravan
