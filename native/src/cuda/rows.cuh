// Rows that have nothing to do with one another: a group of neighbouring threads, a power of two,
// takes one. Copies of whole rows.
#pragma once

#include <type_traits>

#include "cuda/tile/launch.cuh"
#include "cuda/tile/vector.cuh"

namespace caravan {
namespace cuda {

inline constexpr int kRowThreads = 256;

// Threads of a group, as a power of two: each moves up to four of the `units` pieces of a row.
inline int row_shift(int64_t units) {
    int shift = 0;
    while ((1 << shift) < kRowThreads && (int64_t{4} << shift) < units) ++shift;
    return shift;
}

inline tile::Config row_config(int64_t rows, int shift) {
    const int64_t per_block = kRowThreads >> shift;
    return tile::config((rows + per_block - 1) / per_block, kRowThreads);
}

// Which row a thread works on, and as which of its group.
struct RowPlace {
    int64_t row;
    int lane, lanes;
};

__device__ __forceinline__ RowPlace row_place(int shift) {
    const int thread = static_cast<int>(threadIdx.x);
    return {static_cast<int64_t>(blockIdx.x) * (kRowThreads >> shift) + (thread >> shift),
            thread & ((1 << shift) - 1), 1 << shift};
}

// Of the same type bit for bit, else rounded.
template <typename To, typename From, int N>
__device__ __forceinline__ tile::Vector<To, N> convert(const tile::Vector<From, N>& value) {
    if constexpr (std::is_same_v<From, To>) {
        return value;
    } else {
        return tile::from_floats<To>(tile::to_floats(value));
    }
}

// Four loads are under way before the first store.
template <int kVector, typename From, typename To>
__device__ __forceinline__ void copy_row(const From* from, To* to, int64_t width,
                                         const RowPlace& at) {
    constexpr int kAtOnce = 4;
    const int64_t step = static_cast<int64_t>(at.lanes) * kVector;
    for (int64_t i = static_cast<int64_t>(at.lane) * kVector; i < width; i += kAtOnce * step) {
        tile::Vector<From, kVector> part[kAtOnce];
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
            if (i + j * step < width) part[j] = tile::load<kVector>(from + i + j * step);
        }
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
            if (i + j * step < width) tile::store(to + i + j * step, convert<To>(part[j]));
        }
    }
}

template <int kVector, typename T>
__device__ __forceinline__ void fill_row(T* to, int64_t width, float value, const RowPlace& at) {
    tile::Vector<T, kVector> part;
#pragma unroll
    for (int j = 0; j < kVector; ++j) part[j] = tile::from_float<T>(value);
    const int64_t step = static_cast<int64_t>(at.lanes) * kVector;
    for (int64_t i = static_cast<int64_t>(at.lane) * kVector; i < width; i += step) {
        tile::store(to + i, part);
    }
}

}  // namespace cuda
}  // namespace caravan
