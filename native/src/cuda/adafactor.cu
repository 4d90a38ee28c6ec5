// Adafactor for one tensor, step by step as src/cpu/adafactor.cpp defines it, each step a kernel,
// as each needs sums over the whole tensor of the one before.
//
// Factored: a block of 8 warps takes rows that adafactor_layout groups, each warp 256 of their
// columns. Partial sums go to the workspace and are added in a fixed order.
//
// Bytes an element, with gradients of g bytes and 4 of the parameter (two parts or whole):
//   factored      moments g (+ 4 with scale_parameter), measure g, apply g + 8 (+ 8 with m)
//   not factored  moments g + 8 (+ 4 with scale_parameter), apply g + 4 + 8 (+ 8 with m)
// Besides, column sums, factors and row means: below 4 % of that for tensors of 256 rows and more.
// A part of a parameter takes the same steps in three calls, with nothing in the workspace from one
// to the next: what a call needs of the one before is in the moments and the totals.
#include "cuda/adafactor.cuh"
#include "cuda/kernels.h"
#include "cuda/tensors.h"
#include "cuda/tile/launch.cuh"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {
namespace {

using namespace adafactor;

// Algorithm 4, first half: sums of g^2 + eps1 over parts of rows and of columns.
template <typename P, typename G, int kVector>
__global__ void __launch_bounds__(kThreads, 2) adafactor_moments_kernel(Problem<P, G> p) {
    using Own = Columns<kVector>;
    if (p.state->finite == 0) return;
    const Tile<kVector> at(p.layout);
    if (!at.any) return;
    const Own& columns = at.columns;
    const float clip = p.state->clip_factor;
    float sums[kOwn] = {};
    double param_squares = 0;
    for_each_row<kVector>(p.grad, at, [&](int64_t r, const auto& grads) {
        float total = 0;
#pragma unroll
        for (int k = 0; k < Own::kParts; ++k) {
            if (!columns.has(k)) continue;
#pragma unroll
            for (int j = 0; j < kVector; ++j) {
                const float g = tile::to_float(grads[k][j]) * clip;
                const float square = fmaf(g, g, p.numbers.eps1);
                sums[k * kVector + j] += square;
                total += square;
            }
        }
        total = tile::warp_sum(total);
        if (threadIdx.x % tile::kWarp == 0) {
            p.row_partials[at.chunk * p.layout.rows + r] = total;
        }
        if (!p.numbers.scale_parameter) return;
        float squares = 0;
#pragma unroll
        for (int k = 0; k < Own::kParts; ++k) {
            if (!columns.has(k)) continue;
            const auto values = p.master.template read<kVector>(r * columns.width + columns.at(k));
#pragma unroll
            for (int j = 0; j < kVector; ++j) squares = fmaf(values[j], values[j], squares);
        }
        param_squares += static_cast<double>(squares);
    });
    float* const out = p.column_sums + at.block * columns.width;
#pragma unroll
    for (int k = 0; k < Own::kParts; ++k) {
        if (!columns.has(k)) continue;
        typename Own::Values values;
#pragma unroll
        for (int j = 0; j < kVector; ++j) values[j] = sums[k * kVector + j];
        tile::store(out + columns.at(k), values);
    }
    param_squares = tile::warp_sum(param_squares);
    if (threadIdx.x % tile::kWarp == 0) p.param_squares[at.task] = param_squares;
}

// Algorithm 4, second half: running means. The first blocks take rows, the others columns. Of those
// that are cut only the sums.
template <typename P, typename G>
__global__ void __launch_bounds__(kThreads) adafactor_finish_kernel(Problem<P, G> p) {
    tile::Shared shared;
    auto* const scratch = shared.take<double>(tile::kReduceScratch);
    auto* const step = shared.take<Betas>(1);
    if (p.state->finite == 0) return;
    const Betas beta = betas(p.state, p.numbers.decay_rate, step);
    const AdafactorLayout& layout = p.layout;
    const int64_t block = blockIdx.x;
    if (block < layout.finishers.count) {
        const int64_t r = block * kAdafactorRows + threadIdx.x;
        double mean = 0;
        if (r < layout.rows) {
            float total = 0;
            for (int64_t k = 0; k < layout.chunks.count; ++k) {
                total += p.row_partials[k * layout.rows + r];
            }
            if (p.totals.columns_cut) {
                p.totals.across()[r] = total;
            } else {
                const float now = total / static_cast<float>(layout.columns);
                p.row[r] = fmaf(p.row[r], beta.beta2, now * beta.rest2);
                mean = static_cast<double>(p.row[r]);
            }
        }
        mean = tile::block_sum(mean, scratch);
        if (threadIdx.x == 0) p.row_sums[block] = mean;
        return;
    }
    const int64_t c = (block - layout.finishers.count) * kThreads + threadIdx.x;
    if (c >= layout.columns) return;
    float total = 0;
    for (int64_t k = 0; k < layout.blocks.count; ++k) {
        total += p.column_sums[k * layout.columns + c];
    }
    if (p.totals.rows_cut) {
        p.totals.across()[c] = total;
        return;
    }
    const float now = total / static_cast<float>(layout.rows);
    const float moment = fmaf(p.col[c], beta.beta2, now * beta.rest2);
    p.col[c] = moment;
    p.column_factors[c] = 1.0f / sqrtf(moment);
}

// Of a part, what that left: the means of what is cut, where the totals are new, and what updates
// take of all moments. Blocks as above.
template <typename P, typename G>
__global__ void __launch_bounds__(kThreads)
    adafactor_across_kernel(Problem<P, G> p, bool totals_are_new) {
    tile::Shared shared;
    auto* const scratch = shared.take<double>(tile::kReduceScratch);
    auto* const step = shared.take<Betas>(1);
    if (p.state->finite == 0) return;
    const Betas beta = betas(p.state, p.numbers.decay_rate, step);
    const AdafactorLayout& layout = p.layout;
    const int64_t block = blockIdx.x;
    if (block < layout.finishers.count) {
        const int64_t r = block * kAdafactorRows + threadIdx.x;
        double mean = 0;
        if (r < layout.rows) {
            if (totals_are_new && p.totals.columns_cut) {
                const auto width = static_cast<float>(p.totals.parts * layout.columns);
                p.row[r] =
                    fmaf(p.row[r], beta.beta2, p.totals.across()[r] / width * beta.rest2);
            }
            mean = static_cast<double>(p.row[r]);
        }
        mean = tile::block_sum(mean, scratch);
        if (threadIdx.x == 0) p.row_sums[block] = mean;
        return;
    }
    const int64_t c = (block - layout.finishers.count) * kThreads + threadIdx.x;
    if (c >= layout.columns) return;
    if (totals_are_new && p.totals.rows_cut) {
        const auto height = static_cast<float>(p.totals.parts * layout.rows);
        p.col[c] = fmaf(p.col[c], beta.beta2, p.totals.across()[c] / height * beta.rest2);
    }
    p.column_factors[c] = 1.0f / sqrtf(p.col[c]);
}

// The mean of the rows' moments over all parts. The block calls it together.
template <typename P, typename G>
__device__ __forceinline__ float mean_of_rows(const Problem<P, G>& p, double* scratch) {
    const auto rows = static_cast<double>(p.layout.rows);
    if (p.totals.rows_cut) {
        return static_cast<float>(static_cast<double>(p.totals.sums[1]) /
                                  (rows * static_cast<double>(p.totals.parts)));
    }
    return static_cast<float>(block_total(p.row_sums, p.layout.finishers.count, scratch) / rows);
}

// Of a part, what goes into the totals besides the sums across the cut. One block.
template <typename P, typename G>
__global__ void __launch_bounds__(kThreads)
    adafactor_totals_kernel(Problem<P, G> p, bool of_sums, bool of_squares) {
    tile::Shared shared;
    auto* const scratch = shared.take<double>(tile::kReduceScratch);
    if (p.state->finite == 0) return;
    const int64_t count = p.layout.partials();
    if (of_sums) {
        const double params =
            p.numbers.scale_parameter ? block_total(p.param_squares, count, scratch) : 0.0;
        const double rows = p.totals.rows_cut
                                ? block_total(p.row_sums, p.layout.finishers.count, scratch)
                                : 0.0;
        if (threadIdx.x == 0) {
            p.totals.sums[0] = static_cast<float>(params);
            p.totals.sums[1] = static_cast<float>(rows);
        }
    }
    if (of_squares) {
        const double updates = block_total(p.update_squares, count, scratch);
        if (threadIdx.x == 0) *p.totals.squares = static_cast<float>(updates);
    }
}

template <int kVector>
__device__ __forceinline__ void load_factors(const float* factors, const Columns<kVector>& columns,
                                             float (&own)[kOwn]) {
#pragma unroll
    for (int k = 0; k < Columns<kVector>::kParts; ++k) {
        if (!columns.has(k)) continue;
        const auto values = tile::load<kVector>(factors + columns.at(k));
#pragma unroll
        for (int j = 0; j < kVector; ++j) own[k * kVector + j] = values[j];
    }
}

// g / sqrt(v), v = row col^T / mean(row), from the factor of the row and of the column.
__device__ __forceinline__ float factored_update(float g, float row_factor, float column_factor) {
    return g * row_factor * column_factor;
}

__device__ __forceinline__ float row_factor(float moment, float row_mean) {
    return 1.0f / sqrtf(moment / row_mean);
}

// Sums of squares of the update.
template <typename P, typename G, int kVector>
__global__ void __launch_bounds__(kThreads, 2) adafactor_measure_kernel(Problem<P, G> p) {
    using Own = Columns<kVector>;
    tile::Shared shared;
    auto* const scratch = shared.take<double>(tile::kReduceScratch);
    if (p.state->finite == 0) return;
    const float row_mean = mean_of_rows(p, scratch);
    const Tile<kVector> at(p.layout);
    if (!at.any) return;
    if (at.task == 0 && threadIdx.x == 0) p.scalars->row_mean = row_mean;
    const Own& columns = at.columns;
    const float clip = p.state->clip_factor;
    float factors[kOwn];
    load_factors(p.column_factors, columns, factors);
    double squares = 0;
    for_each_row<kVector>(p.grad, at, [&](int64_t r, const auto& grads) {
        const float of_row = row_factor(p.row[r], row_mean);
        float sum = 0;
#pragma unroll
        for (int k = 0; k < Own::kParts; ++k) {
            if (!columns.has(k)) continue;
#pragma unroll
            for (int j = 0; j < kVector; ++j) {
                const float g = tile::to_float(grads[k][j]) * clip;
                const float u = factored_update(g, of_row, factors[k * kVector + j]);
                sum = fmaf(u, u, sum);
            }
        }
        squares += static_cast<double>(sum);
    });
    squares = tile::warp_sum(squares);
    if (threadIdx.x % tile::kWarp == 0) p.update_squares[at.task] = squares;
}

// From sums of squares to the factors of the step. One block.
template <typename P, typename G>
__global__ void __launch_bounds__(kThreads) adafactor_scale_kernel(Problem<P, G> p) {
    tile::Shared shared;
    auto* const scratch = shared.take<double>(tile::kReduceScratch);
    if (p.state->finite == 0) return;
    const int64_t count = p.layout.partials();
    double updates, params = 0;
    if (p.totals.sums != nullptr) {
        updates = static_cast<double>(*p.totals.squares);
        params = static_cast<double>(p.totals.sums[0]);
        const float row_mean = p.layout.factored ? mean_of_rows(p, scratch) : 0.0f;
        if (threadIdx.x == 0) p.scalars->row_mean = row_mean;
    } else {
        updates = block_total(p.update_squares, count, scratch);
        if (p.numbers.scale_parameter) params = block_total(p.param_squares, count, scratch);
    }
    if (threadIdx.x != 0) return;
    const double n = static_cast<double>(p.layout.rows) * static_cast<double>(p.layout.columns) *
                     static_cast<double>(p.totals.parts);
    auto rate = static_cast<double>(p.state->lr);
    if (p.numbers.scale_parameter) {
        const double rms = sqrt(params / n);
        const auto least = static_cast<double>(p.numbers.eps2);
        rate *= rms < least ? least : rms;  // NaN stays
    }
    const double clip = sqrt(updates / n) / static_cast<double>(p.numbers.clip_threshold);
    p.scalars->update_scale = static_cast<float>(rate / (clip < 1.0 ? 1.0 : clip));
    p.scalars->decay = static_cast<float>(rate * static_cast<double>(p.numbers.weight_decay));
}

// The update of kVector elements from element i on.
template <int kVector, typename P, typename G>
__device__ __forceinline__ void apply(const Problem<P, G>& p, const Scalars& scalars, int64_t i,
                                      tile::Vector<float, kVector> update) {
#pragma unroll
    for (int j = 0; j < kVector; ++j) update[j] *= scalars.update_scale;
    if (p.m != nullptr) {
        const float rest = static_cast<float>(1 - static_cast<double>(p.numbers.beta1));
        const auto m = tile::load<kVector>(p.m + i);
#pragma unroll
        for (int j = 0; j < kVector; ++j) {
            update[j] = fmaf(m[j], p.numbers.beta1, update[j] * rest);
        }
        tile::store(p.m + i, update);
    }
    auto values = p.master.template read<kVector>(i);
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
        values[j] = fmaf(-values[j], scalars.decay, values[j]) - update[j];
    }
    p.master.template write<kVector>(i, values);
}

