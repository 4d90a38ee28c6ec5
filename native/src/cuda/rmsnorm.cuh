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

    // Whether it is stored as T is.
    template <typename T>
    __device__ __forceinline__ bool is() const {
        return is_bf16 == std::is_same_v<T, tile::bf16>;
    }
    // N of those elements as they are stored.
    template <typename T, bool kWide, int N>
    __device__ __forceinline__ tile::Vector<T, N> stored(int64_t at, int64_t width) const {
        return tile::load_part<kWide, N>(static_cast<const T*>(data), at, width);
    }
    template <typename T, int N>
    __device__ __forceinline__ tile::Vector<float, N> of(const tile::Vector<T, N>& stored) const {
        auto weight = tile::to_floats(stored);
#pragma unroll
        for (int j = 0; j < N; ++j) weight[j] += offset;
        return weight;
    }

    // N elements from `at` on.
    template <bool kWide, int N>
    __device__ __forceinline__ tile::Vector<float, N> part(int64_t at, int64_t width) const {
        if (is_bf16) return of(stored<tile::bf16, kWide, N>(at, width));
        return of(stored<float, kWide, N>(at, width));
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
    int32_t group, side_by_side, cluster, streams, stages;
};

// The sums of kRows values over the threads of each group, by a butterfly in every warp and then
// over its warps. The block calls it together; `side` is the group's number in the block, kRows is
// 1 where a group is more than a warp, and scratch, a float for each warp, must not be that of the
// call before.
template <int kRows>
__device__ __forceinline__ void group_sums(float (&values)[kRows], int group, int side,
                                           float* scratch) {
    constexpr int kMostWarps = kRmsNormThreads / tile::kWarp;
    if (group < tile::kWarp) {
        for (int distance = group / 2; distance > 0; distance /= 2) {
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                values[r] += __shfl_xor_sync(tile::kFullMask, values[r], distance);
            }
        }
        return;
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) values[r] = tile::warp_sum(values[r]);
    if (kRows > 1 || group == tile::kWarp) return;
    const int lane = threadIdx.x % tile::kWarp, warp = threadIdx.x / tile::kWarp;
    const int warps = group / tile::kWarp;
    if (lane == 0) scratch[warp] = values[0];
    __syncthreads();
    const int other = lane % kMostWarps;
    values[0] = tile::warp_sum<kMostWarps>(other < warps ? scratch[side * warps + other] : 0.0f);
}

__device__ __forceinline__ float group_sum(float value, int group, int side, float* scratch) {
    float values[1] = {value};
    group_sums(values, group, side, scratch);
    return values[0];
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
