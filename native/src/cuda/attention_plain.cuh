// Arithmetic on float32 tiles of 64 queries by 64 keys, by 256 threads without tensor cores: the
// plain route of attention, for every width, storage and stride.
//
// Thread t holds, of a tile of scores, rows t / 16 + 16 i and columns t % 16 + 16 j.
#pragma once

#include "cuda/attention_problem.cuh"
#include "cuda/tile/reduce.cuh"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {
namespace plain {

inline constexpr int kTile = 64;  // queries or keys
inline constexpr int kThreads = 256;
inline constexpr int kAcross = 16;  // threads along a row of scores
inline constexpr int kEach = kTile / kAcross;
inline constexpr int kDepth = 32;     // of a product, in shared memory at a time
inline constexpr int kColumns = 128;  // of an output, by one block
inline constexpr int kEachColumns = kColumns / kAcross;
inline constexpr int kDistances = 2 * kTile - 1;  // of a key from a query within a tile

// Rows of shared memory lie so far apart that 16-byte accesses of neighbouring rows meet no bank
// twice.
inline constexpr int kDepthStride = kDepth + 4, kScoreStride = kTile + 4;

inline constexpr int kStaging = 2 * kTile * kDepthStride;
static_assert(kDepth * kColumns <= kStaging, "both uses of the staging area fit");

using ScoreTile = float[kEach][kEach];
using OutputTile = float[kEach][kEachColumns];

struct Arrays {
    float* staging;   // operands of the product at hand
    float* scores;    // [kTile][kScoreStride]
    float* bias;      // [kDistances], by distance + kTile - 1
    int* buckets;     // the same
    float* diagonal;  // the same

    __device__ __forceinline__ Arrays() {
        tile::Shared shared;
        staging = shared.take<float>(kStaging, 16);
        scores = shared.take<float>(kTile * kScoreStride, 16);
        bias = shared.take<float>(kDistances);
        buckets = shared.take<int>(kDistances);
        diagonal = shared.take<float>(kDistances);
    }
    static int64_t bytes() {
        return tile::SharedLayout()
            .take<float>(kStaging, 16)
            .take<float>(kTile * kScoreStride, 16)
            .take<float>(kDistances)
            .take<int>(kDistances)
            .take<float>(kDistances)
            .bytes();
    }
};

__device__ __forceinline__ int score_row(int i) { return threadIdx.x / kAcross + kAcross * i; }
__device__ __forceinline__ int score_column(int j) { return threadIdx.x % kAcross + kAcross * j; }

// Where element c of a row of an output tile lies: two runs of four neighbours.
__device__ __forceinline__ int output_column(int c) {
    return threadIdx.x % kAcross * 4 + c % 4 + c / 4 * (kColumns / 2);
}

// Rows of a matrix, of which `rows` are there: the others count as zeros.
template <typename T>
struct Rows {
    const T* data;
    int64_t stride;
    int rows;

    __device__ __forceinline__ const T* row(int r) const { return data + r * stride; }
};

// Keys or values of a document from `key` on, which may lie in pages; null for a page that is none.
template <typename T>
struct DocumentRows {
    const AttentionRules& rules;
    const DocumentTile& document;
    const Heads<const T>& heads;
    int64_t head, key;
    int rows;

    __device__ __forceinline__ const T* row(int r) const {
        const int64_t at = row_of_key(rules, document, key + r);
        return at < 0 ? nullptr : heads.at(at, head);
    }
};

// Of heads: the rows from `row` on, of which `rows` or more are there.
template <typename T>
__device__ __forceinline__ Rows<T> rows_of(const Heads<const T>& heads, int64_t row, int64_t head,
                                           int64_t rows) {
    return {heads.at(row, head), heads.row,
            static_cast<int>(rows < 0       ? 0
                             : rows > kTile ? kTile
                                            : rows)};
}

// to[r * stride + c] = element (r, first + c), for `count` rows of `width` columns, of which
// `columns` are there.
template <typename From>
__device__ __forceinline__ void stage(float* to, int stride, const From& from, int first_row,
                                      int count, int64_t first, int width, int64_t columns) {
#pragma unroll 4
    for (int i = threadIdx.x; i < count * width; i += kThreads) {
        const int r = i / width, c = i % width;
        const bool there = first_row + r < from.rows && c < columns - first;
        float value = 0;
        if (there) {
            const auto* const row = from.row(first_row + r);
            value = row == nullptr ? NAN : tile::to_float(row[first + c]);
        }
        to[r * stride + c] = value;
    }
}

// sums = a b^T, over `width` columns of both.
template <typename T, typename Right>
__device__ __forceinline__ void multiply(ScoreTile& sums, const Rows<T>& a, const Right& b,
                                         int64_t width, float* staging) {
    float* const left = staging;
    float* const right = staging + kTile * kDepthStride;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) sums[i][j] = 0;
    }
    for (int64_t first = 0; first < width; first += kDepth) {
        __syncthreads();  // the staging area may still be read
        stage(left, kDepthStride, a, 0, kTile, first, kDepth, width);
        stage(right, kDepthStride, b, 0, kTile, first, kDepth, width);
        __syncthreads();
#pragma unroll 1
        for (int d = 0; d < kDepth; d += 4) {
            tile::Vector<float, 4> x[kEach], y[kEach];
#pragma unroll
            for (int i = 0; i < kEach; ++i) {
                x[i] = tile::load<4>(left + score_row(i) * kDepthStride + d);
                y[i] = tile::load<4>(right + score_column(i) * kDepthStride + d);
            }
#pragma unroll
            for (int e = 0; e < 4; ++e) {
#pragma unroll
                for (int i = 0; i < kEach; ++i) {
#pragma unroll
                    for (int j = 0; j < kEach; ++j) sums[i][j] += x[i][e] * y[j][e];
                }
            }
        }
    }
}

