// Copies and products of attention's tiles by cp.async, ldmatrix and mma.sync. sm_80 on.
//
// A tile's rows lie one behind the other without gaps; the 16-byte columns of row r are permuted by
// XOR with r % 8, so that the eight rows of a matrix that ldmatrix loads lie in different banks.
#pragma once

#include "cuda/attention_tensor.cuh"
#include "cuda/tile/copy_async.cuh"
#include "cuda/tile/matrix.cuh"
#include "cuda/tile/opaque.cuh"

namespace caravan {
namespace cuda {
namespace mma {

using namespace tensor;

// A thread's part in copies of tiles: of each line of 128 bytes in rows row, row + kThreads / 8,
// ... the chunk of its own.
struct CopyLane {
    int row, chunk;

    __device__ __forceinline__ CopyLane() {
        const int thread = tile::opaque(threadIdx.x);
        row = thread / 8;
        chunk = thread % 8;
    }

    // Where this thread's part of rows from `from` on begins.
    __device__ __forceinline__ const bf16* part(const bf16* from, int64_t stride) const {
        return from + row * stride + chunk * kChunk;
    }
};

// Starts this thread's copies of `rows` rows (at most kRows) of `width` elements, a multiple of 8;
// the rest of the tile becomes 0. from: the thread's part of them.
template <int kRows, int kThreads, int kWidth>
__device__ __forceinline__ void copy_part(const Tile<kWidth>& to, const CopyLane& lane,
                                          const bf16* from, int64_t stride, int rows, int width) {
    constexpr int kStep = kThreads / 8;
    static_assert(kRows % kStep == 0, "every thread copies as much");
    const int more = rows - lane.row, wider = width - lane.chunk * kChunk;
    unsigned char* const place = to.at(lane.row, lane.chunk);
#pragma unroll
    for (int i = 0; i < kRows / kStep; ++i) {
#pragma unroll
        for (int line = 0; line < kWidth / 64; ++line) {
            // An address behind the rows is not read from.
            tile::copy_async_filled<16>(place + i * kStep * kWidth * 2 + line * 128,
                                        from + line * 64,
                                        more > i * kStep && wider > line * 64 ? 16 : 0);
        }
        from += kStep * stride;
    }
}

template <int kRows, int kThreads, int kWidth>
__device__ __forceinline__ void copy_tile(const Tile<kWidth>& to, const bf16* from, int64_t stride,
                                          int rows, int width) {
    const CopyLane lane;
    copy_part<kRows, kThreads>(to, lane, lane.part(from, stride), stride, rows, width);
}

// The left operand of depth 16 from 16 rows of a tile: chunk and chunk + 1. down: of the lane.
template <int kWidth>
__device__ __forceinline__ void load_left(uint32_t (&a)[4], const Tile<kWidth>& tile, int down,
                                          int row, int chunk) {
    tile::load_matrices<4>(a, tile.at_lane(down, row, chunk));
}

__device__ __forceinline__ void split(uint32_t (&b)[2][2], const uint32_t (&four)[4]) {
    b[0][0] = four[0];
    b[0][1] = four[1];
    b[1][0] = four[2];
    b[1][1] = four[3];
}

// The right operand of depth 16 for two column tiles, whose columns are 16 rows of the tile.
// across: of the lane.
template <int kWidth>
__device__ __forceinline__ void load_right(uint32_t (&b)[2][2], const Tile<kWidth>& tile,
                                           int across, int row, int chunk) {
    uint32_t four[4];
    tile::load_matrices<4>(four, tile.at_lane(across, row, chunk));
    split(b, four);
}

// The same where depth runs along the rows: rows row .. row + 15 and two chunks.
template <int kWidth>
__device__ __forceinline__ void load_right_transposed(uint32_t (&b)[2][2], const Tile<kWidth>& tile,
                                                      int down, int row, int chunk) {
    uint32_t four[4];
    tile::load_matrices_transposed<4>(four, tile.at_lane(down, row, chunk));
    split(b, four);
}

// The left operand of a product over kWidth, from rows of a tile: kept in registers or loaded anew
// each time.
template <int kM, int kWidth, bool kKeep>
struct Left {
    static constexpr int kSteps = kWidth / 16;
    Tile<kWidth> tile;
    int down;
    uint32_t kept[kKeep ? kSteps : 1][kM][4];

    __device__ __forceinline__ Left(const Tile<kWidth>& from, int row)
        : tile(from), down(Tile<kWidth>::lane_down(row)) {}

