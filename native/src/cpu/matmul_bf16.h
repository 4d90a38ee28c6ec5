// Products of bfloat16 matrices by the processor's own dot products of pairs (VDPBF16PS, Intel SDM
// volume 2: two products a lane, added in float32; denormals count as zero), where it has
// AVX512_BF16. The exact product of two bfloat16 fits a float32, so this is float32 arithmetic at
// twice the rate. Only for src/cpu, in the v4 set.
//
// A pair is two neighbours along k in one 32-bit word. b is packed into panels of kPanel columns,
// [pairs][kPanel] words; kBlock rows of a are read where they lie, or packed into [pairs][kBlock].
// A block of sums stays in registers over the whole depth of the panel. Sums of one element of c
// are taken in the order of k whatever the tile, so the bits do not depend on the number of
// threads.
#pragma once

#if defined(__AVX512F__)

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {

constexpr int kBlock = 12, kPanel = 32;

// Deepest panel: one of b and a block of a fit the first-level cache.
constexpr int64_t kMostPairs = 256;

// One operand as it is stored: rows `ld` apart, row r and column c of op(x) at data[r * ld + c], or
// at data[c * ld + r] when transposed.
struct HalfMatrix {
    const bf16* data;
    int64_t ld;
};

// ------------------------------------------------------------------ packing

inline __mmask32 first_halves(int64_t n) {
    return n >= 32 ? ~__mmask32{0}
                   : static_cast<__mmask32>((uint32_t{1} << std::max<int64_t>(n, 0)) - 1);
}

// A panel from rows along k: `columns` rows of `depth` halves each become [pairs][kPanel] words.
inline void pack_rows(const bf16* from, int64_t ld, int64_t columns, int64_t depth, uint32_t* to) {
    const int64_t pairs = (depth + 1) / 2;
    for (int64_t first = 0; first < kPanel; first += 16) {
        for (int64_t p = 0; p < pairs; p += 16) {
            const __mmask32 mask = first_halves(depth - 2 * p);
            VecU words[16];
            for (int64_t i = 0; i < 16; ++i) {
                words[i] = VecU{};
                if (first + i < columns) {
                    const bf16* row = from + (first + i) * ld + 2 * p;
                    words[i] = reinterpret_cast<VecU>(_mm512_maskz_loadu_epi16(mask, row));
                }
            }
            transpose(words);
            const int64_t count = std::min<int64_t>(16, pairs - p);
            for (int64_t i = 0; i < count; ++i) {
                std::memcpy(to + (p + i) * kPanel + first, &words[i], sizeof words[i]);
            }
        }
    }
}

// A panel from rows across k: `depth` rows of `columns` halves each become [pairs][width] words.
// With a width below 16, up to 16 words behind them are written too.
inline void pack_columns(const bf16* from, int64_t ld, int64_t columns, int64_t depth,
                         int64_t width, uint32_t* to) {
    for (int64_t first = 0; first < width; first += kLanes) {
        const auto mask =
            static_cast<__mmask16>(first_halves(std::min<int64_t>(columns - first, 16)));
        const auto load_row = [&](int64_t k) {
            const __m256i half = _mm256_maskz_loadu_epi16(mask, from + k * ld + first);
            return __builtin_convertvector(reinterpret_cast<VecH>(half), VecU);
        };
        for (int64_t k = 0; k < depth; k += 2) {
            VecU words = load_row(k);
            if (k + 1 < depth) words |= load_row(k + 1) << 16;
            std::memcpy(to + k / 2 * width + first, &words, sizeof words);
        }
    }
}

// ------------------------------------------------------------------ sums in registers

// sums[i][j] += the dot products of Rows rows of a with the columns of a panel over `pairs` words.
// The word of row i and pair p lies at a + i * row + p * pair, in bytes.
template <int Rows>
__attribute__((target("avx512bf16"))) inline void dot_block(const char* a, int64_t row,
                                                            int64_t pair, const uint32_t* b,
                                                            int64_t pairs, float* sums) {
    __m512 low[Rows], high[Rows];
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i) {
        low[i] = _mm512_loadu_ps(sums + i * kPanel);
        high[i] = _mm512_loadu_ps(sums + i * kPanel + 16);
    }
    for (int64_t p = 0; p < pairs; ++p) {
        const auto b_low = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b + p * kPanel));
        const auto b_high = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b + p * kPanel + 16));
#pragma GCC unroll 12
        for (int i = 0; i < Rows; ++i) {
            int32_t word;
            std::memcpy(&word, a + i * row + p * pair, sizeof word);
            const auto both = reinterpret_cast<__m512bh>(_mm512_set1_epi32(word));
            low[i] = _mm512_dpbf16_ps(low[i], both, b_low);
            high[i] = _mm512_dpbf16_ps(high[i], both, b_high);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i) {
        _mm512_storeu_ps(sums + i * kPanel, low[i]);
        _mm512_storeu_ps(sums + i * kPanel + 16, high[i]);
    }
}