enum class Weights { kRows, kTransposed };

// Rows of an output tile: those of scores, or four neighbours.
template <Weights kWeights>
__device__ __forceinline__ int output_row(int i) {
    return kWeights == Weights::kRows ? score_row(i) : threadIdx.x / kAcross * kEach + i;
}

// sums += the weights in arrays.scores, or their transpose, times the columns [first, columns) of
// b, at most kColumns of them. Begins with a barrier, behind which the weights are read.
template <Weights kWeights, typename Right>
__device__ __forceinline__ void accumulate(OutputTile& sums, const Right& b, int64_t first,
                                           int64_t columns, const Arrays& arrays) {
    const bool both = columns - first > kColumns / 2;
#pragma unroll 1
    for (int step = 0; step < kTile; step += kDepth) {
        __syncthreads();
        stage(arrays.staging, kColumns, b, step, kDepth, first, kColumns, columns);
        __syncthreads();
#pragma unroll 1
        for (int k = 0; k < kDepth; k += 4) {
            tile::Vector<float, 4> weights[kEach];
#pragma unroll
            for (int i = 0; i < kEach; ++i) {
                weights[i] =
                    tile::load<4>(arrays.scores +
                                  (kWeights == Weights::kRows
                                       ? output_row<kWeights>(i) * kScoreStride + step + k
                                       : (step + k + i) * kScoreStride + output_row<kWeights>(0)));
            }
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                if (half == 1 && !both) continue;
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    const auto right = tile::load<4>(arrays.staging + (k + e) * kColumns +
                                                     output_column(half * 4));
#pragma unroll
                    for (int i = 0; i < kEach; ++i) {
                        const float weight =
                            kWeights == Weights::kRows ? weights[i][e] : weights[e][i];
#pragma unroll
                        for (int c = 0; c < 4; ++c) sums[i][half * 4 + c] += weight * right[c];
                    }
                }
            }
        }
    }
}

__device__ __forceinline__ void clear(OutputTile& sums) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int c = 0; c < kEachColumns; ++c) sums[i][c] = 0;
    }
}

// Stores factor(i) times row i of the tile into the rows and columns that are there.
template <Weights kWeights, typename T, typename Factor>
__device__ __forceinline__ void store(const OutputTile& sums, T* to, int64_t stride, int64_t rows,
                                      int64_t first, int64_t columns, const Factor& factor) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
        const int row = output_row<kWeights>(i);
        if (row >= rows) continue;
        const float by = factor(i);
#pragma unroll
        for (int c = 0; c < kEachColumns; ++c) {
            const int64_t column = first + output_column(c);
            if (column < columns) to[row * stride + column] = tile::from_float<T>(sums[i][c] * by);
        }
    }
}

// For offsets that are no documents: NaN, so that the step is known to be bad.
template <typename T>
__device__ __forceinline__ void spoil(const Heads<T>& heads, int64_t slot, int64_t total,
                                      int64_t head, int64_t first, int64_t columns) {
    for (int i = threadIdx.x; i < kTile * kColumns; i += kThreads) {
        const int64_t row = slot * kTile + i / kColumns, column = first + i % kColumns;
        if (row < total && column < columns) {
            heads.at(row, head)[column] = tile::from_float<T>(NAN);
        }
    }
}

// The tile of scores between queries from `query` and keys from `key` on of a document.
struct ScoreRules {
    const AttentionRules& rules;
    const DocumentTile& document;
    int64_t query, key;

    // Fills what bias() reads; a barrier must follow, and precede unless nobody reads it any more.
    __device__ __forceinline__ void prepare(const Arrays& arrays, int64_t head) const {
        if (rules.bias_table == nullptr) return;
        for (int i = threadIdx.x; i < kDistances; i += kThreads) {
            const int64_t distance = key - query - document.shift() + i - (kTile - 1);
            const int64_t bucket = rules.buckets.of(distance);
            arrays.buckets[i] = static_cast<int>(bucket);
            arrays.bias[i] = rules.bias_table[bucket * rules.bias_stride + head];
        }
    }

    __device__ __forceinline__ bool allowed(int i, int j) const {
        const int64_t row = query + score_row(i), column = key + score_column(j);
        const int64_t position = row + document.shift();
        return row < document.queries && column < document.keys &&
               column >= position - rules.left && column <= position + rules.right;
    }

    // From the product of query and key. `slope`: of the cap there.
    __device__ __forceinline__ float score(float product, const Arrays& arrays, int i, int j,
                                           float& slope) const {
        float value = product * rules.scale;
        slope = 1;
        if (rules.soft_cap > 0) {
            const float bent = tanhf(value / rules.soft_cap);
            value = rules.soft_cap * bent;
            slope = 1 - bent * bent;
        }
        if (rules.bias_table != nullptr) {
            value += arrays.bias[score_column(j) - score_row(i) + kTile - 1];
        }
        return value;
    }
};

}  // namespace plain
}  // namespace cuda
}  // namespace caravan
