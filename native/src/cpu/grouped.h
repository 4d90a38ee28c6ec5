// What the grouped products share: the tasks of experts with rows, rows by way of an index, and one
// tile of a product with an expert's weights. Only for src/cpu.
#pragma once

#include <algorithm>
#include <type_traits>

#include "core/experts.h"
#include "core/matmul_plan.h"
#include "cpu/kernels.h"
#include "cpu/matmul_rows.h"
#include "cpu/simd.h"
#include "cpu/tile_product.h"

namespace caravan {
namespace CARAVAN_ISA {

inline constexpr int64_t kScratchFloats = CARAVAN_CPU_SCRATCH_BYTES / 4;
inline constexpr int64_t kOperandFloats = kScratchFloats - kTileArea;
static_assert(tile_scratch(kMostTileRows) <= kOperandFloats, "a thread has so much scratch");
static_assert(tile_scratch(kMostOuterSide) <= kScratchFloats, "a thread has so much scratch");

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

    template <typename T>
    StoredRows<T> stored() const {
        return {data<T>(*matrix), row_stride(*matrix), assignments, choices};
    }
};

// One expert's weights as a matrix [rows, columns] of the tensor [E, rows, columns].
struct ExpertWeights {
    const caravan_tensor* w;
    int64_t expert;

    int64_t at(int64_t row, int64_t column) const {
        return (expert * w->shape[1] + row) * w->shape[2] + column;
    }
};

// A tile of x op(w)^T: `rows` rows from `first` on, columns [column, column + columns) of the
// product.
struct RowTile {
    int64_t first, rows, column, columns, depth;  // depth: K, all of it
};

// c [rows][ld] = the product. transpose: w is stored [N, K]. `scratch` holds kOperandFloats.
inline void expert_product(const Rows& x, const ExpertWeights& w, bool transpose, const RowTile& t,
                           float* c, int64_t ld, float* scratch) {
    with_storage(x.matrix->dtype, [&](auto tag_x) {
        with_storage(w.w->dtype, [&](auto tag_w) {
            using A = std::remove_pointer_t<decltype(tag_x)>;
            using B = std::remove_pointer_t<decltype(tag_w)>;
            const StoredRows<A> rows = x.stored<A>();
            const B* const b = data<B>(*w.w) + w.at(0, 0);
            const int64_t ld_b = w.w->shape[2];
            if (t.rows > kFewRows || t.rows * (t.depth + t.columns) > kOperandFloats - 32) {
                const Factor<B> weights = {
                    {b, ld_b}, transpose ? t.column : 0, transpose ? 0 : t.column, transpose};
                return tile_product(Factor<A>{rows, t.first, 0, false}, weights,
                                    {t.rows, t.columns, t.depth}, false, c, ld, scratch);
            }
            float* const sums = scratch + (t.rows * t.depth + 15) / 16 * 16;
            copy_along(rows, t.first, t.rows, 0, t.depth, scratch, t.depth);
            const FewRows<float, B> few = {scratch,
                                           b,
                                           t.rows,
                                           transpose ? w.w->shape[1] : ld_b,
                                           t.depth,
                                           t.depth,
                                           ld_b};
            few_rows(few, transpose, t.column, t.columns, sums);
            for (int64_t r = 0; r < t.rows; ++r) {
                std::copy_n(sums + r * t.columns, t.columns, c + r * ld);
            }
        });
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