    __device__ __forceinline__ void keep() {
        if constexpr (kKeep) {
#pragma unroll
            for (int step = 0; step < kSteps; ++step) {
#pragma unroll
                for (int m = 0; m < kM; ++m) load_left(kept[step][m], tile, down, m * 16, 2 * step);
            }
        }
    }
};

// Calls body(i) for i = 0, kStep, ... below kCount; of wide tiles the last quarter only where
// `all`, so that heads of 96 and 192 do not multiply what fills them up.
template <int kWidth, int kCount, int kStep, typename Body>
__device__ __forceinline__ void each_step(bool all, const Body& body) {
    constexpr int kFirst = kWidth > 64 ? kCount * 3 / 4 : kCount;
    static_assert(kFirst % kStep == 0, "quarters are whole steps");
#pragma unroll
    for (int i = 0; i < kFirst; i += kStep) body(i);
    if (kFirst < kCount && all) {
#pragma unroll
        for (int i = kFirst; i < kCount; i += kStep) body(i);
    }
}

// Whether heads of `width` elements reach into the last quarter of a tile of kWidth.
template <int kWidth>
__device__ __forceinline__ bool reaches_last_quarter(int width) {
    return width > kWidth * 3 / 4;
}

// sums = left right^T over kWidth, or three quarters of it where not `all`; the columns are the
// first kN * 8 rows of the tile.
//
// zero is 0. Where registers are scarce it comes from shared memory, so that the compiler does not
// take the addresses made of it out of the loop and keep them all in registers.
template <int kM, int kN, int kWidth, bool kKeep>
__device__ __forceinline__ void multiply(float (&sums)[kM][kN][4],
                                         const Left<kM, kWidth, kKeep>& left,
                                         const Tile<kWidth>& right, int zero, bool all) {
    clear(sums);
    const int across = Tile<kWidth>::lane_across(0) ^ zero;
    const int down = kKeep ? 0 : left.down ^ zero;
    each_step<kWidth, kWidth / 16, 1>(all, [&](int step) {
        uint32_t a[kM][4];
#pragma unroll
        for (int m = 0; m < kM; ++m) {
            if constexpr (kKeep) {
#pragma unroll
                for (int e = 0; e < 4; ++e) a[m][e] = left.kept[step][m][e];
            } else {
                load_left(a[m], left.tile, down, m * 16, 2 * step);
            }
        }
#pragma unroll
        for (int n = 0; n < kN; n += 2) {
            uint32_t b[2][2];
            load_right(b, right, across, n * 8, 2 * step);
#pragma unroll
            for (int m = 0; m < kM; ++m) {
                tile::mma_bf16(sums[m][n], a[m], b[0]);
                tile::mma_bf16(sums[m][n + 1], a[m], b[1]);
            }
        }
    });
}

// sums += left right, of depth 16: right the tile's 16 rows from 16 * step on and all its columns,
// or the first three quarters of them where not `all`.
template <int kM, int kN, int kWidth>
__device__ __forceinline__ void accumulate(float (&sums)[kM][kN][4], const uint32_t (&left)[kM][4],
                                           const Tile<kWidth>& right, int step, int zero,
                                           bool all) {
    static_assert(kN * 8 == kWidth, "the sums are as wide as the tile");
    const int down = Tile<kWidth>::lane_down(0) ^ zero;
    each_step<kWidth, kN, 2>(all, [&](int n) {
        uint32_t b[2][2];
        load_right_transposed(b, right, down, step * 16, n);
#pragma unroll
        for (int m = 0; m < kM; ++m) {
            tile::mma_bf16(sums[m][n], left[m], b[0]);
            tile::mma_bf16(sums[m][n + 1], left[m], b[1]);
        }
    });
}

// sums += left right for left rounded from sums of kDepth column tiles.
template <int kM, int kN, int kDepth, int kWidth>
__device__ __forceinline__ void accumulate(float (&sums)[kM][kN][4],
                                           const float (&left)[kM][kDepth][4],
                                           const Tile<kWidth>& right, int zero, bool all) {
#pragma unroll
    for (int step = 0; step < kDepth / 2; ++step) {
        uint32_t operand[kM][4];
        to_left(operand, left, step);
        accumulate(sums, operand, right, step, zero, all);
    }
}

}  // namespace mma
}  // namespace cuda
}  // namespace caravan
