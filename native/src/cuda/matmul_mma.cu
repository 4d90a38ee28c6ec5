// The product of two bf16 matrices by mma.sync.
#include "cuda/matmul_mma.cuh"
#include "cuda/matmul_product.cuh"

namespace caravan {
namespace cuda {
namespace {

using namespace mma_product;

template <typename T, bool kTransposeA, bool kTransposeB, bool kWide>
__global__ void __launch_bounds__(T::kThreads) mma_kernel(const Product product) {
    using A = Operand<!kTransposeA, T::kRows>;
    using B = Operand<kTransposeB, T::kColumns>;
    const Used used = used_extents(product);
    const TilePlace place = tile_place(product, blockIdx.x, T::kRows, T::kColumns);
    const A a = {static_cast<const bf16*>(product.a), product.a_stride, used.m, used.k};
    const B b = {static_cast<const bf16*>(product.b), product.b_stride, product.n, used.k};
    tile::Shared shared;
    auto* const ring = shared.take<unsigned char>(kStages * T::kStageBytes, 1024);
    const int lane = threadIdx.x % tile::kWarp, warp = threadIdx.x / tile::kWarp;
    const int warp_row = warp % T::kWarpsDown * T::kWarpRows;
    const int warp_column = warp / T::kWarpsDown * T::kWarpColumns;
    const int32_t steps = place.row < used.m ? (used.k + kDepth - 1) / kDepth : 0;

    constexpr int kDown = T::kWarpRows / 16, kAcross = T::kWarpColumns / 16;
    float sums[kDown][2 * kAcross][4] = {};
    multiply<T, A, !kTransposeA, B, kTransposeB>(
        sums, ring, steps, warp_row,
        [&](unsigned char* to, int32_t k) {
            a.template fetch<T::kThreads, kWide>(to, place.row, k);
        },
        [&](unsigned char* to, int32_t k) {
            b.template fetch<T::kThreads, kWide>(to, place.column, k);
        },
        [&](int j) { return warp_column + j * 16; });
#pragma unroll
    for (int i = 0; i < kDown; ++i) {
#pragma unroll
        for (int j = 0; j < 2 * kAcross; ++j) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int32_t row =
                    place.row + warp_row + i * 16 + tile::Mma16816::sum_row(lane, half * 2);
                const int32_t column =
                    place.column + warp_column + j * 8 + tile::Mma16816::sum_column(lane, 0);
                put_pair(product, used, row, column, sums[i][j][half * 2],
                         sums[i][j][half * 2 + 1]);
            }
        }
    }
}

template <typename T, bool kWide>
void start(tile::Launcher& launcher, const Product& product) {
    const int64_t tiles = (int64_t{product.m} + T::kRows - 1) / T::kRows *
                          ((int64_t{product.n} + T::kColumns - 1) / T::kColumns);
    const tile::Config config = tile::config(tiles, T::kThreads, kStages * T::kStageBytes);
    if (product.transpose_a) {
        launcher.run(product.transpose_b ? mma_kernel<T, true, true, kWide>
                                         : mma_kernel<T, true, false, kWide>,
                     config, product);
    } else {
        launcher.run(product.transpose_b ? mma_kernel<T, false, true, kWide>
                                         : mma_kernel<T, false, false, kWide>,
                     config, product);
    }
}

}  // namespace

// Small tiles where large ones would be too few to occupy a device.
void start_mma_product(tile::Launcher& launcher, const Product& product, bool wide) {
    using Large = Tiling<128, 128, 64, 32>;
    using Small = Tiling<64, 64, 32, 32>;
    constexpr int64_t kEnough = 96;
    const int64_t large = ((int64_t{product.m} + 127) / 128) * ((int64_t{product.n} + 127) / 128);
    if (!wide) {
        start<Small, false>(launcher, product);
    } else if (large < kEnough) {
        start<Small, true>(launcher, product);
    } else {
        start<Large, true>(launcher, product);
    }
}

}  // namespace cuda
}  // namespace caravan
