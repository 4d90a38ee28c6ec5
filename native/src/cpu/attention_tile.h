// Arithmetic on the tiles of attention: products from registers, copies and transposes into
// scratch, soft-max weights. A tile of scores is kept transposed, [keys][queries]: queries lie
// along the lanes, so that maxima and sums over keys need no step across lanes, and none of the
// five products of a training step needs its large operand rearranged. Only for src/cpu.
#pragma once

#include <algorithm>
#include <array>
#include <limits>
#include <type_traits>
#include <utility>

#include "core/attention_plan.h"
#include "cpu/register_block.h"
#include "cpu/stored_rows.h"

namespace caravan {
namespace CARAVAN_ISA {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr int64_t kTileVecs = kTileQueries / kLanes;  // vectors across a tile of scores

inline int64_t padded(int64_t width) { return (width + kLanes - 1) / kLanes * kLanes; }

// ------------------------------------------------------------------ products

// Of row r only [r + low, r + high] counts: the band of a causal mask or a window.
struct Band {
    int64_t low, high;

    // What counts for any row of [first, first + rows), within [0, end).
    std::pair<int64_t, int64_t> of(int64_t first, int64_t rows, int64_t end) const {
        const int64_t from = std::max<int64_t>(first + low, 0);
        return {from, std::max(std::min(first + rows - 1 + high + 1, end), from)};
    }
};

inline constexpr Band kNoBand = {-(int64_t{1} << 40), int64_t{1} << 40};

// c [rows, vecs * kLanes] from a [rows, depth] and b [depth, vecs * kLanes]. Terms outside the band
// are 0 in a, and are left out.
template <Into kInto>
void product(int64_t rows, int64_t vecs, int64_t depth, Left a, const float* b, int64_t ldb,
             float* c, int64_t ldc, Band band = kNoBand, const float* scale = nullptr) {
    int64_t groups = (vecs + kMostVecs - 1) / kMostVecs;
    for (int64_t v = 0; v < vecs; --groups) {
        const int64_t width = (vecs - v + groups - 1) / groups;
        const int64_t most = most_rows(static_cast<int>(width));
        for (int64_t r = 0; r < rows; r += most) {
            const int64_t count = std::min(most, rows - r);
            const auto [from, to] = band.of(r, count, depth);
            block_for<kInto>(width, count)({a.data + r * a.row + from * a.step, a.row, a.step},
                                           b + from * ldb + v * kLanes, ldb, to - from,
                                           c + r * ldc + v * kLanes, ldc,
                                           scale == nullptr ? nullptr : scale + r);
        }
        v += width;
    }
}

// scores [rows keys][kTileQueries] from keys a [rows, depth] and queries b [depth, kTileQueries].
// Vectors wholly outside the band are not computed and hold anything.
inline void score_product(int64_t rows, int64_t depth, Left a, const float* b, float* scores,
                          Band band) {
    for (int64_t v = 0; v < kTileVecs;) {
        int64_t width = std::min<int64_t>(kMostVecs, kTileVecs - v);
        const int64_t most = most_rows(static_cast<int>(width));
        for (int64_t r = 0; r < rows; r += most) {
            const int64_t count = std::min(most, rows - r);
            const auto [from, to] = band.of(r, count, kTileQueries);
            const int64_t first = std::max(from / kLanes, v);
            const int64_t end = std::min((to + kLanes - 1) / kLanes, v + width);
            if (first >= end) continue;
            block_for<Into::kOverwrite>(end - first, count)(
                {a.data + r * a.row, a.row, a.step}, b + first * kLanes, kTileQueries, depth,
                scores + r * kTileQueries + first * kLanes, kTileQueries, nullptr);
        }
        v += width;
    }
}

// ------------------------------------------------------------------ copies

// to [columns][kTileQueries] = factor * the transpose of from [rows, columns], zeros behind the
// rows.
template <typename T>
void copy_transposed(const T* from, int64_t stride, int64_t rows, int64_t columns, float factor,
                     float* to) {
    for (int64_t c = 0; c < columns; c += kLanes) {
        const int64_t count = std::min<int64_t>(kLanes, columns - c);
        for (int64_t r = 0; r < kTileQueries; r += kLanes) {
            Vec v[kLanes];
            for (int i = 0; i < kLanes; ++i) {
                const T* source = from + (r + i) * stride + c;
                v[i] = r + i >= rows     ? Vec{}
                       : count == kLanes ? load(source)
                                         : load_part(source, count);
            }
            transpose(v);
            for (int i = 0; i < count; ++i) store(to + (c + i) * kTileQueries + r, v[i] * factor);
        }
    }
}

// to = factor[r] * from row r, or from itself, rounded to the storage.
template <typename T>
void store_rows(const float* from, int64_t ld, int64_t rows, int64_t columns, const float* factor,
                T* to, int64_t stride) {
    for (int64_t r = 0; r < rows; ++r) {
        const Vec by = broadcast(factor == nullptr ? 1.0f : factor[r]);
        int64_t i = 0;
        for (; i + kLanes <= columns; i += kLanes) {
            store(to + r * stride + i, load(from + r * ld + i) * by);
        }
        if (i < columns) store_part(to + r * stride + i, load(from + r * ld + i) * by, columns - i);
    }
}

template <typename T>
void zero_rows(T* to, int64_t stride, int64_t rows, int64_t columns) {
    for (int64_t r = 0; r < rows; ++r) std::fill_n(to + r * stride, columns, T{});
}

// ------------------------------------------------------------------ soft-max

// exp(x) for x up to 88, within 2 units in the last place near 0 and, as x itself is rounded, |x|
// units far from it; 0 below -87. 2^f by a polynomial fitted to least relative error (2e-9) over
// |f| <= 1/2.
inline Vec exp_weight(Vec x) {
    const VecI tiny = x < broadcast(-87.0f);
    x = broadcast(-87.0f) > x ? broadcast(-87.0f) : x;  // keeps a NaN
    const float log2e = 1.44269504f;
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    const Vec shifted = x * log2e + magic;
    const Vec f = x * log2e - (shifted - magic);
    Vec p = broadcast(1.534581242594868e-4f);
    p = p * f + 1.3399930903688073e-3f;
    p = p * f + 9.618489071726799e-3f;
    p = p * f + 5.550328642129898e-2f;
    p = p * f + 2.4022646248340607e-1f;
    p = p * f + 6.931471824645996e-1f;
    p = p * f + 1.0f;
    // The integer is in the low bits of `shifted`; a factor, as adding it to p's bits could undo a
    // NaN.
    const VecI power = (reinterpret_cast<VecI>(shifted) << 23) + 0x3f800000;
    return tiny ? Vec{} : p * reinterpret_cast<Vec>(power);
}

// tanh(x) within 3 units in the last place: a polynomial (fitted, 5e-9) up to 0.625, beyond it from
// exp.
inline Vec tanh(Vec x) {
    const VecI sign = reinterpret_cast<VecI>(x) & INT32_MIN;
    const Vec size = reinterpret_cast<Vec>(reinterpret_cast<VecI>(x) & INT32_MAX);
    const Vec e = exp_weight(size * -2.0f);
    const Vec large = (1.0f - e) / (1.0f + e);
    const Vec z = x * x;
    Vec p = broadcast(-5.704985000193119e-3f);
    p = p * z + 2.063908614218235e-2f;
    p = p * z - 5.373971536755562e-2f;
    p = p * z + 1.3331441581249237e-1f;
    p = p * z - 3.333328068256378e-1f;
    const Vec small = size + size * z * p;
    const Vec result = size < broadcast(0.625f) ? small : large;
    return reinterpret_cast<Vec>(reinterpret_cast<VecI>(result) | sign);
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
