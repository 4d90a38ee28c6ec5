// Products of each expert's rows with its weights: bf16 by warpgroups where device and shape are
// for them (grouped_matmul_sm90.cu), else by mma.sync, with rows gathered as they are copied and
// the activation, or its gradient, applied to the sums; and a plain kernel for float32. Which rows
// a block has follows from the offsets in device memory: nothing is read back, and blocks without
// rows end at once.
#include "cuda/grouped_matmul.cuh"
#include "cuda/kernels.h"
#include "cuda/matmul_mma.cuh"
#include "cuda/tile/reduce.cuh"

namespace caravan {
namespace cuda {
namespace {

using namespace mma_product;

using T = Tiling<128, 128, 64, 32>;
constexpr int kHalf = T::kColumns / 2;
constexpr int kHalfBytes = kHalf * kLine;  // of half of b's tile, in either order
constexpr int kDown = T::kWarpRows / 16;
constexpr int kSums = T::kWarpColumns / 8;

// The product of a tile of rows with half the columns of b's tile from `column` on and half from
// `second` on. kAlongK: w is [N, K].
template <bool kAlongK, bool kWide>
__device__ __forceinline__ void multiply_rows(float (&sums)[kDown][kSums][4], unsigned char* ring,
                                              const Grouped& g, const ExpertRows& tile,
                                              int32_t column, int32_t second, int32_t end,
                                              bool paired) {
    using A = Operand<true, T::kRows, Gather>;
    using B = Operand<kAlongK, kHalf>;
    const A a = {static_cast<const bf16*>(g.x), g.x_stride, tile.rows, g.depth,
                 Gather{g.assignments, tile.first, g.choices, g.x_rows}};
    const bf16* const w =
        static_cast<const bf16*>(g.w) + static_cast<int64_t>(tile.expert) * g.width * g.depth;
    const B low = {w, kAlongK ? g.depth : g.width, end, g.depth};
    const B high = {w, kAlongK ? g.depth : g.width, paired ? 2 * end : end, g.depth};
    const int warp = threadIdx.x / tile::kWarp;
    const int warp_row = warp % T::kWarpsDown * T::kWarpRows;
    const int warp_column = warp / T::kWarpsDown * T::kWarpColumns;
    multiply<T, A, true, B, kAlongK>(
        sums, ring, (g.depth + kDepth - 1) / kDepth, warp_row,
        [&](unsigned char* to, int32_t k) { a.template fetch<T::kThreads, kWide>(to, 0, k); },
        [&](unsigned char* to, int32_t k) {
            low.template fetch<T::kThreads, kWide>(to, column, k);
            high.template fetch<T::kThreads, kWide>(to + kHalfBytes, second, k);
        },
        [&](int j) { return warp_column + j * 16; });
}

// A tile of sums in shared memory, where the ring was: so that the activation, which takes many
// registers, is not made for all of a thread's sums at once, and rows are read and written in
// order.
struct Staged {
    static constexpr int kPitch = T::kColumns + 4;
    float* data;  // [rows][kPitch]

    __device__ __forceinline__ Staged(unsigned char* ring, const float (&sums)[kDown][kSums][4])
        : data(reinterpret_cast<float*>(ring)) {
        const int lane = threadIdx.x % tile::kWarp, warp = threadIdx.x / tile::kWarp;
        const int warp_row = warp % T::kWarpsDown * T::kWarpRows;
        const int warp_column = warp / T::kWarpsDown * T::kWarpColumns;
        __syncthreads();  // the ring has been read
#pragma unroll
        for (int i = 0; i < kDown; ++i) {
#pragma unroll
            for (int j = 0; j < kSums; ++j) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int row = warp_row + i * 16 + tile::Mma16816::sum_row(lane, half * 2);
                    const int column =
                        warp_column + j * 8 + tile::Mma16816::sum_column(lane, half * 2);
                    const tile::Vector<float, 2> both = {
                        {sums[i][j][half * 2], sums[i][j][half * 2 + 1]}};
                    tile::store(data + row * kPitch + column, both);
                }
            }
        }
        __syncthreads();
    }

