// Tiles of attention for mma.sync: bf16 rows of queries, keys and values in shared memory, and the
// products of a warp with them. sm_80 on.
//
// A tile's rows lie one behind the other without gaps; the 16-byte columns of row r are permuted by
// XOR with r % 8, so that the eight rows of a matrix that ldmatrix loads lie in different banks.
//
// A warp's sums are [row tiles of 16][column tiles of 8][4], as tile::Mma16816 lays them out. Used
// as the left operand of a next product they need no move between lanes: two neighbouring column
// tiles of sums, rounded to bf16, are one operand of depth 16.
#pragma once

#include "cuda/attention_problem.cuh"
#include "cuda/tile/copy_async.cuh"
#include "cuda/tile/math.cuh"
#include "cuda/tile/matrix.cuh"
#include "cuda/tile/mma.cuh"
#include "cuda/tile/opaque.cuh"
#include "cuda/tile/reduce.cuh"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {
namespace mma {

using tile::bf16;

inline constexpr float kLog2E = 1.4426950408889634f;
inline constexpr float kLn2 = 0.6931471805599453f;
inline constexpr int kChunk = 8;  // elements of 16 bytes

__device__ __forceinline__ int lane() { return threadIdx.x % tile::kWarp; }
__device__ __forceinline__ int warp() { return threadIdx.x / tile::kWarp; }

// A tile of rows of kWidth elements, a multiple of 64, in shared memory.
template <int kWidth>
struct Tile {
    static_assert(kWidth % 64 == 0, "rows are whole lines of 128 bytes");
    unsigned char* data;

    __host__ __device__ static constexpr int64_t bytes(int rows) {
        return int64_t{rows} * kWidth * 2;
    }

    __device__ __forceinline__ unsigned char* at(int row, int chunk) const {
        return data + offset(row, chunk);
    }

    // The same of rows and chunks `row` and `chunk`, multiples of 8 and 2, behind a lane's own:
    // what depends on the lane is one number, which a constant chunk changes by one XOR.
    __device__ __forceinline__ unsigned char* at_lane(int offset, int row, int chunk) const {
        return data + (row * (kWidth * 2) + chunk / 8 * 128) + (offset ^ (chunk % 8 << 4));
    }

    // A lane's own row and chunk where four matrices are 16 rows from `row` on of two chunks: two
    // matrices below each other first, or two beside each other first.
    __device__ __forceinline__ static int lane_down(int row) {
        return offset(row + lane() % 16, lane() / 16);
    }
    __device__ __forceinline__ static int lane_across(int row) {
        return offset(row + lane() / 16 * 8 + lane() % 8, lane() / 8 % 2);
    }

  private:
    __device__ __forceinline__ static int offset(int row, int chunk) {
        return row * (kWidth * 2) + ((chunk ^ (row & 7)) << 4);
    }
};

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

template <int kM, int kN>
__device__ __forceinline__ void clear(float (&sums)[kM][kN][4]) {
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int n = 0; n < kN; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) sums[m][n][e] = 0;
        }
    }
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

// sums = left right^T over kWidth; the columns are the first kN * 8 rows of the tile.
//
// zero is 0. Where registers are scarce it comes from shared memory, so that the compiler does not
// take the addresses made of it out of the loop and keep them all in registers.
template <int kM, int kN, int kWidth, bool kKeep>
__device__ __forceinline__ void multiply(float (&sums)[kM][kN][4],
                                         const Left<kM, kWidth, kKeep>& left,
                                         const Tile<kWidth>& right, int zero) {
    clear(sums);
    const int across = Tile<kWidth>::lane_across(0) ^ zero;
    const int down = kKeep ? 0 : left.down ^ zero;
#pragma unroll
    for (int step = 0; step < kWidth / 16; ++step) {
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
    }
}

// Column tiles 2 * step and 2 * step + 1 of sums, rounded, as the left operand of depth 16.
template <int kM, int kN>
__device__ __forceinline__ void to_left(uint32_t (&left)[kM][4], const float (&sums)[kM][kN][4],
                                        int step) {
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const float(&of)[4] = sums[m][2 * step + i / 2];
            left[m][i] = tile::pack_bf16(of[i % 2 * 2], of[i % 2 * 2 + 1]);
        }
    }
}

