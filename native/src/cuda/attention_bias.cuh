// The relative-position bias on tiles of scores, and its gradient. A tile's scores lie as
// tile::Mma16816 lays sums out; all of one distance lie along a diagonal, so that a lane, which has
// two neighbours of every eighth column, reads two values for each eighth diagonal.
#pragma once

#include "cuda/attention_config.h"
#include "cuda/attention_tensor.cuh"

namespace caravan {
namespace cuda {
namespace tensor {

// The bucket of a distance in whole numbers, from borders that the host has computed.
struct BiasBuckets {
    int32_t side, exact, most;  // most: the last bucket of a side
    int32_t bidirectional;
    int32_t reaches[kBiasBucketsMost / 2];  // the distance at which bucket exact + 1 + i begins

    __device__ __forceinline__ int of(int distance) const {
        const int first = bidirectional != 0 && distance > 0 ? side : 0;
        const int far = distance < 0 ? -distance : bidirectional != 0 ? distance : 0;
        if (far < exact) return first + far;
        int low = 0, high = most - exact;  // so many borders have been reached: in [low, high]
        while (low < high) {
            const int middle = (low + high) / 2;
            if (reaches[middle] <= far) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return first + exact + low;
    }
};

// The bias of a launch: of all heads.
struct Bias {
    const float* table;  // null for none
    int64_t stride;
    int32_t buckets;
    BiasBuckets bucket;

    __device__ __forceinline__ float value(int bucket_number, int head) const {
        return table[bucket_number * stride + head] * kLog2E;
    }
};

// A forward pass with the bias.
struct BiasedForward : Forward {
    Bias bias;
};

// rules of at most kBiasBucketsMost buckets.
inline Bias bias_of(const AttentionRules& rules) {
    Bias bias = {};
    if (rules.bias_table == nullptr) return bias;
    const RelativeBuckets& buckets = rules.buckets;
    bias.table = rules.bias_table;
    bias.stride = rules.bias_stride;
    bias.buckets = rules.bias_buckets;
    bias.bucket.side = static_cast<int32_t>(buckets.side());
    bias.bucket.exact = static_cast<int32_t>(buckets.exact());
    bias.bucket.most = bias.bucket.side - 1;
    bias.bucket.bidirectional = buckets.bidirectional() ? 1 : 0;
    for (int64_t b = buckets.exact() + 1; b < buckets.side(); ++b) {
        bias.bucket.reaches[b - buckets.exact() - 1] = static_cast<int32_t>(buckets.reaches(b));
    }
    return bias;
}

// scores = scores * scale + value.
template <int kM, int kN>
__device__ __forceinline__ void scale_and_add(float (&scores)[kM][kN][4], float scale,
                                              float value) {
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int n = 0; n < kN; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) scores[m][n][e] = scores[m][n][e] * scale + value;
        }
    }
}

// A tile of kRows rows and kColumns columns of a block. Its diagonals are numbered by
// column - row + kRows - 1.
template <int kRows, int kColumns>
struct BiasTile {
    static constexpr int kDiagonals = kRows + kColumns - 1;
    float* values;  // [kDiagonals] in shared memory
    int* buckets;   // the same; null where no gradient is wanted

    __host__ __device__ static constexpr int64_t bytes(bool gradient) {
        return int64_t{kDiagonals} * (gradient ? 8 : 4);
    }

    // The tile in shared memory from `memory` on.
    __device__ __forceinline__ static BiasTile in(unsigned char* memory, bool gradient) {
        auto* const values = reinterpret_cast<float*>(memory);
        return {values, gradient ? reinterpret_cast<int*>(values + kDiagonals) : nullptr};
    }

    // Where every distance of the tile has one bucket: which. Else -1, and all threads have filled
    // what add() and the gradient read; a barrier must follow, and precede unless nobody reads it
    // any more. origin: the distance of row 0 and column 0, key less query; sign: what a column
    // adds to it.
    __device__ __forceinline__ int prepare(const Bias& bias, int head, int origin, int sign) const {
        return prepare(bias, head, origin, sign, threadIdx.x, blockDim.x);
    }

    // The same by `threads` threads, of which the caller is number `thread`.
    __device__ __forceinline__ int prepare(const Bias& bias, int head, int origin, int sign,
                                           int thread, int threads) const {
        const int first = bias.bucket.of(origin - sign * (kRows - 1));
        if (first == bias.bucket.of(origin + sign * (kColumns - 1))) return first;
        for (int i = thread; i < kDiagonals; i += threads) {
            const int bucket = bias.bucket.of(origin + sign * (i - (kRows - 1)));
            values[i] = bias.value(bucket, head);
            if (buckets != nullptr) buckets[i] = bucket;
        }
        return -1;
    }