    // Calls body(row, sums of the row) for those of this warp.
    template <typename Body>
    __device__ __forceinline__ void each_row(int rows, const Body& body) const {
        for (int row = threadIdx.x / tile::kWarp; row < rows; row += T::kThreads / tile::kWarp) {
            body(row, data + row * kPitch);
        }
    }
};
static_assert(T::kRows * Staged::kPitch * 4 <= kStages * T::kStageBytes,
              "the sums fit where the ring was");

template <typename O, bool kAlongK, bool kWide>
__global__ void __launch_bounds__(T::kThreads)
    grouped_matmul_fwd_kernel(const Grouped g, const ForwardOut<O> to) {
    const ExpertRows tile = find_rows(g.offsets, g.experts, g.rows, blockIdx.x, T::kRows);
    if (tile.rows <= 0) return;
    auto* const ring = tile::Shared().take<unsigned char>(kStages * T::kStageBytes, 1024);
    const int lane = threadIdx.x % tile::kWarp;
    float sums[kDown][kSums][4] = {};
    // Of a gated unit gates lie in one half of the tile, what they multiply in the other.
    const int32_t columns = g.gated ? kHalf : T::kColumns;
    const int32_t column = static_cast<int32_t>(blockIdx.y) * columns;
    const int32_t end = g.gated ? g.units : g.width;
    multiply_rows<kAlongK, kWide>(sums, ring, g, tile, column, column + (g.gated ? g.units : kHalf),
                                  end, g.gated);
    const int32_t here = min(columns, end - column);
    Staged(ring, sums).each_row(tile.rows, [&](int row, const float* of) {
        O* const out = to.out + (int64_t{tile.first} + row) * to.out_stride + column;
        O* const act = to.act + (int64_t{tile.first} + row) * to.act_stride + column;
        for (int32_t i = lane; i < here; i += tile::kWarp) {
            out[i] = tile::from_float<O>(of[i]);
            if (g.activation == CARAVAN_EXPERT_NONE) continue;
            float value = expert_activation<O>(g.activation, of[i]).value;
            if (g.gated) {
                out[g.units + i] = tile::from_float<O>(of[kHalf + i]);
                value *= of[kHalf + i];
            }
            act[i] = tile::from_float<O>(value);
        }
    });
}

// What a row's element of g, the gradient of act before its weight, makes of h: writes d_h and the
// weighted act, and returns the element's part of <g, act>.
template <typename O>
__device__ __forceinline__ float go_back(const Grouped& g, const BackwardOut<O>& to, int64_t row,
                                         int32_t at, float slope, float weight) {
    const O* const h = to.h + row * to.h_stride;
    O* const d_h = to.d_h + row * to.d_h_stride;
    // In float32 whatever O is, as d_weights is.
    const auto a = expert_activation<float>(g.activation, tile::to_float(h[at]));
    const float by_weight = slope * weight;
    float value = a.value, to_gate = by_weight * a.derivative;
    if (g.gated) {
        const float up = tile::to_float(h[g.units + at]);
        value *= up;
        to_gate *= up;
        d_h[g.units + at] = tile::from_float<O>(by_weight * a.value);
    }
    d_h[at] = tile::from_float<O>(to_gate);
    to.act[row * to.act_stride + at] = tile::from_float<O>(value * weight);
    return slope * value;
}

// A block has all columns of its rows, one tile after the other: so their sums need no workspace.
template <typename O, bool kWide>
__global__ void __launch_bounds__(T::kThreads)
    grouped_matmul_bwd_kernel(const Grouped g, const BackwardOut<O> to) {
    const ExpertRows tile = find_rows(g.offsets, g.experts, g.rows, blockIdx.x, T::kRows);
    if (tile.rows <= 0) return;
    auto* const ring = tile::Shared().take<unsigned char>(kStages * T::kStageBytes, 1024);
    const int lane = threadIdx.x % tile::kWarp;
    for (int32_t column = 0; column < g.units; column += T::kColumns) {
        float sums[kDown][kSums][4] = {};
        __syncthreads();  // the ring is free
        multiply_rows<false, kWide>(sums, ring, g, tile, column, column + kHalf, g.units, false);
        const int32_t here = min(T::kColumns, g.units - column);
        Staged(ring, sums).each_row(tile.rows, [&](int row, const float* of) {
            const int64_t at = int64_t{tile.first} + row;
            const float weight = weight_of(g, to, at);
            float sum = 0;
            for (int32_t i = lane; i < here; i += tile::kWarp) {
                sum += go_back(g, to, at, column + i, of[i], weight);
            }
            sum = tile::warp_sum(sum);
            if (lane == 0) to.d_weights[at] = column == 0 ? sum : to.d_weights[at] + sum;
        });
    }
}

// ------------------------------------------------------------------------------- plain

// A block has one row, its threads the columns.
constexpr int kPlainThreads = 128;

struct PlainWeights {
    AnyMatrix w;  // [experts * first, second]
    int32_t first, second;
    bool transposed;

