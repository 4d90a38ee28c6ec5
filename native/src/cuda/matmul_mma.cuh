// Products of bf16 tiles by mma.sync, ldmatrix and cp.async: a ring of tiles in shared memory, with
// the 128-byte swizzle in either order of an operand.
#pragma once

#include "cuda/tile/copy_async.cuh"
#include "cuda/tile/matrix.cuh"
#include "cuda/tile/mma.cuh"
#include "cuda/tile/shared.cuh"
#include "cuda/tile/swizzle.cuh"
#include "cuda/tile/types.cuh"
#include "cuda/tile/vector.cuh"

namespace caravan {
namespace cuda {
namespace mma_product {

using tile::bf16;

inline constexpr int kDepth = 64;  // of a tile along k
inline constexpr int kStages = 3;
inline constexpr int kLine = 128;  // bytes of a row of a tile: 64 elements

// Rows and columns of the block's tile of c, and of each warp's part.
template <int kRows_, int kColumns_, int kWarpRows_, int kWarpColumns_>
struct Tiling {
    static constexpr int kRows = kRows_, kColumns = kColumns_;
    static constexpr int kWarpRows = kWarpRows_, kWarpColumns = kWarpColumns_;
    static constexpr int kWarpsDown = kRows / kWarpRows;
    static constexpr int kThreads = kWarpsDown * (kColumns / kWarpColumns) * tile::kWarp;
    static constexpr int kStageBytes = (kRows + kColumns) * kLine;
};

// Rows of an operand as they lie.
struct InOrder {
    __device__ __forceinline__ int64_t operator()(int32_t row) const { return row; }
};

// One operand: `extent` is what of M or N, and `depth` what of K, is in use. When k is contiguous
// (`kAlongK`), a tile is [kExtent, 64 of k]; else it is panels of [64 of k, 64 of M or N]. Its row
// number r is row index(r) of the matrix, or none where that is negative.
template <bool kAlongK, int kExtent, typename Index = InOrder>
struct Operand {
    const bf16* data;
    int64_t stride;
    int32_t extent, depth;
    Index index = {};

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
            int valid = row < rows ? max(0, min(columns - first, 8)) : 0;
            const int64_t source = valid == 0 ? 0 : index(row);
            if (source < 0) valid = 0;
            const bf16* from = valid == 0 ? data : data + source * stride + first;
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

// sums += a b over `steps` tiles of k. fetch_a(stage, k) and fetch_b(stage, k) start the copies of
// a tile; column(j) is where the warp's columns number 16 j begin in b's tile.
template <typename T, typename A, bool kAlongA, typename B, bool kAlongB, typename FetchA,
          typename FetchB, typename Column>
__device__ __forceinline__ void multiply(float (&sums)[T::kWarpRows / 16][T::kWarpColumns / 8][4],
                                         unsigned char* ring, int32_t steps, int warp_row,
                                         const FetchA& fetch_a, const FetchB& fetch_b,
                                         const Column& column) {
    constexpr int kDown = T::kWarpRows / 16, kAcross = T::kWarpColumns / 16;
    const auto fetch = [&](int32_t step) {
        if (step < steps) {
            unsigned char* const stage = ring + step % kStages * T::kStageBytes;
            fetch_a(stage, step * kDepth);
            fetch_b(stage + T::kRows * kLine, step * kDepth);
        }
        tile::copy_async_commit();
    };
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
                load_a<A>(a_part[i], stage, warp_row + i * 16, k, kAlongA);
            }
#pragma unroll
            for (int j = 0; j < kAcross; ++j) {
                load_b<B>(b_part[j], stage + T::kRows * kLine, column(j), k, kAlongB);
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
}

}  // namespace mma_product
}  // namespace cuda
}  // namespace caravan
