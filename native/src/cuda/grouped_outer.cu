// Gradients of grouped weights: for each expert the product of its rows, transposed, with its rows,
// added to what is there. A block has a tile of one expert's gradient and goes over all of its
// rows, gathered as they are copied: bf16 by warpgroups where device and shape are for them
// (grouped_outer_sm90.cu), else by mma.sync; and a plain kernel for float32.
#include "cuda/grouped_outer.cuh"
#include "cuda/kernels.h"
#include "cuda/matmul_mma.cuh"

namespace caravan {
namespace cuda {
namespace {

using namespace mma_product;

using T = Tiling<128, 128, 64, 32>;

template <bool kWide>
__global__ void __launch_bounds__(T::kThreads)
    grouped_outer_kernel(const Outer o, const bf16* left, int64_t left_stride, const bf16* right,
                         int64_t right_stride) {
    using A = Operand<false, T::kRows, Gather>;
    using B = Operand<false, T::kColumns, Gather>;
    const ExpertRows rows = rows_of(o.offsets, blockIdx.z, o.rows);
    if (rows.rows <= 0) return;
    const auto row = static_cast<int32_t>(blockIdx.y) * T::kRows;
    const auto column = static_cast<int32_t>(blockIdx.x) * T::kColumns;
    const A a = {left, left_stride, o.m, rows.rows, o.a_index(rows.first)};
    const B b = {right, right_stride, o.n, rows.rows, o.b_index(rows.first)};
    auto* const ring = tile::Shared().take<unsigned char>(kStages * T::kStageBytes, 1024);
    const int lane = threadIdx.x % tile::kWarp, warp = threadIdx.x / tile::kWarp;
    const int warp_row = warp % T::kWarpsDown * T::kWarpRows;
    const int warp_column = warp / T::kWarpsDown * T::kWarpColumns;
    constexpr int kDown = T::kWarpRows / 16, kAcross = T::kWarpColumns / 8;
    float sums[kDown][kAcross][4] = {};
    multiply<T, A, false, B, false>(
        sums, ring, (rows.rows + kDepth - 1) / kDepth, warp_row,
        [&](unsigned char* to, int32_t k) { a.template fetch<T::kThreads, kWide>(to, row, k); },
        [&](unsigned char* to, int32_t k) { b.template fetch<T::kThreads, kWide>(to, column, k); },
        [&](int j) { return warp_column + j * 16; });
    float* const c = o.c + int64_t{rows.expert} * o.m * o.n;
#pragma unroll
    for (int i = 0; i < kDown; ++i) {
#pragma unroll
        for (int j = 0; j < kAcross; ++j) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int32_t at = row + warp_row + i * 16 + tile::Mma16816::sum_row(lane, e);
                const int32_t across =
                    column + warp_column + j * 8 + tile::Mma16816::sum_column(lane, e);
                if (at < o.m && across < o.n) c[int64_t{at} * o.n + across] += sums[i][j][e];
            }
        }
    }
}

constexpr int kPlainThreads = 128;

// A block has a row of an expert's gradient, or a part of it.
__global__ void __launch_bounds__(kPlainThreads)
    grouped_outer_plain_kernel(const Outer o, AnyMatrix a, AnyMatrix b) {
    const ExpertRows rows = rows_of(o.offsets, blockIdx.z, o.rows);
    const auto column = static_cast<int32_t>(blockIdx.x * kPlainThreads + threadIdx.x);
    if (rows.rows <= 0 || column >= o.n) return;
    const Gather a_index = o.a_index(rows.first), b_index = o.b_index(rows.first);
    for (int32_t row = blockIdx.y; row < o.m; row += gridDim.y) {
        float sum = 0;
        for (int32_t r = 0; r < rows.rows; ++r) {
            const int64_t from_a = a_index(r), from_b = b_index(r);
            sum += from_a < 0 || from_b < 0 ? NAN : a.get(from_a, row) * b.get(from_b, column);
        }
        o.c[(int64_t{rows.expert} * o.m + row) * o.n + column] += sum;
    }
}

}  // namespace

void grouped_outer_forward(tile::Launcher& launcher, const caravan_grouped_outer_args& args) {
    Outer o = {};
    o.assignments = data<int32_t>(args.assignments);
    o.offsets = data<int32_t>(args.offsets);
    o.c = data<float>(args.c);
    o.experts = static_cast<int32_t>(args.c.shape[0]);
    o.m = static_cast<int32_t>(args.c.shape[1]);
    o.n = static_cast<int32_t>(args.c.shape[2]);
    o.choices = args.choices;
    o.a_rows = static_cast<int32_t>(args.a.shape[0]);
    o.b_rows = static_cast<int32_t>(args.b.shape[0]);
    o.gather_a = args.gather_a != 0;
    o.gather_b = args.gather_b != 0;
    // As many rows as the assignments name, or as both matrices have.
    const bool gathers = o.gather_a || o.gather_b;
    o.rows =
        gathers ? static_cast<int32_t>(args.assignments.shape[0]) : std::min(o.a_rows, o.b_rows);
    if (!o.gather_a) o.rows = std::min(o.rows, o.a_rows);
    if (!o.gather_b) o.rows = std::min(o.rows, o.b_rows);
    if (o.m == 0 || o.n == 0 || o.rows == 0) return;
    const auto across = [&](int64_t step) {
        return static_cast<unsigned>((o.n + step - 1) / step);
    };
    const auto experts = static_cast<unsigned>(o.experts);
    if (args.a.dtype != CARAVAN_BF16 || args.b.dtype != CARAVAN_BF16) {
        constexpr int32_t kMostRows = 4096;  // of a grid
        launcher.run(
            grouped_outer_plain_kernel,
            {dim3(across(kPlainThreads), static_cast<unsigned>(std::min(o.m, kMostRows)), experts),
             dim3(kPlainThreads), 0, 1},
            o, any_matrix(args.a), any_matrix(args.b));
        return;
    }
    if (start_grouped_outer_sm90(launcher, o, args.a, args.b)) return;
    const bool wide = wide_rows(args.a) && wide_rows(args.b);
    launcher.run(
        wide ? grouped_outer_kernel<true> : grouped_outer_kernel<false>,
        {dim3(across(T::kColumns), static_cast<unsigned>((o.m + T::kRows - 1) / T::kRows), experts),
         dim3(T::kThreads), int64_t{kStages} * T::kStageBytes, 1},
        o, data<bf16>(args.a), row_stride(args.a), data<bf16>(args.b), row_stride(args.b));
}

}  // namespace cuda
}  // namespace caravan
