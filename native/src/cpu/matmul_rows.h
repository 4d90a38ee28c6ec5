// Products with few rows of op(a), as decoding makes them: the time goes into reading b, once, so b
// is streamed and multiplied from registers. In contrast a BLAS packs b first. Only for src/cpu.
#pragma once

#include <algorithm>
#include <type_traits>

#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {

// a [m, k] and b in their storage; ld: elements from row to row.
template <typename A, typename B>
struct FewRows {
    const A* a;
    const B* b;
    int64_t m, n, k, lda, ldb;
};

// sums[i] = the sum over lanes of v[i], for a power of two up to kLanes of them. Two vectors at a
// time are folded into one, so that all sums together take about as many steps as vectors.
template <int Count>
inline void reduce_each(Vec (&v)[Count], float* sums) {
    VecI lane;
    for (int i = 0; i < kLanes; ++i) lane[i] = i;
    int bit = kLanes / 2;
#pragma GCC unroll 4
    for (int half = Count / 2; half > 0; half /= 2, bit /= 2) {
        // The lanes with this bit go on with the second vector, those without it with the first.
        const VecI own = (lane & bit) != 0 ? lane + kLanes : lane;
        const VecI other = own ^ bit;
#pragma GCC unroll 8
        for (int i = 0; i < half; ++i) {
            v[i] = __builtin_shuffle(v[i], v[i + half], own) +
                   __builtin_shuffle(v[i], v[i + half], other);
        }
    }
    Vec all = v[0];
#pragma GCC unroll 4
    for (; bit > 0; bit /= 2) all += __builtin_shuffle(all, lane ^ bit);
    float lanes[kLanes];
    store(lanes, all);
    for (int i = 0; i < Count; ++i) sums[i] = lanes[i * (kLanes / Count)];
}

inline constexpr int power_of_two(int least) {
    int power = 1;
    while (power < least) power *= 2;
    return power;
}

// sums[r][j] = a row r . b row (first + j), for Rows x Columns products at once.
template <int Rows, int Columns, typename A, typename B>
inline void dots(const A* a, int64_t lda, const B* b, int64_t ldb, int64_t k, float* sums,
                 int64_t ld_sums) {
    constexpr int kSums = power_of_two(Rows * Columns);
    Vec sum[kSums];
#pragma GCC unroll 16
    for (int i = 0; i < kSums; ++i) sum[i] = Vec{};
    const auto step = [&](auto load_a, auto load_b) {
        Vec columns[Columns];
        for (int j = 0; j < Columns; ++j) columns[j] = load_b(b + j * ldb);
        for (int r = 0; r < Rows; ++r) {
            const Vec row = load_a(a + r * lda);
            for (int j = 0; j < Columns; ++j) sum[r * Columns + j] += row * columns[j];
        }
    };
    int64_t i = 0;
    const auto whole = [&](auto* from) { return load(from + i); };
    const auto part = [&](auto* from) { return load_part(from + i, k - i); };
    for (; i + kLanes <= k; i += kLanes) step(whole, whole);
    if (i < k) step(part, part);
    float results[kSums];
    reduce_each(sum, results);
    for (int r = 0; r < Rows; ++r) {
        for (int j = 0; j < Columns; ++j) sums[r * ld_sums + j] = results[r * Columns + j];
    }
}

// b stored [n, k]: all rows of a against rows [first, first + count) of b.
template <int Rows, typename A, typename B>
void dots_rows(const FewRows<A, B>& p, int64_t row, int64_t first, int64_t count, float* sums) {
    // Enough accumulators to hide the latency of a multiply-add, few enough to stay in registers.
    constexpr int kColumns = Rows == 1 ? 8 : Rows == 2 || kLanes == 16 ? 4 : 2;
    const A* a = p.a + row * p.lda;
    const B* b = p.b + first * p.ldb;
    int64_t j = 0;
    for (; j + kColumns <= count; j += kColumns) {
        dots<Rows, kColumns>(a, p.lda, b + j * p.ldb, p.ldb, p.k, sums + j, count);
    }
    for (; j < count; ++j) dots<Rows, 1>(a, p.lda, b + j * p.ldb, p.ldb, p.k, sums + j, count);
}