// The same for any number of rows up to kBlock.
inline void dot_rows(int64_t rows, const char* a, int64_t row, int64_t pair, const uint32_t* b,
                     int64_t pairs, float* sums) {
    if (rows == kBlock) return dot_block<kBlock>(a, row, pair, b, pairs, sums);
    const auto step = [&](auto count) {
        constexpr int kRows = decltype(count)::value;
        if ((rows & kRows) == 0) return;
        dot_block<kRows>(a, row, pair, b, pairs, sums);
        a += kRows * row;
        sums += kRows * kPanel;
    };
    step(std::integral_constant<int, 8>());
    step(std::integral_constant<int, 4>());
    step(std::integral_constant<int, 2>());
    step(std::integral_constant<int, 1>());
}

// ------------------------------------------------------------------ a part of c

// c [rows][ld] = alpha op(a) op(b) + beta c for `rows` x `columns` of c over `depth`; a and b begin
// at the part. With beta 0, c is not read.
struct HalfProduct {
    HalfMatrix a, b;
    bool transpose_a, transpose_b;
    int64_t rows, columns, depth;
    float alpha, beta;
    float* c;
    int64_t ld;
};

// c = alpha sums + beta c for one block.
inline void put_sums(const HalfProduct& p, float beta, int64_t row, int64_t rows, int64_t column,
                     const float* sums) {
    const int64_t columns = std::min<int64_t>(kPanel, p.columns - column);
    for (int64_t i = 0; i < rows; ++i) {
        float* c = p.c + (row + i) * p.ld + column;
        for (int64_t j = 0; j < columns; j += 16) {
            const auto mask =
                static_cast<__mmask16>(first_halves(std::min<int64_t>(16, columns - j)));
            __m512 value =
                _mm512_mul_ps(_mm512_set1_ps(p.alpha), _mm512_loadu_ps(sums + i * kPanel + j));
            if (beta != 0) {
                value = _mm512_fmadd_ps(_mm512_set1_ps(beta), _mm512_maskz_loadu_ps(mask, c + j),
                                        value);
            }
            _mm512_mask_storeu_ps(c + j, mask, value);
        }
    }
}

// Words of scratch that a part needs at a depth of 2 pairs.
inline int64_t half_scratch_words(int64_t columns, int64_t pairs) {
    return ((columns + kPanel - 1) / kPanel * kPanel + kBlock) * pairs + 2 * kPanel;
}

inline void half_product(const HalfProduct& p, uint32_t* scratch, int64_t scratch_words) {
    const int64_t panels = (p.columns + kPanel - 1) / kPanel;
    int64_t most = kMostPairs;
    while (most > 1 && half_scratch_words(p.columns, most) > scratch_words) most /= 2;
    for (int64_t k = 0; k < p.depth; k += 2 * most) {
        const int64_t depth = std::min(2 * most, p.depth - k);
        const int64_t pairs = (depth + 1) / 2;
        const float beta = k == 0 ? p.beta : 1.0f;
        for (int64_t j = 0; j < panels; ++j) {
            const int64_t column = j * kPanel;
            const int64_t columns = std::min<int64_t>(kPanel, p.columns - column);
            uint32_t* to = scratch + column * pairs;
            if (p.transpose_b) {
                pack_rows(p.b.data + column * p.b.ld + k, p.b.ld, columns, depth, to);
            } else {
                pack_columns(p.b.data + k * p.b.ld + column, p.b.ld, columns, depth, kPanel, to);
            }
        }
        uint32_t* packed = scratch + panels * kPanel * pairs;
        for (int64_t row = 0; row < p.rows; row += kBlock) {
            const int64_t rows = std::min<int64_t>(kBlock, p.rows - row);
            const bf16* a = p.a.data + (p.transpose_a ? k * p.a.ld + row : row * p.a.ld + k);
            uint32_t last[kBlock];  // the half behind the last pair of each row
            if (p.transpose_a) {
                pack_columns(a, p.a.ld, rows, depth, kBlock, packed);
            } else if (depth % 2 != 0) {
                for (int64_t i = 0; i < rows; ++i) last[i] = a[i * p.a.ld + depth - 1].bits;
            }
            for (int64_t j = 0; j < panels; ++j) {
                const uint32_t* b = scratch + j * kPanel * pairs;
                float sums[kBlock * kPanel] = {};
                if (p.transpose_a) {
                    dot_rows(rows, reinterpret_cast<const char*>(packed), 4, 4 * kBlock, b, pairs,
                             sums);
                } else {
                    dot_rows(rows, reinterpret_cast<const char*>(a), 2 * p.a.ld, 4, b, depth / 2,
                             sums);
                    if (depth % 2 != 0) {
                        dot_rows(rows, reinterpret_cast<const char*>(last), 4, 0,
                                 b + depth / 2 * kPanel, 1, sums);
                    }
                }
                put_sums(p, beta, row, rows, j * kPanel, sums);
            }
        }
    }
}

}  // namespace CARAVAN_ISA
}  // namespace caravan

#endif  // __AVX512F__
