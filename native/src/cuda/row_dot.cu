// Products of the rows of two matrices, each summed in float32. Bytes: both matrices once, or the
// one; weight and sums besides.
#include <algorithm>

#include "cuda/kernels.h"
#include "cuda/rmsnorm.cuh"

namespace caravan {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kAtOnce = 4;  // parts of 16 bytes that a thread loads together

// Neighbouring threads, `group` of them, take a row.
template <typename T, bool kWide>
__global__ void __launch_bounds__(kThreads)
    row_dot_fwd_kernel(Rows<const T> a, Rows<const T> b, RmsNormWeight weight, float* out,
                       int64_t rows, int64_t width, int64_t parts, int32_t group) {
    constexpr int N = tile::kLanes<T>;
    float* const scratch = tile::Shared().take<float>(kRmsNormScratch);
    const int lane = static_cast<int>(threadIdx.x) % group;
    const int side = static_cast<int>(threadIdx.x) / group;
    const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / group) + side;
    float sum = 0;
    if (row < rows) {
#pragma unroll kAtOnce
        for (int64_t part = lane; part < parts; part += group) {
            tile::Vector<float, N> factor;
#pragma unroll
            for (int j = 0; j < N; ++j) factor[j] = 1;
            if (weight.data != nullptr) {
                factor = weight.template part<kWide, N>(part * N, width);
            }
            sum = products(tile::load_part<kWide, N>(a[row], part * N, width),
                           tile::load_part<kWide, N>(b[row], part * N, width), factor, sum);
        }
    }
    sum = group_sum(sum, group, side, scratch);
    if (lane == 0 && row < rows) out[row] = sum;
}

}  // namespace

void row_dot_forward(tile::Launcher& launcher, const caravan_row_dot_args& args) {
    const int64_t rows = args.a.shape[0], width = args.a.shape[1];
    if (rows == 0) return;
    const bool wide = wide_parts(false, args.a, args.b) &&
                      (args.weight.data == nullptr || wide_start(args.weight));
    with_route(args.a.dtype, wide, [&](auto* tag, auto is_wide) {
        using T = StorageOf<decltype(tag)>;
        const int64_t parts = ceil_divide(width, tile::kLanes<T>);
        const int group = static_cast<int>(
            std::min<int64_t>(kThreads, power_of_two_from(ceil_divide(parts, kAtOnce))));
        launcher.run(row_dot_fwd_kernel<T, decltype(is_wide)::value>,
                     tile::config(ceil_divide(rows, kThreads / group), kThreads,
                                  kRmsNormScratch * static_cast<int64_t>(sizeof(float))),
                     rows_of<const T>(args.a), rows_of<const T>(args.b),
                     weight_of(args.weight, args.weight_offset), data<float>(args.out), rows, width,
                     parts, group);
    });
}

}  // namespace cuda
}  // namespace caravan