    // scores = scores * scale + bias for a warp's rows, warp_row of the block's on.
    template <int kM, int kN>
    __device__ __forceinline__ void add(float (&scores)[kM][kN][4], float scale,
                                        int warp_row) const {
        const float* const at = values + lane() % 4 * 2 - lane() / 4 - warp_row + kRows - 1;
        // Rows of m and half, and columns of n, are n - 2 m - half eights apart.
#pragma unroll
        for (int d = 1 - 2 * kM; d < kN; ++d) {
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                const float value = at[d * 8 + e];
#pragma unroll
                for (int row = 0; row < 2 * kM; ++row) {
                    if (d + row < 0 || d + row >= kN) continue;
                    float& score = scores[row / 2][d + row][row % 2 * 2 + e];
                    score = score * scale + value;
                }
            }
        }
    }

    // prepare() by one warp for others, which add() with what it writes to `single`: the bucket of
    // all distances, whose bias is then the first value, or -1.
    __device__ __forceinline__ void fill(const Bias& bias, int head, int origin, int sign,
                                         int* single) const {
        const int bucket = prepare(bias, head, origin, sign, lane(), tile::kWarp);
        if (lane() == 0) {
            *single = bucket;
            if (bucket >= 0) values[0] = bias.value(bucket, head);
        }
    }
    template <int kM, int kN>
    __device__ __forceinline__ void add(float (&scores)[kM][kN][4], float scale, int warp_row,
                                        int single) const {
        if (single >= 0) {
            scale_and_add(scores, scale, values[0]);
        } else {
            add(scores, scale, warp_row);
        }
    }
};

// The gradient of the bias that a warp's 16 rows of each tile leave, kColumns columns wide: sums by
// bucket in shared memory of the warp's own. kPiece: columns whose diagonals are summed at a time.
template <int kRows, int kColumns, int kPiece = kColumns>
struct BiasSums {
    static_assert(kColumns % kPiece == 0 && kPiece % 8 == 0, "pieces of whole eights");
    static constexpr int kSkewed = kPiece + 8;       // columns of a lane's eights, moved by a row
    static constexpr int kWindow = 16 + kPiece - 1;  // distances of a warp's rows
    static constexpr int kSkewedBytes = 8 * kSkewed * 4;
    float* sums;    // [buckets]
    float* skewed;  // [8][kSkewed]

    __device__ __forceinline__ void clear(int buckets) const {
        for (int b = lane(); b < buckets; b += tile::kWarp) sums[b] = 0;
        __syncwarp();
    }

    // Of a tile whose distances all have one bucket.
    template <int kN>
    __device__ __forceinline__ void add_one(const float (&gradients)[1][kN][4], int bucket) const {
        float sum = 0;
#pragma unroll
        for (int n = 0; n < kN; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) sum += gradients[0][n][e];
        }
        sum = tile::warp_sum(sum);
        if (lane() == 0) sums[bucket] += sum;
        __syncwarp();
    }

    // Of any tile: first along the diagonals, then by bucket, one lane for each.
    template <int kN>
    __device__ __forceinline__ void add(const float (&gradients)[1][kN][4],
                                        const BiasTile<kRows, kColumns>& tile, int warp_row,
                                        int bucket_count) const {
        static_assert(kN * 8 == kColumns, "the sums are as wide as the tile");
#pragma unroll
        for (int first = 0; first < kN; first += kPiece / 8) {
            add_piece(gradients, first, tile.buckets + kRows - 16 - warp_row + first * 8,
                      bucket_count);
        }
    }

  private:
    // The piece from eight number `first` on; numbers: the buckets of its diagonals.
    template <int kN>
    __device__ __forceinline__ void add_piece(const float (&gradients)[1][kN][4], int first,
                                              const int* numbers, int bucket_count) const {
        constexpr int kEights = kPiece / 8;
        float* const mine = skewed + lane() / 4 * kSkewed + lane() % 4 * 2;
#pragma unroll
        for (int d = -1; d < kEights; ++d) {
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                float sum = 0;
                if (d >= 0) sum += gradients[0][first + (d < 0 ? 0 : d)][e];
                if (d + 1 < kEights) {
                    sum += gradients[0][first + (d + 1 < kEights ? d + 1 : 0)][2 + e];
                }
                mine[(d + 1) * 8 + e] = sum;
            }
        }
        __syncwarp();
        constexpr int kEach = (kWindow + tile::kWarp - 1) / tile::kWarp;
        float along[kEach];
#pragma unroll
        for (int i = 0; i < kEach; ++i) {
            const int t = lane() + i * tile::kWarp;  // column - row + 15
            along[i] = 0;
#pragma unroll
            for (int row = 0; row < 8; ++row) {
                const int column = t - 7 + row;
                if (column >= 0 && column < kSkewed) along[i] += skewed[row * kSkewed + column];
            }
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < kEach; ++i) {
            const int t = lane() + i * tile::kWarp;
            if (t < kWindow) skewed[t] = along[i];
        }
        __syncwarp();
        for (int b = lane(); b < bucket_count; b += tile::kWarp) {
            float sum = 0;
            for (int t = 0; t < kWindow; ++t) sum += numbers[t] == b ? skewed[t] : 0.0f;
            sums[b] += sum;
        }
        __syncwarp();
    }
};

}  // namespace tensor
}  // namespace cuda
}  // namespace caravan
