// The product of two bf16 matrices by mma.sync, ldmatrix and cp.async: a ring of tiles in shared
// memory, with the 128-byte swizzle in either order of an operand.
#include "cuda/matmul_product.cuh"
#include "cuda/tile/copy_async.cuh"
#include "cuda/tile/matrix.cuh"
#include "cuda/tile/mma.cuh"
#include "cuda/tile/shared.cuh"
#include "cuda/tile/swizzle.cuh"

namespace caravan {
namespace cuda {
namespace {

using tile::bf16;

constexpr int kDepth = 64;  // of a tile along k
constexpr int kStages = 3;
constexpr int kLine = 128;  // bytes of a row of a tile: 64 elements

// Rows and columns of the block's tile of c, and of each warp's part.
template <int kRows_, int kColumns_, int kWarpRows_, int kWarpColumns_>
struct Tiling {
    static constexpr int kRows = kRows_, kColumns = kColumns_;
    static constexpr int kWarpRows = kWarpRows_, kWarpColumns = kWarpColumns_;
    static constexpr int kWarpsDown = kRows / kWarpRows;
    static constexpr int kThreads = kWarpsDown * (kColumns / kWarpColumns) * tile::kWarp;
    static constexpr int kStageBytes = (kRows + kColumns) * kLine;
};

// One operand: `extent` is what of M or N, and `depth` what of K, is in use. When k is contiguous
// (`kAlongK`), a tile is [kExtent, 64 of k]; else it is panels of [64 of k, 64 of M or N].
template <bool kAlongK, int kExtent>
struct Operand {
    const bf16* data;
    int64_t stride;
    int32_t extent, depth;

    __device__ __forceinline__ static uint32_t place(int mn, int k) {
        return kAlongK ? tile::swizzle_128(static_cast<uint32_t>(mn * kLine + k * 2))
                       : tile::swizzle_128(static_cast<uint32_t>(mn / 64 * (kDepth * kLine) +
                                                                 k * kLine + mn % 64 * 2));
    }

    // Starts the copy of the tile at (mn, k). What lies outside the matrix becomes 0.
    template <int kThreads, bool kWide>
    __device__ __forceinline__ void fetch(unsigned char* to, int32_t mn, int32_t k) const {
        constexpr int kPerLine = kLine / 16;
        for (int i = threadIdx.x; i < kExtent * kPerLine; i += kThreads) {
            const int line = i / kPerLine, column = i % kPerLine * 8;
            const int mn_inside = kAlongK ? line : line / kDepth * 64 + column;
            const int k_inside = kAlongK ? column : line % kDepth;
            const int32_t row = kAlongK ? mn + mn_inside : k + k_inside;
            const int32_t first = kAlongK ? k + k_inside : mn + mn_inside;
            const int32_t rows = kAlongK ? extent : depth, columns = kAlongK ? depth : extent;
            const int valid = row < rows ? max(0, min(columns - first, 8)) : 0;
            const bf16* from = valid == 0 ? data : data + row * stride + first;
            unsigned char* const into = to + place(mn_inside, k_inside);
            if constexpr (kWide) {
                tile::copy_async_filled<16>(into, from, valid * 2);
            } else {
                tile::Vector<bf16, 8> values;
#pragma unroll
                for (int j = 0; j < 8; ++j) values[j] = j < valid ? from[j] : bf16{0};
                tile::store(reinterpret_cast<bf16*>(into), values);
            }
        }
    }
};

// The four registers of a [16, 16] part of a at (row, k), as mma takes them: its matrices are those
// of rows 0-7 and 8-15, first for k 0-7, then for 8-15.
template <typename A>
__device__ __forceinline__ void load_a(uint32_t (&to)[4], const unsigned char* stage, int row,
                                       int k, bool along_k) {
    const int lane = threadIdx.x % tile::kWarp;
    if (along_k) {
        tile::load_matrices(to, stage + A::place(row + lane % 16, k + lane / 16 * 8));
    } else {
        tile::load_matrices_transposed(
            to, stage + A::place(row + lane / 8 % 2 * 8, k + lane % 8 + lane / 16 * 8));
    }
}

// The two pairs of registers of a [16, 16] part of b at (k, column): columns 0-7, then 8-15.
template <typename B>
__device__ __forceinline__ void load_b(uint32_t (&to)[4], const unsigned char* stage, int column,
                                       int k, bool along_k) {
    const int lane = threadIdx.x % tile::kWarp;
    if (along_k) {
        tile::load_matrices(
            to, stage + B::place(column + lane % 8 + lane / 16 * 8, k + lane / 8 % 2 * 8));
    } else {
        tile::load_matrices_transposed(to, stage + B::place(column + lane / 16 * 8, k + lane % 16));
    }
}

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

    const auto fetch = [&](int32_t step) {
        if (step < steps) {
            unsigned char* const stage = ring + step % kStages * T::kStageBytes;
            a.template fetch<T::kThreads, kWide>(stage, place.row, step * kDepth);
            b.template fetch<T::kThreads, kWide>(stage + T::kRows * kLine, place.column,
                                                 step * kDepth);
        }
        tile::copy_async_commit();
    };
    constexpr int kDown = T::kWarpRows / 16, kAcross = T::kWarpColumns / 16;
    float sums[kDown][2 * kAcross][4] = {};
    for (int32_t step = 0; step < kStages - 1; ++step) fetch(step);
    for (int32_t step = 0; step < steps; ++step) {
        tile::copy_async_wait<kStages - 2>();
        __syncthreads();  // the tile is there, and nobody reads the one before any more
        fetch(step + kStages - 1);
        const unsigned char* const stage = ring + step % kStages * T::kStageBytes;
#pragma unroll
        for (int k = 0; k < kDepth; k += 16) {
            uint32_t a_part[kDown][4], b_part[kAcross][4];
#pragma unroll
            for (int i = 0; i < kDown; ++i) {
                load_a<A>(a_part[i], stage, warp_row + i * 16, k, !kTransposeA);
            }
#pragma unroll
            for (int j = 0; j < kAcross; ++j) {
                load_b<B>(b_part[j], stage + T::kRows * kLine, warp_column + j * 16, k,
                          kTransposeB);
            }
#pragma unroll
            for (int i = 0; i < kDown; ++i) {
#pragma unroll
                for (int j = 0; j < kAcross; ++j) {
                    tile::mma_bf16(sums[i][2 * j], a_part[i], {b_part[j][0], b_part[j][1]});
                    tile::mma_bf16(sums[i][2 * j + 1], a_part[i], {b_part[j][2], b_part[j][3]});
                }
            }
        }
    }
    tile::copy_async_wait<0>();
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
