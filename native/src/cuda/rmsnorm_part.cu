// RMSNorm of a part of every row, the sums over whole rows given: nothing is left to sum within
// one. Bytes, in elements of x for each element: forward 2 (x, y), backward 3 (d_y, x, d_x), and
// with d_sum 4. Besides: the sums, rstd and weight once, and in the backward 8 bytes a column for
// each block of partial_blocks, mostly in L2.
#include "cuda/column_sums.cuh"
#include "cuda/kernels.h"
#include "cuda/partials.cuh"
#include "cuda/rmsnorm.cuh"

namespace caravan {
namespace cuda {
namespace {

constexpr int kParts = 2;  // of a thread in the forward, with the weight of each

template <typename T, bool kWide>
__global__ void __launch_bounds__(RowParts::kThreads)
    rmsnorm_part_fwd_kernel(RmsNormForward<T> args, const float* squares, RowParts shape) {
    constexpr int N = tile::kLanes<T>;
    tile::Vector<T, N> h[kParts] = {};
#pragma unroll
    for (int k = 0; k < kParts; ++k) {
        const auto at = shape.place<kParts, N>(k);
        if (at.inside) h[k] = tile::load_part<kWide, N>(args.x[at.row], at.first, args.width);
    }
#pragma unroll
    for (int k = 0; k < kParts; ++k) {
        const auto at = shape.place<kParts, N>(k);
        if (!at.inside) continue;
        const float rstd = rsqrtf(squares[at.row] * args.inverse_width + args.eps);
        if (args.rstd != nullptr && at.first == 0) args.rstd[at.row] = rstd;
        const auto weight = args.weight.template part<kWide, N>(at.first, args.width);
        tile::store_part<kWide>(args.y[at.row], at.first, args.width,
                                normalised(h[k], weight, rstd));
    }
}

template <typename T, bool kWide>
__global__ void __launch_bounds__(ColumnSums::kThreads)
    rmsnorm_part_bwd_kernel(RmsNormBackward<T> args, const float* dots, ColumnSums shape) {
    constexpr int N = tile::kLanes<T>;
    // Rows whose d_y and x are loaded before the first use; element by element they take more
    // registers.
    constexpr int kAtOnce = kWide ? 4 : 2;
    const bool adds = args.d_sum.data != nullptr;
    const auto at = shape.place();
    tile::Vector<float, N> d_weight = {};
    if (at.part < shape.parts) {
        const int64_t column = at.part * N;
        const auto weight = args.weight.template part<kWide, N>(column, args.width);
        for (int64_t first = at.begin; first < at.end; first += kAtOnce * at.step) {
            tile::Vector<T, N> d_y[kAtOnce] = {}, h[kAtOnce] = {};
#pragma unroll
            for (int k = 0; k < kAtOnce; ++k) {
                const int64_t row = first + k * at.step;
                if (row >= at.end) continue;
                d_y[k] = tile::load_part<kWide, N>(args.d_y[row], column, args.width);
                h[k] = tile::load_part<kWide, N>(args.x[row], column, args.width);
            }
#pragma unroll
            for (int k = 0; k < kAtOnce; ++k) {
                const int64_t row = first + k * at.step;
                if (row >= at.end) continue;
                const float rstd = args.rstd[row];
                const float mean = dots[row] * (rstd * args.inverse_width);
                store_gradient<kWide>(
                    args.d_x[row], column, args.width, adds,
                    gradient(d_y[k], h[k], weight, rstd, mean, d_weight), [&] {
                        return tile::load_part<kWide, N>(args.d_sum[row], column, args.width);
                    });
            }
        }
    }
    shape.store(at, d_weight, args.partials);
}

}  // namespace

void rmsnorm_part_forward(tile::Launcher& launcher, const caravan_rmsnorm_forward_args& args) {
    const bool wide = wide_parts(false, args.x, args.y) && wide_start(args.weight);
    with_route(args.x.dtype, wide, [&](auto* tag, auto is_wide) {
        using T = StorageOf<decltype(tag)>;
        const auto shape = row_parts<tile::kLanes<T>>(args.x, false);
        launcher.run(rmsnorm_part_fwd_kernel<T, decltype(is_wide)::value>,
                     shape.template config<kParts>(), forward_of<T>(args),
                     data<const float>(args.squares), shape);
    });
}

void rmsnorm_part_backward(tile::Launcher& launcher, const caravan_rmsnorm_backward_args& args) {
    const Blocks blocks = partial_blocks(CARAVAN_CUDA, args.x.shape[0]);
    const bool adds = args.d_sum.data != nullptr;
    const bool wide = wide_parts(false, args.d_y, args.x, args.d_x) && wide_start(args.weight) &&
                      (!adds || wide_rows(args.d_sum));
    with_route(args.x.dtype, wide, [&](auto* tag, auto is_wide) {
        using T = StorageOf<decltype(tag)>;
        const auto shape = column_sums<tile::kLanes<T>>(args.x, blocks);
        launcher.run(rmsnorm_part_bwd_kernel<T, decltype(is_wide)::value>,
                     shape.template config<tile::kLanes<T>>(), backward_of<T>(args, blocks),
                     data<const float>(args.dots), shape);
    });
    add_partials(launcher, data<float>(args.workspace), blocks.count, args.d_weight);
}

}  // namespace cuda
}  // namespace caravan