template <typename P, typename G, int kVector>
__global__ void __launch_bounds__(kThreads, 2) adafactor_apply_factored_kernel(Problem<P, G> p) {
    using Own = Columns<kVector>;
    if (p.state->finite == 0) return;
    const Tile<kVector> at(p.layout);
    if (!at.any) return;
    const Own& columns = at.columns;
    const float clip = p.state->clip_factor;
    const Scalars scalars = *p.scalars;
    float factors[kOwn];
    load_factors(p.column_factors, columns, factors);
#pragma unroll(kVector > 1 ? 2 : 1)
    for (int64_t r = at.begin; r < at.end; ++r) {
        tile::Vector<G, kVector> grads[Own::kParts];
        load_row<kVector>(p.grad, r, true, columns, grads);
        const float of_row = row_factor(p.row[r], scalars.row_mean);
#pragma unroll
        for (int k = 0; k < Own::kParts; ++k) {
            if (!columns.has(k)) continue;
            typename Own::Values update;
#pragma unroll
            for (int j = 0; j < kVector; ++j) {
                const float g = tile::to_float(grads[k][j]) * clip;
                update[j] = factored_update(g, of_row, factors[k * kVector + j]);
            }
            apply<kVector>(p, scalars, r * columns.width + columns.at(k), update);
        }
    }
}

