// What the kernels of sparse experts share: which rows a tile has, rows gathered by assignment, and
// the activations. Offsets and assignments lie in device memory: whatever they hold, no address is
// made of them that is not in the tensors.
#pragma once

#include <type_traits>

#include "core/experts.h"
#include "cuda/glu.cuh"
#include "cuda/tensors.h"

namespace caravan {
namespace cuda {

// Rows of an expert, from `first` of all rows on; none where `rows` is 0 or less.
struct ExpertRows {
    int32_t expert, first, rows;
};

__device__ __forceinline__ int32_t offset_within(const int32_t* offsets, int32_t e, int32_t rows) {
    return min(max(offsets[e], 0), rows);
}

// All rows of an expert.
__device__ __forceinline__ ExpertRows rows_of(const int32_t* offsets, int32_t expert,
                                              int32_t rows) {
    const int32_t first = offset_within(offsets, expert, rows);
    return {expert, first, offset_within(offsets, expert + 1, rows) - first};
}

// The tile of slot `slot`, of experts whose rows are cut every `step`. Expert e has the slots from
// offsets[e] / step + e on, enough for its tiles, so that their number follows from shapes alone
// (expert_slots) and the expert is found by halving.
__device__ __forceinline__ ExpertRows find_rows(const int32_t* offsets, int32_t experts,
                                                int32_t rows, int32_t slot, int32_t step) {
    int32_t low = 0, high = experts - 1;  // the expert is in [low, high]
    while (low < high) {
        const int32_t middle = (low + high + 1) / 2;
        if (offset_within(offsets, middle, rows) / step + middle <= slot) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    ExpertRows tile = rows_of(offsets, low, rows);
    const int32_t begin = (slot - tile.first / step - low) * step;
    tile.first += begin;
    tile.rows = min(tile.rows - begin, step);
    return tile;
}

inline int64_t expert_slots(int64_t rows, int64_t experts, int64_t step) {
    return rows / step + experts;
}

// The row of a matrix of `bound` rows that row number r of a tile from `first` on is: gathered by
// its assignment, or in place. -1 for an assignment out of range.
struct Gather {
    const int32_t* assignments;  // null: in place
    int32_t first, choices, bound;

    __device__ __forceinline__ int64_t operator()(int32_t r) const {
        if (assignments == nullptr) return first + r;
        const int32_t assignment = assignments[first + r];
        if (assignment < 0) return -1;
        const int32_t source = assignment / choices;
        return source < bound ? source : -1;
    }
};

// A matrix of either storage, for kernels that are not about speed.
struct AnyMatrix {
    void* data;
    int64_t stride;
    bool is_bf16;

    __device__ __forceinline__ float get(int64_t row, int64_t column) const {
        const int64_t at = row * stride + column;
        return is_bf16 ? tile::to_float(static_cast<const tile::bf16*>(data)[at])
                       : static_cast<const float*>(data)[at];
    }
    __device__ __forceinline__ void put(int64_t row, int64_t column, float value) const {
        const int64_t at = row * stride + column;
        if (is_bf16) {
            static_cast<tile::bf16*>(data)[at] = tile::from_float<tile::bf16>(value);
        } else {
            static_cast<float*>(data)[at] = value;
        }
    }
};

inline AnyMatrix any_matrix(const caravan_tensor& tensor) {
    return {tensor.data, row_stride(tensor), tensor.dtype == CARAVAN_BF16};
}

// f(x) and f'(x) of an expert's activation, for results of T.
template <typename T>
__device__ __forceinline__ Activation<float> expert_activation(int32_t activation, float x) {
    switch (activation) {
        case CARAVAN_EXPERT_SWIGLU:
        case CARAVAN_EXPERT_SILU:
            return Silu::of<T>(x);
        case CARAVAN_EXPERT_GEGLU:
        case CARAVAN_EXPERT_GELU:
            return Gelu::of<T>(x);
        default:
            return GeluTanh::of<T>(x);
    }
}

}  // namespace cuda
}  // namespace caravan
