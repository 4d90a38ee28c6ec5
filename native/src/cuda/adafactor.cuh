// What the kernels of adafactor share: the problem, and the rows and columns of a warp.
#pragma once

#include "core/adafactor_layout.h"
#include "cuda/master.cuh"
#include "cuda/tile/reduce.cuh"

namespace caravan {
namespace cuda {
namespace adafactor {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / tile::kWarp;
constexpr int kColumns = static_cast<int>(kAdafactorColumns);
constexpr int kOwn = kColumns / tile::kWarp;  // columns of a thread

// Rows whose loads are under way together; few where each column is a load.
template <int kVector>
constexpr int kRowsAtOnce = kVector > 1 ? 4 : 2;

// What one step finds out and hands on, in the workspace.
struct Scalars {
    float row_mean;
    float update_scale;
    float decay;
    float unused;
};

struct Numbers {
    float beta1, decay_rate, eps1, eps2, clip_threshold, weight_decay;
    bool scale_parameter;
};

// Of a part of a parameter: what is added up over all parts. Null and 1 of a whole one.
struct Totals {
    float *sums, *squares;
    int64_t parts;
    bool rows_cut, columns_cut;  // where factored

    __device__ __forceinline__ float* across() const { return sums + 2; }
};

// One tensor and the step on it, as all kernels take it. G is the gradient's storage.
template <typename P, typename G>
struct Problem {
    AdafactorLayout layout;
    Master<P> master;
    const G* grad;
    float *row, *col, *v, *m;
    const caravan_step_state* state;
    double *param_squares, *update_squares, *row_sums;
    Scalars* scalars;
    float *column_sums, *column_factors, *row_partials;
    Numbers numbers;
    Totals totals;
};

// 1 - b2(t) = t^-decay_rate in double, once a block. `shared` is written before a barrier.
struct Betas {
    float beta2, rest2;
};

__device__ __forceinline__ Betas betas(const caravan_step_state* state, float decay_rate,
                                       Betas* shared) {
    if (threadIdx.x == 0) {
        const double rest = pow(static_cast<double>(state->step), -static_cast<double>(decay_rate));
        *shared = {static_cast<float>(1 - rest), static_cast<float>(rest)};
    }
    __syncthreads();
    return *shared;
}

// Sum of all of `values`, the same in all threads of the block.
__device__ __forceinline__ double block_total(const double* values, int64_t count,
                                              double* scratch) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) sum += values[i];
    return tile::block_sum(sum, scratch);
}

// The columns of a thread: kParts runs of kVector, 32 * kVector apart.
template <int kVector>
struct Columns {
    static constexpr int kParts = kOwn / kVector;
    using Values = tile::Vector<float, kVector>;

    int64_t first;
    int64_t width;

    __device__ __forceinline__ int64_t at(int part) const {
        return first + part * tile::kWarp * kVector;
    }
    // Whole vectors are in or out: with kVector > 1 the width is a multiple of it.
    __device__ __forceinline__ bool has(int part) const { return at(part) < width; }
};

// The rows and columns of a warp.
template <int kVector>
struct Tile {
    bool any;
    int64_t task;
    int64_t block, chunk;
    int64_t begin, end;  // rows
    Columns<kVector> columns;

    __device__ __forceinline__ explicit Tile(const AdafactorLayout& layout) {
        const auto thread = static_cast<int>(threadIdx.x);
        task = static_cast<int64_t>(blockIdx.x) * kWarps + thread / tile::kWarp;
        any = task < layout.partials();
        block = task / layout.chunks.count;
        chunk = task % layout.chunks.count;
        begin = block * layout.blocks.size;
        end = min(layout.rows, begin + layout.blocks.size);
        columns = {chunk * kColumns + thread % tile::kWarp * kVector, layout.columns};
    }
};

// Gradients of one row, clipped; 0 beyond the tensor.
template <int kVector, typename G>
__device__ __forceinline__ void load_row(const G* grad, int64_t r, bool there,
                                         const Columns<kVector>& columns,
                                         tile::Vector<G, kVector> (&parts)[kOwn / kVector]) {
#pragma unroll
    for (int k = 0; k < Columns<kVector>::kParts; ++k) {
        if (there && columns.has(k)) {
            parts[k] = tile::load<kVector>(grad + r * columns.width + columns.at(k));
        } else {
#pragma unroll
            for (int j = 0; j < kVector; ++j) parts[k][j] = tile::from_float<G>(0.0f);
        }
    }
}

// body(r, gradients of row r) for the rows of a warp, several of which are loaded before the first
// is used.
template <int kVector, typename G, typename Body>
__device__ __forceinline__ void for_each_row(const G* grad, const Tile<kVector>& at, Body&& body) {
    constexpr int kRows = kRowsAtOnce<kVector>;
    for (int64_t r = at.begin; r < at.end; r += kRows) {
        tile::Vector<G, kVector> grads[kRows][Columns<kVector>::kParts];
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
            load_row<kVector>(grad, r + i, r + i < at.end, at.columns, grads[i]);
        }
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
            if (r + i >= at.end) break;
            body(r + i, grads[i]);
        }
    }
}

}  // namespace adafactor
}  // namespace cuda
}  // namespace caravan
