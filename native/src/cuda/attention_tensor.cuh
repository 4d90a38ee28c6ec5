// What attention's kernels on tensor cores have in common: tiles of bf16 rows in shared memory, a
// warp's sums, and from products to scores and weights.
//
// A warp's sums are [row tiles of 16][column tiles of 8][4], as tile::Mma16816 lays them out; of
// wgmma too, whose warps have one row tile each. Used as the left operand of a next product they
// need no move between lanes: two neighbouring column tiles of sums, rounded to bf16, are one
// operand of depth 16.
#pragma once

#include "cuda/attention_problem.cuh"
#include "cuda/tile/math.cuh"
#include "cuda/tile/mma.cuh"
#include "cuda/tile/reduce.cuh"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {
namespace tensor {

using tile::bf16;

inline constexpr float kLog2E = 1.4426950408889634f;
inline constexpr float kLn2 = 0.6931471805599453f;
inline constexpr int kChunk = 8;  // elements of 16 bytes

__device__ __forceinline__ int lane() { return threadIdx.x % tile::kWarp; }
__device__ __forceinline__ int warp() { return threadIdx.x / tile::kWarp; }

// x, which is the same in all lanes of the warp; the compiler then knows it.
__device__ __forceinline__ int uniform(int x) { return __shfl_sync(tile::kFullMask, x, 0); }

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
// is 1; with a bias, products times unbiased and the bias, and scale is 1. There is no cap beside a
// bias.
struct Scores {
    float scale, unbiased, cap, bend;

    Scores() = default;
    explicit Scores(const AttentionRules& rules)
        : scale(rules.soft_cap > 0 || rules.bias_table != nullptr ? 1.0f : rules.scale * kLog2E),
          unbiased(rules.scale * kLog2E),
          cap(rules.soft_cap * kLog2E),
          bend(rules.soft_cap > 0 ? rules.scale / rules.soft_cap : 0.0f) {}
};

// Scores may exceed what is subtracted from them by as much before it is raised, which multiplies
// all sums: weights up to 2^kSlack lose nothing, as float32 and bf16 are relative.
inline constexpr float kSlack = 8;

// Where a block of queries is. In shared memory, for sums take the registers.
struct Place {
    int query_row, rows;     // first row of its queries, of all rows, and how many
    int first_key, keys;     // of the document
    int position;            // of its first query among the document's keys
    int zero;                // 0, which the compiler does not know (see multiply)
    int keys_from, keys_to;  // the keys that it goes over, from a tile's border on
};

template <int kQueries, int kKeys>
__device__ __forceinline__ void place_queries(const AttentionRules& rules,
                                              const DocumentTile& document, Place* place) {
    const int left = static_cast<int>(rules.left), right = static_cast<int>(rules.right);
    const int rows = static_cast<int>(min(document.queries - document.begin, int64_t{kQueries}));
    const int keys = static_cast<int>(document.keys);
    const int position = static_cast<int>(document.begin + document.shift());
    *place = {static_cast<int>(document.first_query + document.begin),
              rows,
              static_cast<int>(document.first_key),
              keys,
              position,
              0,
              max(position - left, 0) / kKeys * kKeys,
              min(position + rows + right, keys)};
}

// A forward pass, as its kernels take it.
struct Forward {
    AttentionRules rules;
    Scores scores;
    Heads<const bf16> q, k, v;
    Heads<bf16> out;
    float* lse;  // null where it is not wanted
    int64_t lse_stride;
};

inline Forward forward_of(const caravan_attention_forward_args& args) {
    Forward a = {};
    a.rules = attention_forward_rules(args);
    a.scores = Scores(a.rules);
    a.q = heads_of<const bf16>(args.q);
    a.k = heads_of<const bf16>(args.k);
    a.v = heads_of<const bf16>(args.v);
    a.out = heads_of<bf16>(args.out);
    a.lse = data<float>(args.lse);
    a.lse_stride = row_stride(args.lse);
    return a;
}

// NaN for a block's queries.
template <int kQueries>
__device__ __forceinline__ void spoil_forward(const Forward& a, int64_t slot, int64_t head) {
    spoil<kQueries>(a.out, slot, a.rules.query_rows, head, a.rules.value_width);
    for (int i = threadIdx.x; a.lse != nullptr && i < kQueries; i += blockDim.x) {
        const int64_t row = slot * kQueries + i;
        if (row < a.rules.query_rows) a.lse[head * a.lse_stride + row] = NAN;
    }
}

// What makes an output of a row's sum, and its log-sum-exp.
struct Finish {
    float factor, lse;
};

// base: what was subtracted from scores; total: the sum of weights, 0 where no key was seen. The
// head's sink, if there is one, joins them here.
__device__ __forceinline__ Finish finish_row(const AttentionRules& rules, int64_t head, float base,
                                             float total) {
    float next = base, shrink = 1;
    if (rules.sinks != nullptr && total != 0) {
        const float sink = rules.sinks[head] * kLog2E;
        next = fmaxf(base, sink);
        shrink = tile::exp2_flushed(base - next);
        total = total * shrink + tile::exp2_flushed(sink - next);
    }
    if (total == 0) return {0, -INFINITY};
    return {shrink / total, next * kLn2 + logf(total)};
}

// Writes the results of a warp's rows, warp_row of the block's on, through `stage` (store_rows).
// base: what was subtracted from scores; total: the sums of weights in this lane's columns.
template <int kM, int kN, int kWidth>
__device__ __forceinline__ void store_forward(const Forward& a, const Place& place, int64_t head,
                                              int warp_row, const float (&sums)[kM][kN][4],
                                              const float (&base)[kM][2], float (&total)[kM][2],
                                              const Tile<kWidth>& stage) {
    Finish finish[kM][2];
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float& sum = total[m][half];
            sum += __shfl_xor_sync(tile::kFullMask, sum, 1);
            sum += __shfl_xor_sync(tile::kFullMask, sum, 2);
            finish[m][half] = finish_row(a.rules, head, base[m][half], sum);
        }
    }
    store_rows(sums, stage, a.out.at(place.query_row + warp_row, head), a.out.row,
               place.rows - warp_row, a.rules.value_width,
               [&](int m, int half) { return finish[m][half].factor; });
    if (a.lse == nullptr || lane() % 4 != 0) return;
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int row = warp_row + m * 16 + half * 8 + lane() / 4;
            if (row >= place.rows) continue;
            a.lse[head * a.lse_stride + place.query_row + row] = finish[m][half].lse;
        }
    }
}

}  // namespace tensor
}  // namespace cuda
}  // namespace caravan
