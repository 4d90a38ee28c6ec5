// What the grouped products share: the tasks of experts with rows, operands as sgemm reads them,
// with rows gathered and bfloat16 widened on the way, and one tile's product. Only for src/cpu.
#pragma once

#include <algorithm>
#include <type_traits>

#include "core/experts.h"
#include "core/matmul_plan.h"
#include "cpu/kernels.h"
#include "cpu/matmul_rows.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {

inline constexpr int kRowMajor = 101, kNoTranspose = 111, kTranspose = 112;
inline constexpr int64_t kScratchFloats = CARAVAN_CPU_SCRATCH_BYTES / 4;
inline constexpr int64_t kOperandFloats = kScratchFloats - kTileArea;

// Which expert a task belongs to: experts have `count(e)` tasks each, numbered one after another.
class ExpertTasks {
  public:
    template <typename Count>
    ExpertTasks(int64_t experts, Count&& count) : experts_(experts) {
        for (int64_t e = 0; e < experts; ++e) first_[e + 1] = first_[e] + count(e);
    }

    int64_t count() const { return first_[experts_]; }

    struct Task {
        int64_t expert, index;
    };

    Task of(int64_t task) const {
        const int64_t* const above = std::upper_bound(first_, first_ + experts_ + 1, task);
        const int64_t expert = above - first_ - 1;
        return {expert, task - first_[expert]};
    }

  private:
    int64_t experts_;
    int64_t first_[CARAVAN_MAX_EXPERTS + 1] = {};
};

inline int64_t row_stride(const caravan_tensor& matrix) {
    return std::max<int64_t>(matrix.shape[0] > 1 ? matrix.stride[0] : matrix.shape[1], 1);
}

// Rows of a matrix by way of an index, or one after another.
struct Rows {
    const caravan_tensor* matrix;
    const int32_t* assignments;  // null: row r is row r
    int64_t choices;

    int64_t source(int64_t r) const {
        return assignments == nullptr ? r : assignments[r] / choices;
    }
    bool in_place() const { return assignments == nullptr && matrix->dtype == CARAVAN_F32; }
};

struct Operand {
    const float* data;
    int64_t ld;
};

template <typename T>
inline void widen_row(const T* from, int64_t n, float* to) {
    for_vectors(n, [&](int64_t i, auto part) { store(to + i, load(from + i, part), part); });
}

// Rows [first, first + rows), columns [column, column + columns): where they lie, or copied.
inline Operand operand(const Rows& from, int64_t first, int64_t rows, int64_t column,
                       int64_t columns, float* scratch) {
    const int64_t ld = row_stride(*from.matrix);
    if (from.in_place()) return {data<float>(*from.matrix) + first * ld + column, ld};
    with_storage(from.matrix->dtype, [&](auto tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        for (int64_t r = 0; r < rows; ++r) {
            const T* row = data<T>(*from.matrix) + from.source(first + r) * ld + column;
            widen_row(row, columns, scratch + r * columns);
        }
    });
    return {scratch, columns};
}

// One expert's weights as a matrix [rows, columns] of the tensor [E, rows, columns].
struct ExpertWeights {
    const caravan_tensor* w;
    int64_t expert;

    int64_t at(int64_t row, int64_t column) const {
        return (expert * w->shape[1] + row) * w->shape[2] + column;
    }
};

inline Operand operand(const ExpertWeights& from, int64_t row, int64_t rows, int64_t column,
                       int64_t columns, float* scratch) {
    const int64_t ld = from.w->shape[2];
    if (from.w->dtype == CARAVAN_F32) return {data<float>(*from.w) + from.at(row, column), ld};
    const bf16* const source = data<bf16>(*from.w) + from.at(row, column);
    for (int64_t r = 0; r < rows; ++r) widen_row(source + r * ld, columns, scratch + r * columns);
    return {scratch, columns};
}

// A tile of x op(w)^T: `rows` rows from `first` on, columns [column, column + columns) of the
// product.
struct RowTile {
    int64_t first, rows, column, columns, depth;  // depth: K, all of it
};

// c [rows][ld] = the product. transpose: w is stored [N, K]. `scratch` holds kOperandFloats.
inline void tile_product(const Rows& x, const ExpertWeights& w, bool transpose, const RowTile& t,
                         float* c, int64_t ld, float* scratch) {
    if (t.rows <= kFewRows && t.rows * (t.depth + t.columns) <= kOperandFloats - 32) {
        const Operand a = operand(x, t.first, t.rows, 0, t.depth, scratch);
        float* const sums = scratch + (t.rows * t.depth + 15) / 16 * 16;
        with_storage(w.w->dtype, [&](auto tag) {
            using B = std::remove_pointer_t<decltype(tag)>;
            const B* const b = data<B>(*w.w) + w.at(0, 0);
            const FewRows<float, B> few = {
                a.data,  b,    t.rows,       transpose ? w.w->shape[1] : w.w->shape[2],
                t.depth, a.ld, w.w->shape[2]};
            few_rows(few, transpose, t.column, t.columns, sums);
        });
        for (int64_t r = 0; r < t.rows; ++r) {
            std::copy_n(sums + r * t.columns, t.columns, c + r * ld);
        }
        return;
    }
    const bool copies = !x.in_place() || w.w->dtype != CARAVAN_F32;
    const int64_t room = (kOperandFloats - 32) / (t.rows + t.columns) / 16 * 16;
    const int64_t step = copies ? std::max<int64_t>(room, 16) : t.depth;
    for (int64_t k = 0; k < t.depth; k += step) {
        const int64_t d = std::min(step, t.depth - k);
        float* const scratch_b = scratch + (t.rows * d + 15) / 16 * 16;
        const Operand a = operand(x, t.first, t.rows, k, d, scratch);
        const Operand b = transpose ? operand(w, t.column, t.columns, k, d, scratch_b)
                                    : operand(w, k, d, t.column, t.columns, scratch_b);
        cpu_sgemm()(kRowMajor, kNoTranspose, transpose ? kTranspose : kNoTranspose,
                    static_cast<int>(t.rows), static_cast<int>(t.columns), static_cast<int>(d),
                    1.0f, a.data, static_cast<int>(a.ld), b.data, static_cast<int>(b.ld),
                    k == 0 ? 0.0f : 1.0f, c, static_cast<int>(ld));
    }
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