// body(i) for the first of each kVector elements of this block.
template <int kVector, typename Body>
__device__ __forceinline__ void for_each_vector(const Blocks& blocks, Body&& body) {
    const int64_t begin = blockIdx.x * blocks.size;
    const int64_t end = min(blocks.total, begin + blocks.size);
#pragma unroll 2
    for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * kVector; i < end;
         i += kThreads * kVector) {
        body(i);
    }
}

__device__ __forceinline__ float whole_update(float g, float v) { return g / sqrtf(v); }

// Algorithm 5 without factors: v of every element, and sums of squares of parameter and update.
template <typename P, typename G, int kVector>
__global__ void __launch_bounds__(kThreads, 4) adafactor_whole_moments_kernel(Problem<P, G> p) {
    tile::Shared shared;
    auto* const scratch = shared.take<double>(tile::kReduceScratch);
    auto* const step = shared.take<Betas>(1);
    if (p.state->finite == 0) return;
    const Betas beta = betas(p.state, p.numbers.decay_rate, step);
    const float clip = p.state->clip_factor;
    double update_squares = 0, param_squares = 0;
    for_each_vector<kVector>(p.layout.blocks, [&](int64_t i) {
        const auto grads = tile::load<kVector>(p.grad + i);
        auto v = tile::load<kVector>(p.v + i);
        float sum = 0;
#pragma unroll
        for (int j = 0; j < kVector; ++j) {
            const float g = tile::to_float(grads[j]) * clip;
            const float square = fmaf(g, g, p.numbers.eps1);
            v[j] = fmaf(v[j], beta.beta2, square * beta.rest2);
            const float u = whole_update(g, v[j]);
            sum = fmaf(u, u, sum);
        }
        tile::store(p.v + i, v);
        update_squares += static_cast<double>(sum);
        if (!p.numbers.scale_parameter) return;
        const auto values = p.master.template read<kVector>(i);
        float squares = 0;
#pragma unroll
        for (int j = 0; j < kVector; ++j) squares = fmaf(values[j], values[j], squares);
        param_squares += static_cast<double>(squares);
    });
    update_squares = tile::block_sum(update_squares, scratch);
    param_squares = tile::block_sum(param_squares, scratch);
    if (threadIdx.x == 0) {
        p.update_squares[blockIdx.x] = update_squares;
        p.param_squares[blockIdx.x] = param_squares;
    }
}