// sums[r][j] over columns of b stored [k, n], for Rows rows and Columns vectors at once. The last
// vector is whole, or only its first `lanes` lanes are there.
template <int Rows, int Columns, bool Whole, typename A, typename B>
inline void columns(const A* a, int64_t lda, const B* b, int64_t ldb, int64_t k, int64_t lanes,
                    float* sums, int64_t ld_sums) {
    Vec sum[Rows][Columns];
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
        for (int j = 0; j < Columns; ++j) sum[r][j] = Vec{};
    }
    for (int64_t i = 0; i < k; ++i, b += ldb) {
        Vec row[Columns];
        for (int j = 0; j < Columns; ++j) {
            row[j] =
                Whole || j + 1 < Columns ? load(b + j * kLanes) : load_part(b + j * kLanes, lanes);
        }
        for (int r = 0; r < Rows; ++r) {
            const Vec factor = broadcast(to_float(a[r * lda + i]));
            for (int j = 0; j < Columns; ++j) sum[r][j] += factor * row[j];
        }
    }
    for (int r = 0; r < Rows; ++r) {
        for (int j = 0; j < Columns; ++j) {
            float* to = sums + r * ld_sums + j * kLanes;
            if (Whole || j + 1 < Columns) {
                store(to, sum[r][j]);
            } else {
                store_part(to, sum[r][j], lanes);
            }
        }
    }
}

// b stored [k, n]: all rows of a against columns [first, first + count) of b.
template <int Rows, typename A, typename B>
void columns_rows(const FewRows<A, B>& p, int64_t row, int64_t first, int64_t count, float* sums) {
    constexpr int kMost = Rows <= 2 || kLanes == 16 ? 4 : 2;
    const A* a = p.a + row * p.lda;
    const B* b = p.b + first;
    int64_t j = 0;
    while (j < count) {
        const int64_t vecs = (count - j) / kLanes;
        const auto take = [&](auto width, auto whole) {
            columns<Rows, width(), whole()>(a, p.lda, b + j, p.ldb, p.k, count - j, sums + j,
                                            count);
            j += width() * kLanes;
        };
        if (vecs >= kMost) {
            take(std::integral_constant<int, kMost>(), std::true_type());
        } else if (vecs == 3) {
            take(std::integral_constant<int, std::min(3, kMost)>(), std::true_type());
        } else if (vecs == 2) {
            take(std::integral_constant<int, 2>(), std::true_type());
        } else if (vecs == 1) {
            take(std::integral_constant<int, 1>(), std::true_type());
        } else {
            take(std::integral_constant<int, 1>(), std::false_type());
        }
    }
}

// sums [m, count] = op(a) op(b) for columns [first, first + count) of the product.
template <typename A, typename B>
void few_rows(const FewRows<A, B>& p, bool transpose_b, int64_t first, int64_t count, float* sums) {
    for (int64_t row = 0; row < p.m; row += 4) {
        float* to = sums + row * count;
        switch (std::min<int64_t>(p.m - row, 4)) {
            case 1:
                transpose_b ? dots_rows<1>(p, row, first, count, to)
                            : columns_rows<1>(p, row, first, count, to);
                break;
            case 2:
                transpose_b ? dots_rows<2>(p, row, first, count, to)
                            : columns_rows<2>(p, row, first, count, to);
                break;
            case 3:
                transpose_b ? dots_rows<3>(p, row, first, count, to)
                            : columns_rows<3>(p, row, first, count, to);
                break;
            default:
                transpose_b ? dots_rows<4>(p, row, first, count, to)
                            : columns_rows<4>(p, row, first, count, to);
        }
    }
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