    // Element (column, k) of op(w[e]).
    __device__ __forceinline__ float get(int32_t expert, int32_t column, int32_t k) const {
        const int64_t row = int64_t{expert} * first;
        return transposed ? w.get(row + k, column) : w.get(row + column, k);
    }
};

__device__ __forceinline__ float plain_product(const Grouped& g, const AnyMatrix& x,
                                               const PlainWeights& w, const ExpertRows& tile,
                                               int64_t source, int32_t column) {
    float sum = 0;
    for (int32_t k = 0; k < g.depth; ++k) {
        sum += (source < 0 ? NAN : x.get(source, k)) * w.get(tile.expert, column, k);
    }
    return sum;
}

__global__ void __launch_bounds__(kPlainThreads)
    grouped_matmul_plain_fwd_kernel(const Grouped g, AnyMatrix x, PlainWeights w, AnyMatrix out,
                                    AnyMatrix act) {
    const ExpertRows tile = find_rows(g.offsets, g.experts, g.rows, blockIdx.x, 1);
    if (tile.rows <= 0) return;
    const int64_t source = Gather{g.assignments, tile.first, g.choices, g.x_rows}(0);
    const int32_t column = static_cast<int32_t>(blockIdx.y) * kPlainThreads + threadIdx.x;
    const int32_t outputs = g.activation == CARAVAN_EXPERT_NONE ? g.width : g.units;
    if (column >= outputs) return;
    const float value = plain_product(g, x, w, tile, source, column);
    out.put(tile.first, column, value);
    if (g.activation == CARAVAN_EXPERT_NONE) return;
    float result = expert_activation<float>(g.activation, value).value;
    if (g.gated) {
        const float up = plain_product(g, x, w, tile, source, g.units + column);
        out.put(tile.first, g.units + column, up);
        result *= up;
    }
    act.put(tile.first, column, result);
}

template <typename O>
__global__ void __launch_bounds__(kPlainThreads)
    grouped_matmul_plain_bwd_kernel(const Grouped g, AnyMatrix x, PlainWeights w,
                                    const BackwardOut<O> to) {
    const ExpertRows tile = find_rows(g.offsets, g.experts, g.rows, blockIdx.x, 1);
    if (tile.rows <= 0) return;
    auto* const scratch = tile::Shared().take<float>(tile::kReduceScratch);
    const int64_t source = Gather{g.assignments, tile.first, g.choices, g.x_rows}(0);
    const float weight = weight_of(g, to, tile.first);
    float sum = 0;
    for (int32_t at = threadIdx.x; at < g.units; at += kPlainThreads) {
        const float slope = plain_product(g, x, w, tile, source, at);
        sum += go_back(g, to, tile.first, at, slope, weight);
    }
    sum = tile::block_sum(sum, scratch);
    if (threadIdx.x == 0) to.d_weights[tile.first] = sum;
}

// ------------------------------------------------------------------------------- launches

bool wide_weights(const caravan_tensor& w) {
    return tile::wide(w.data, w.shape[2], 2) && w.shape[2] % 8 == 0;
}

bool in_bf16(const caravan_tensor& x, const caravan_tensor& w) {
    return x.dtype == CARAVAN_BF16 && w.dtype == CARAVAN_BF16;
}

PlainWeights plain_weights(const caravan_tensor& w, bool transposed) {
    return {{w.data, w.shape[2], w.dtype == CARAVAN_BF16},
            static_cast<int32_t>(w.shape[1]),
            static_cast<int32_t>(w.shape[2]),
            transposed};
}

tile::Config config_of(int64_t blocks, int64_t across, int threads, int64_t bytes) {
    return {dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(across)),
            dim3(static_cast<unsigned>(threads)), bytes, 1};
}

constexpr int64_t kRingBytes = int64_t{kStages} * T::kStageBytes;

}  // namespace

