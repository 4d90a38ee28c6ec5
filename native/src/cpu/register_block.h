// Products whose sums stay in registers: the innermost loops of tiles of attention and of grouped
// products. Only for src/cpu.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {

enum class Into {
    kOverwrite,  // c = a b
    kAdd,        // c += a b
    kScaleAdd    // c = scale[row] * c + a b
};

// The left operand: element (r, k) lies at data[r * row + k * step].
struct Left {
    const float* data;
    int64_t row, step;
};

// Most rows of c in registers at once, for a width in vectors: accumulators, one row of b and a
// broadcast fit in 32 (16) registers.
inline constexpr int kMostVecs = kLanes == 16 ? 4 : 3;
inline constexpr int kMostRows = 8;
inline constexpr int most_rows(int vecs) {
    if (kLanes == 16) return vecs == 4 ? 6 : 8;
    return vecs == 3 ? 4 : vecs == 2 ? 6 : 8;
}

// Lines of c are asked for while the sums are made, one for each kStepsAhead of the depth: of all
// at once the last would wait for the first. Short products, as attention's, have c in the cache.
inline constexpr int kStepsAhead = 2;

template <Into kInto, int kRows, int kVecs>
void block(Left a, const float* b, int64_t ldb, int64_t depth, float* c, int64_t ldc,
           const float* scale) {
    Vec sum[kRows][kVecs] = {};
    const float* left = a.data;
    const auto add_products = [&](int64_t steps) {
        for (int64_t k = 0; k < steps; ++k) {
            Vec right[kVecs];
#pragma GCC unroll 4
            for (int v = 0; v < kVecs; ++v) right[v] = load(b + v * kLanes);
#pragma GCC unroll 8
            for (int r = 0; r < kRows; ++r) {
                const Vec factor = broadcast(left[r * a.row]);
#pragma GCC unroll 4
                for (int v = 0; v < kVecs; ++v) sum[r][v] += factor * right[v];
            }
            left += a.step;
            b += ldb;
        }
    };
    constexpr int64_t kAhead = kRows * kVecs * kStepsAhead;
    if (depth >= 4 * kAhead) {
        for (int r = 0; r < kRows; ++r) {
            for (int v = 0; v < kVecs; ++v) {
                __builtin_prefetch(c + r * ldc + v * kLanes, 1, 3);
                add_products(kStepsAhead);
            }
        }
        depth -= kAhead;
    }
    add_products(depth);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < kVecs; ++v) {
            float* const to = c + r * ldc + v * kLanes;
            if (kInto == Into::kAdd) sum[r][v] += load(to);
            if (kInto == Into::kScaleAdd) sum[r][v] += scale[r] * load(to);
            store(to, sum[r][v]);
        }
    }
}

using Block = void (*)(Left, const float*, int64_t, int64_t, float*, int64_t, const float*);

template <Into kInto, int kVecs, int... kRow>
constexpr std::array<Block, kMostRows> blocks_of(std::integer_sequence<int, kRow...>) {
    return {&block<kInto, (kRow < most_rows(kVecs) ? kRow + 1 : 1), kVecs>...};
}

// The block for a width in vectors and a number of rows.
template <Into kInto>
Block block_for(int64_t vecs, int64_t rows) {
    using Rows = std::make_integer_sequence<int, kMostRows>;
    static constexpr std::array<Block, kMostRows> table[kMostVecs] = {
        blocks_of<kInto, 1>(Rows()),
        blocks_of<kInto, 2>(Rows()),
        blocks_of<kInto, 3>(Rows()),
#if defined(__AVX512F__)
        blocks_of<kInto, 4>(Rows()),
#endif
    };
    return table[vecs - 1][static_cast<size_t>(rows - 1)];
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
