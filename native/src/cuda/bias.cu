// y = x + bias on every row, and the sum of gradients over rows.
// Bytes, in elements of x for each element: forward 2 (x, y), backward 1 (d_y). Besides: bias once,
// and in the backward 8 bytes a column for each block of partial_blocks, mostly in L2.
#include "cuda/column_sums.cuh"
#include "cuda/kernels.h"
#include "cuda/partials.cuh"
#include "cuda/row_parts.cuh"

namespace caravan {
namespace cuda {
namespace {

constexpr int kIlp = 8;    // loads of 16 bytes before the first use
constexpr int kParts = 2;  // of a thread in the forward, with the bias of each

template <typename T, typename B, bool kWide>
__global__ void __launch_bounds__(RowParts::kThreads)
    bias_fwd_kernel(Rows<const T> x, const B* bias, Rows<T> y, RowParts shape) {
    constexpr int N = tile::kLanes<T>;
    tile::Vector<T, N> parts[kParts] = {};
    tile::Vector<B, N> added[kParts] = {};
#pragma unroll
    for (int k = 0; k < kParts; ++k) {
        const auto at = shape.place<kParts, N>(k);
        if (!at.inside) continue;
        parts[k] = tile::load_part<kWide, N>(x[at.row], at.first, shape.width);
        added[k] = tile::load_part<kWide, N>(bias, at.first, shape.width);
    }
#pragma unroll
    for (int k = 0; k < kParts; ++k) {
        const auto at = shape.place<kParts, N>(k);
        if (!at.inside) continue;
        auto sum = tile::to_floats(parts[k]);
        const auto bias_part = tile::to_floats(added[k]);
#pragma unroll
        for (int j = 0; j < N; ++j) sum[j] += bias_part[j];
        tile::store_part<kWide>(y[at.row], at.first, shape.width, tile::from_floats<T>(sum));
    }
}

// ------------------------------------------------------------------------------- backward

template <typename T, bool kWide>
__global__ void __launch_bounds__(ColumnSums::kThreads)
    bias_bwd_kernel(Rows<const T> d_y, float* partials, ColumnSums shape) {
    constexpr int N = tile::kLanes<T>;
    const auto at = shape.place();
    tile::Vector<float, N> sum = {};
    if (at.part < shape.parts) {
        for (int64_t first = at.begin; first < at.end; first += kIlp * at.step) {
            tile::Vector<T, N> rows[kIlp] = {};
#pragma unroll
            for (int k = 0; k < kIlp; ++k) {
                const int64_t row = first + k * at.step;
                if (row < at.end)
                    rows[k] = tile::load_part<kWide, N>(d_y[row], at.part * N, shape.width);
            }
#pragma unroll
            for (int k = 0; k < kIlp; ++k) {
                const auto row = tile::to_floats(rows[k]);
#pragma unroll
                for (int j = 0; j < N; ++j) sum[j] += row[j];
            }
        }
    }
    shape.store(at, sum, partials);
}

}  // namespace

void bias_forward(tile::Launcher& launcher, const caravan_bias_forward_args& args) {
    if (element_count(args.x) == 0) return;
    with_storage(args.x.dtype, [&](auto* tag) {
        with_storage(args.bias.dtype, [&](auto* bias_tag) {
            using T = StorageOf<decltype(tag)>;
            using B = StorageOf<decltype(bias_tag)>;
            const auto shape = row_parts<tile::kLanes<T>>(args.x, false);
            const auto start = [&](auto kernel) {
                launcher.run(kernel, shape.template config<kParts>(), rows_of<const T>(args.x),
                             data<const B>(args.bias), rows_of<T>(args.y), shape);
            };
            if (wide_parts(false, args.x, args.y) && wide_start(args.bias)) {
                start(bias_fwd_kernel<T, B, true>);
            } else {
                start(bias_fwd_kernel<T, B, false>);
            }
        });
    });
}

void bias_backward(tile::Launcher& launcher, const caravan_bias_backward_args& args) {
    if (element_count(args.d_y) == 0) return;
    const Blocks blocks = partial_blocks(CARAVAN_CUDA, args.d_y.shape[0]);
    auto* const partials = data<float>(args.workspace);
    with_storage(args.d_y.dtype, [&](auto* tag) {
        using T = StorageOf<decltype(tag)>;
        const auto shape = column_sums<tile::kLanes<T>>(args.d_y, blocks);
        const auto start = [&](auto kernel) {
            launcher.run(kernel, shape.template config<tile::kLanes<T>>(),
                         rows_of<const T>(args.d_y), partials, shape);
        };
        if (wide_parts(false, args.d_y)) {
            start(bias_bwd_kernel<T, true>);
        } else {
            start(bias_bwd_kernel<T, false>);
        }
    });
    add_partials(launcher, partials, blocks.count, args.d_bias);
}

}  // namespace cuda
}  // namespace caravan