// sums += left right, of depth 16: right the tile's 16 rows from 16 * step on and all its columns.
template <int kM, int kN, int kWidth>
__device__ __forceinline__ void accumulate(float (&sums)[kM][kN][4], const uint32_t (&left)[kM][4],
                                           const Tile<kWidth>& right, int step, int zero) {
    static_assert(kN * 8 == kWidth, "the sums are as wide as the tile");
    const int down = Tile<kWidth>::lane_down(0) ^ zero;
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
        uint32_t b[2][2];
        load_right_transposed(b, right, down, step * 16, n);
#pragma unroll
        for (int m = 0; m < kM; ++m) {
            tile::mma_bf16(sums[m][n], left[m], b[0]);
            tile::mma_bf16(sums[m][n + 1], left[m], b[1]);
        }
    }
}

// sums += left right for left rounded from sums of kDepth column tiles.
template <int kM, int kN, int kDepth, int kWidth>
__device__ __forceinline__ void accumulate(float (&sums)[kM][kN][4],
                                           const float (&left)[kM][kDepth][4],
                                           const Tile<kWidth>& right, int zero) {
#pragma unroll
    for (int step = 0; step < kDepth / 2; ++step) {
        uint32_t operand[kM][4];
        to_left(operand, left, step);
        accumulate(sums, operand, right, step, zero);
    }
}

// Rounds a warp's sums, times factor(m, half) for each row, and stores the rows and columns that
// are there, through `stage`: kM * 16 rows of the warp's own in shared memory.
template <int kM, int kN, int kWidth, typename Factor>
__device__ __forceinline__ void store_rows(const float (&sums)[kM][kN][4],
                                           const Tile<kWidth>& stage, bf16* to, int64_t stride,
                                           int rows, int width, const Factor& factor) {
    static_assert(kN * 8 == kWidth, "the sums are as wide as the tile");
    __syncwarp();  // the stage may still be read as an operand
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const float by = factor(m, half);
            const int row = m * 16 + half * 8 + lane() / 4;
#pragma unroll
            for (int n = 0; n < kN; ++n) {
                *reinterpret_cast<uint32_t*>(stage.at(row, n) + lane() % 4 * 4) =
                    tile::pack_bf16(sums[m][n][half * 2] * by, sums[m][n][half * 2 + 1] * by);
            }
        }
    }
    __syncwarp();
    constexpr int kChunks = kWidth / kChunk;
#pragma unroll 4
    for (int i = lane(); i < kM * 16 * kChunks; i += tile::kWarp) {
        const int row = i / kChunks, chunk = i % kChunks;
        if (row < rows && chunk * kChunk < width) {
            tile::store(to + row * stride + chunk * kChunk,
                        tile::load<kChunk>(reinterpret_cast<const bf16*>(stage.at(row, chunk))));
        }
    }
}

// NaN in the rows of this block, for offsets that are no documents.
template <int kRows>
__device__ __forceinline__ void spoil(const Heads<bf16>& heads, int64_t slot, int64_t total,
                                      int64_t head, int width) {
    for (int i = threadIdx.x; i < kRows * width; i += blockDim.x) {
        const int64_t row = slot * kRows + i / width;
        if (row < total) heads.at(row, head)[i % width] = tile::from_float<bf16>(NAN);
    }
}

// Which columns of a tile of scores count: of row r, those from center + r - before to
// center + r + after, up to `last`. Counted from the tile's first column.
struct Band {
    int center, before, after, last;

    // Whether some of the first `rows` rows and `columns` columns do not count.
    __device__ __forceinline__ bool cuts(int rows, int columns) const {
        return center + rows - 1 - before > 0 || columns - 1 > min(center + after, last);
    }

    // Makes the scores that do not count -infinity.
    template <int kM, int kN>
    __device__ __forceinline__ void apply(float (&scores)[kM][kN][4]) const {
#pragma unroll
        for (int m = 0; m < kM; ++m) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int middle = center + m * 16 + half * 8 + lane() / 4;
                const int first = lane() % 4 * 2;
                const int from = middle - before - first;
                const int to = min(middle + after, last) - first;
#pragma unroll
                for (int n = 0; n < kN; ++n) {
#pragma unroll
                    for (int e = 0; e < 2; ++e) {
                        if (n * 8 + e < from || n * 8 + e > to) {
                            scores[m][n][half * 2 + e] = -INFINITY;
                        }
                    }
                }
            }
        }
    }
};

// From products of queries and keys to scores times log2(e), so that weights are powers of 2.
// Without a cap scores are products times scale; with one, cap * tanh(products * bend), and scale
// is 1.
struct Scores {
    float scale, cap, bend;

    Scores() = default;
    explicit Scores(const AttentionRules& rules)
        : scale(rules.soft_cap > 0 ? 1.0f : rules.scale * kLog2E),
          cap(rules.soft_cap * kLog2E),
          bend(rules.soft_cap > 0 ? rules.scale / rules.soft_cap : 0.0f) {}
};

}  // namespace mma
}  // namespace cuda
}  // namespace caravan
