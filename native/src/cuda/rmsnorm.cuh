// What the kernels of rmsnorm share: their arguments, what they do with 16 bytes of a row, and sums
// over the threads that hold a row.
#pragma once

#include "core/blocks.h"
#include "cuda/rmsnorm_config.h"
#include "cuda/row_parts.cuh"
#include "cuda/cluster_exchange.cuh"
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

inline float inverse(int64_t width) { return static_cast<float>(1 / static_cast<double>(width)); }

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

// All but how rows are laid on threads.
template <typename T>
RmsNormForward<T> forward_of(const caravan_rmsnorm_forward_args& args) {
    RmsNormForward<T> known = {};
    known.x = rows_of<const T>(args.x);
    known.y = rows_of<T>(args.y);
    if (args.residual.data != nullptr) {
        known.residual = rows_of<const T>(args.residual);
        known.sum = rows_of<T>(args.sum);
    }
    known.weight = weight_of(args.weight, args.weight_offset);
    known.rstd = data<float>(args.rstd);
    known.rows = args.x.shape[0];
    known.width = args.x.shape[1];
    known.parts = ceil_divide(known.width, tile::kLanes<T>);
    known.eps = args.eps;
    known.inverse_width = inverse(args.whole > 0 ? args.whole : known.width);
    return known;
}

template <typename T>
RmsNormBackward<T> backward_of(const caravan_rmsnorm_backward_args& args, const Blocks& blocks) {
    RmsNormBackward<T> known = {};
    known.d_y = rows_of<const T>(args.d_y);
    known.x = rows_of<const T>(args.x);
    if (args.d_sum.data != nullptr) known.d_sum = rows_of<const T>(args.d_sum);
    known.d_x = rows_of<T>(args.d_x);
    known.weight = weight_of(args.weight, args.weight_offset);
    known.rstd = data<const float>(args.rstd);
    known.partials = data<float>(args.workspace);
    known.rows = args.x.shape[0];
    known.block_rows = blocks.size;
    known.width = args.x.shape[1];
    known.parts = ceil_divide(known.width, tile::kLanes<T>);
    known.inverse_width = inverse(args.whole > 0 ? args.whole : known.width);
    return known;
}

// Of a part of every row, the sums over whole rows given (rmsnorm_part.cu); some rows.
void rmsnorm_part_forward(tile::Launcher& launcher, const caravan_rmsnorm_forward_args& args);
void rmsnorm_part_backward(tile::Launcher& launcher, const caravan_rmsnorm_backward_args& args);

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

static_assert(kRmsNormExchangeBytes == kExchangeTurns * (kExchangeBlocks * sizeof(float) +
                                                         sizeof(tile::Mbarrier)),
              "the bytes of an exchange of floats");
static_assert(kRmsNormCluster == kExchangeBlocks, "a value of each block has its place");

// The sum over the blocks of a cluster of what all threads of each hold; exchange number `turn`.
__device__ __forceinline__ float cluster_sum(float value, int cluster,
                                             const ClusterExchange<float>& exchange, int turn) {
    const int lane = threadIdx.x % tile::kWarp;
    const float* const values = exchange(value, turn);
    return tile::warp_sum(lane < cluster ? values[lane] : 0.0f);
}

template <typename T, int N>
__device__ __forceinline__ tile::Vector<T, N> normalised(const tile::Vector<T, N>& h,
                                                         const tile::Vector<float, N>& weight,
                                                         float rstd) {
    auto y = tile::to_floats(h);
#pragma unroll
    for (int j = 0; j < N; ++j) y[j] = y[j] * rstd * weight[j];
    return tile::from_floats<T>(y);
}

// With g = d_y * weight and n = h * rstd: the part's share of the sum of g * h.
template <typename T, int N>
__device__ __forceinline__ float products(const tile::Vector<T, N>& d_y,
                                          const tile::Vector<T, N>& h,
                                          const tile::Vector<float, N>& weight, float sum) {
    const auto d = tile::to_floats(d_y), x = tile::to_floats(h);
#pragma unroll
    for (int j = 0; j < N; ++j) sum += d[j] * weight[j] * x[j];
    return sum;
}

// rstd * (g - n * mean), mean that of g * n; and d_weight += d_y * n.
template <typename T, int N>
__device__ __forceinline__ tile::Vector<float, N> gradient(const tile::Vector<T, N>& d_y,
                                                           const tile::Vector<T, N>& h,
                                                           const tile::Vector<float, N>& weight,
                                                           float rstd, float mean,
                                                           tile::Vector<float, N>& d_weight) {
    const auto d = tile::to_floats(d_y), x = tile::to_floats(h);
    tile::Vector<float, N> d_x;
#pragma unroll
    for (int j = 0; j < N; ++j) {
        const float normal = x[j] * rstd;
        d_weight[j] += d[j] * normal;
        d_x[j] = (d[j] * weight[j] - normal * mean) * rstd;
    }
    return d_x;
}

// Stores d_x, with what d_sum() gives added where there is any.
template <bool kWide, typename T, int N, typename DSum>
__device__ __forceinline__ void store_gradient(T* row, int64_t at, int64_t width, bool adds,
                                               tile::Vector<float, N> d_x, DSum&& d_sum) {
    if (adds) {
        const auto more = tile::to_floats(d_sum());
#pragma unroll
        for (int j = 0; j < N; ++j) d_x[j] += more[j];
    }
    tile::store_part<kWide>(row, at, width, tile::from_floats<T>(d_x));
}

// Calls body(tag, wide) with tags for the storage of rows and for the route.
template <typename Body>
void with_route(int32_t dtype, bool wide, Body&& body) {
    with_storage(dtype, [&](auto* tag) {
        if (wide) {
            body(tag, std::true_type{});
        } else {
            body(tag, std::false_type{});
        }
    });
}

}  // namespace cuda
}  // namespace caravan