void grouped_matmul_forward(tile::Launcher& launcher,
                            const caravan_grouped_matmul_forward_args& args) {
    const int64_t rows = args.out.shape[0], width = args.out.shape[1];
    if (rows == 0) return;
    Grouped g = {};
    g.x = args.x.data;
    g.x_stride = row_stride(args.x);
    g.assignments = data<int32_t>(args.assignments);
    g.offsets = data<int32_t>(args.offsets);
    g.w = args.w.data;
    g.experts = static_cast<int32_t>(args.w.shape[0]);
    g.rows = static_cast<int32_t>(rows);
    g.x_rows = static_cast<int32_t>(args.x.shape[0]);
    g.choices = args.choices;
    g.depth = static_cast<int32_t>(args.x.shape[1]);
    g.width = static_cast<int32_t>(width);
    g.units = static_cast<int32_t>(expert_units(args.activation, width));
    g.activation = args.activation;
    g.gated = expert_gated(args.activation);
    const bool transposed = args.transpose_w != 0;
    if (!in_bf16(args.x, args.w)) {
        const int64_t outputs = args.activation == CARAVAN_EXPERT_NONE ? g.width : g.units;
        launcher.run(grouped_matmul_plain_fwd_kernel,
                     config_of(expert_slots(rows, g.experts, 1),
                               (outputs + kPlainThreads - 1) / kPlainThreads, kPlainThreads, 0),
                     g, any_matrix(args.x), plain_weights(args.w, transposed), any_matrix(args.out),
                     any_matrix(args.act));
        return;
    }
    const bool wide = wide_rows(args.x) && wide_weights(args.w);
    const int64_t columns =
        g.gated ? (g.units + kHalf - 1) / kHalf : (g.width + T::kColumns - 1) / T::kColumns;
    const tile::Config config =
        config_of(expert_slots(rows, g.experts, T::kRows), columns, T::kThreads, kRingBytes);
    with_storage(args.out.dtype, [&](auto tag) {
        using O = StorageOf<decltype(tag)>;
        const ForwardOut<O> to = {data<O>(args.out), data<O>(args.act), row_stride(args.out),
                                  row_stride(args.act)};
        if constexpr (std::is_same_v<O, bf16>) {
            if (start_grouped_forward_sm90(launcher, g, !transposed, to)) return;
        }
        if (transposed) {
            launcher.run(wide ? grouped_matmul_fwd_kernel<O, false, true>
                              : grouped_matmul_fwd_kernel<O, false, false>,
                         config, g, to);
        } else {
            launcher.run(wide ? grouped_matmul_fwd_kernel<O, true, true>
                              : grouped_matmul_fwd_kernel<O, true, false>,
                         config, g, to);
        }
    });
}

void grouped_matmul_backward(tile::Launcher& launcher,
                             const caravan_grouped_matmul_backward_args& args) {
    const int64_t rows = args.h.shape[0];
    if (rows == 0) return;
    Grouped g = {};
    g.x = args.d_y.data;
    g.x_stride = row_stride(args.d_y);
    g.assignments = data<int32_t>(args.assignments);
    g.offsets = data<int32_t>(args.offsets);
    g.w = args.w.data;
    g.experts = static_cast<int32_t>(args.w.shape[0]);
    g.rows = static_cast<int32_t>(rows);
    g.x_rows = static_cast<int32_t>(args.d_y.shape[0]);
    g.choices = static_cast<int32_t>(args.weights.shape[1]);
    g.depth = static_cast<int32_t>(args.w.shape[1]);
    g.width = g.units = static_cast<int32_t>(args.w.shape[2]);
    g.activation = args.activation;
    g.gated = expert_gated(args.activation);
    with_storage(args.h.dtype, [&](auto tag) {
        using O = StorageOf<decltype(tag)>;
        const BackwardOut<O> to = {data<float>(args.weights),   data<O>(args.h),
                                   data<O>(args.d_h),           data<O>(args.act),
                                   data<float>(args.d_weights), row_stride(args.h),
                                   row_stride(args.d_h),        row_stride(args.act),
                                   static_cast<int32_t>(rows)};
        if (!in_bf16(args.d_y, args.w)) {
            launcher.run(grouped_matmul_plain_bwd_kernel<O>,
                         config_of(expert_slots(rows, g.experts, 1), 1, kPlainThreads,
                                   tile::SharedLayout().take<float>(tile::kReduceScratch).bytes()),
                         g, any_matrix(args.d_y), plain_weights(args.w, true), to);
            return;
        }
        if constexpr (std::is_same_v<O, bf16>) {
            if (start_grouped_backward_sm90(launcher, g, to)) return;
        }
        const bool wide = wide_rows(args.d_y) && wide_weights(args.w);
        launcher.run(
            wide ? grouped_matmul_bwd_kernel<O, true> : grouped_matmul_bwd_kernel<O, false>,
            config_of(expert_slots(rows, g.experts, T::kRows), 1, T::kThreads, kRingBytes), g, to);
    });
}

}  // namespace cuda
}  // namespace caravan