template <typename P, typename G, int kVector>
__global__ void __launch_bounds__(kThreads) adafactor_apply_whole_kernel(Problem<P, G> p) {
    if (p.state->finite == 0) return;
    const float clip = p.state->clip_factor;
    const Scalars scalars = *p.scalars;
    for_each_vector<kVector>(p.layout.blocks, [&](int64_t i) {
        const auto grads = tile::load<kVector>(p.grad + i);
        const auto v = tile::load<kVector>(p.v + i);
        tile::Vector<float, kVector> update;
#pragma unroll
        for (int j = 0; j < kVector; ++j) {
            update[j] = whole_update(tile::to_float(grads[j]) * clip, v[j]);
        }
        apply<kVector>(p, scalars, i, update);
    });
}

Totals totals_of(const caravan_adafactor_args& args, bool factored) {
    if (args.phase == CARAVAN_ADAFACTOR_ALL) return {nullptr, nullptr, 1, false, false};
    return {data<float>(args.sums), data<float>(args.squares), args.parts,
            factored && args.cut == 0, factored && args.cut == 1};
}

template <typename P, typename G>
Problem<P, G> problem_of(const caravan_adafactor_args& args) {
    const auto layout = adafactor_layout(CARAVAN_CUDA, args.param, args.factored != 0);
    auto* const sums = data<double>(args.workspace);
    double* const row_sums = sums + 2 * layout.partials();
    auto* const scalars = reinterpret_cast<Scalars*>(row_sums + layout.finishers.count);
    auto* const floats = reinterpret_cast<float*>(sums + layout.sums());
    float* const column_factors = floats + layout.blocks.count * layout.columns;
    return {layout,
            Master<P>(args.param, args.remainder),
            data<G>(args.grad),
            data<float>(args.row),
            data<float>(args.col),
            data<float>(args.v),
            args.beta1 > 0 ? data<float>(args.m) : nullptr,
            data<caravan_step_state>(args.state),
            sums,
            sums + layout.partials(),
            row_sums,
            scalars,
            floats,
            column_factors,
            column_factors + layout.columns,
            {args.beta1, args.decay_rate, args.eps1, args.eps2, args.clip_threshold,
             args.weight_decay, args.scale_parameter != 0},
            totals_of(args, layout.factored)};
}

