// Parts of a row: N neighbouring elements that one thread works on. They move 16 bytes at a time
// where the row allows it and one by one elsewhere, so that which thread works on what, and with it
// the order of every sum, is the same however a tensor lies in memory.
#pragma once

#include "cuda/tile/vector.cuh"

namespace caravan {
namespace tile {

// Elements [first, first + N) of a row of `width`; those beyond it are 0. With kWide the row begins
// at a multiple of 16 bytes, and its width and `first` are multiples of N; first is below width.
template <bool kWide, int N, typename T>
__device__ __forceinline__ Vector<T, N> load_part(const T* row, int64_t first, int64_t width) {
    Vector<T, N> part;
    constexpr int kMove = !kWide ? 1 : N < kLanes<T> ? N : kLanes<T>;
#pragma unroll
    for (int j = 0; j < N; j += kMove) {
        if (kWide || first + j < width) {
            load_bytes<kMove * sizeof(T)>(&part[j], row + first + j);
        } else {
            part[j] = T{};
        }
    }
    return part;
}

// Writes those elements that the row has.
template <bool kWide, int N, typename T>
__device__ __forceinline__ void store_part(T* row, int64_t first, int64_t width,
                                           const Vector<T, N>& part) {
    constexpr int kMove = !kWide ? 1 : N < kLanes<T> ? N : kLanes<T>;
#pragma unroll
    for (int j = 0; j < N; j += kMove) {
        if (kWide || first + j < width) {
            store_bytes<kMove * sizeof(T)>(row + first + j, &part[j]);
        }
    }
}

}  // namespace tile
}  // namespace caravan