// A whole number of vectors from aligned starts; of each row when factored.
bool wide_enough(const caravan_adafactor_args& args, const AdafactorLayout& layout, int vector) {
    const auto aligned = [](const caravan_tensor& tensor) {
        return tensor.data == nullptr || wide_start(tensor);
    };
    return layout.columns % vector == 0 && wide_start(args.workspace) && aligned(args.param) &&
           aligned(args.remainder) && aligned(args.grad) && aligned(args.v) && aligned(args.m);
}

// All of a step, or of a part's step one phase.
template <int kVector, typename P, typename G>
void step(tile::Launcher& launcher, const Problem<P, G>& problem, int32_t phase) {
    const AdafactorLayout& layout = problem.layout;
    const bool all = phase == CARAVAN_ADAFACTOR_ALL;
    const bool sums = all || phase == CARAVAN_ADAFACTOR_SUM;
    const bool measures = all || phase == CARAVAN_ADAFACTOR_MEASURE;
    const bool updates = all || phase == CARAVAN_ADAFACTOR_UPDATE;
    const int64_t sum_bytes = tile::SharedLayout().take<double>(tile::kReduceScratch).bytes();
    const int64_t step_bytes =
        tile::SharedLayout().take<double>(tile::kReduceScratch).template take<Betas>(1).bytes();
    const tile::Config one = tile::config(1, kThreads, sum_bytes);
    if (!layout.factored) {
        const tile::Config blocks = tile::config(layout.blocks.count, kThreads, step_bytes);
        if (sums) {
            launcher.run(adafactor_whole_moments_kernel<P, G, kVector>, blocks, problem);
            if (!all) launcher.run(adafactor_totals_kernel<P, G>, one, problem, true, true);
        }
        if (updates) {
            launcher.run(adafactor_scale_kernel<P, G>, one, problem);
            launcher.run(adafactor_apply_whole_kernel<P, G, kVector>,
                         tile::config(layout.blocks.count, kThreads), problem);
        }
        return;
    }
    const int64_t blocks = (layout.partials() + kWarps - 1) / kWarps;
    const int64_t finishers = layout.finishers.count + (layout.columns + kThreads - 1) / kThreads;
    const tile::Config finish = tile::config(finishers, kThreads, step_bytes);
    if (sums) {
        launcher.run(adafactor_moments_kernel<P, G, kVector>, tile::config(blocks, kThreads),
                     problem);
        launcher.run(adafactor_finish_kernel<P, G>, finish, problem);
        if (!all) launcher.run(adafactor_totals_kernel<P, G>, one, problem, true, false);
    }
    if (measures) {
        if (!all) launcher.run(adafactor_across_kernel<P, G>, finish, problem, true);
        launcher.run(adafactor_measure_kernel<P, G, kVector>,
                     tile::config(blocks, kThreads, sum_bytes), problem);
        if (!all) launcher.run(adafactor_totals_kernel<P, G>, one, problem, false, true);
    }
    if (updates) {
        if (!all) launcher.run(adafactor_across_kernel<P, G>, finish, problem, false);
        launcher.run(adafactor_scale_kernel<P, G>, one, problem);
        launcher.run(adafactor_apply_factored_kernel<P, G, kVector>, tile::config(blocks, kThreads),
                     problem);
    }
}

}  // namespace

void adafactor_step(tile::Launcher& launcher, const caravan_adafactor_args& args) {
    if (element_count(args.param) == 0) return;
    with_storage(args.param.dtype, [&](auto* param_tag) {
        with_storage(args.grad.dtype, [&](auto* grad_tag) {
            using P = StorageOf<decltype(param_tag)>;
            using G = StorageOf<decltype(grad_tag)>;
            const Problem<P, G> problem = problem_of<P, G>(args);
            constexpr int kWide = 4;
            if (wide_enough(args, problem.layout, kWide)) {
                step<kWide, P, G>(launcher, problem, args.phase);
            } else {
                step<1, P, G>(launcher, problem, args.phase);
            }
        });
    });
}

}  // namespace cuda
}  // namespace caravan
