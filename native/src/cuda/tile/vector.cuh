// Several neighbouring elements that one thread moves at once: up to 16 bytes an access.
#pragma once

#include <type_traits>

#include "cuda/tile/types.cuh"
#ifdef CARAVAN_SIMT
#include "simt/tile/vector.h"
#else
#include "cuda/tile/ptx/vector.cuh"
#endif

namespace caravan {
namespace tile {

// N elements, aligned to their size where that is a power of two up to 16 bytes.
template <typename T, int N>
struct alignas(N * sizeof(T) <= 16 ? N * sizeof(T) : 16) Vector {
    T at[N];
    __device__ __forceinline__ T& operator[](int i) { return at[i]; }
    __device__ __forceinline__ const T& operator[](int i) const { return at[i]; }
};

// Elements of T in one 16-byte access.
template <typename T>
inline constexpr int kLanes = 16 / static_cast<int>(sizeof(T));

// What will be read again soon.
template <int N, typename T>
__device__ __forceinline__ Vector<T, N> load(const T* from) {
    Vector<T, N> value;
    load_bytes<N * sizeof(T)>(&value, from);
    return value;
}

// What is read once: its cache lines are the first to go. PTX ISA, "Cache Operators": .cs.
template <int N, typename T>
__device__ __forceinline__ Vector<T, N> load_streaming(const T* from) {
    Vector<T, N> value;
    load_streaming_bytes<N * sizeof(T)>(&value, from);
    return value;
}

template <int N, typename T>
__device__ __forceinline__ void store(T* to, const Vector<T, N>& value) {
    store_bytes<N * sizeof(T)>(to, &value);
}

// What this kernel will not read.
template <int N, typename T>
__device__ __forceinline__ void store_streaming(T* to, const Vector<T, N>& value) {
    store_streaming_bytes<N * sizeof(T)>(to, &value);
}

// bfloat16 in pairs, as they lie in registers: an instruction each, where halves one by one take
// two.
template <int N, typename T>
__device__ __forceinline__ Vector<float, N> to_floats(const Vector<T, N>& value) {
    Vector<float, N> result;
    if constexpr (std::is_same_v<T, bf16> && N % 2 == 0) {
        uint32_t pairs[N / 2];
        memcpy(pairs, &value, sizeof pairs);
#pragma unroll
        for (int i = 0; i < N / 2; ++i) {
            result[2 * i] = unpack_low(pairs[i]);
            result[2 * i + 1] = unpack_high(pairs[i]);
        }
    } else {
#pragma unroll
        for (int i = 0; i < N; ++i) result[i] = to_float(value[i]);
    }
    return result;
}

template <typename T, int N>
__device__ __forceinline__ Vector<T, N> from_floats(const Vector<float, N>& value) {
    Vector<T, N> result;
    if constexpr (std::is_same_v<T, bf16> && N % 2 == 0) {
        uint32_t pairs[N / 2];
#pragma unroll
        for (int i = 0; i < N / 2; ++i) pairs[i] = pack_bf16(value[2 * i], value[2 * i + 1]);
        memcpy(&result, pairs, sizeof pairs);
    } else {
#pragma unroll
        for (int i = 0; i < N; ++i) result[i] = from_float<T>(value[i]);
    }
    return result;
}

// Whether rows that begin `stride` elements apart from `base` on all begin at a multiple of 16
// bytes. Host code: chooses between a kernel's wide and its element-wise path.
inline bool wide(const void* base, int64_t stride, int64_t element_bytes) {
    return reinterpret_cast<uintptr_t>(base) % 16 == 0 && stride * element_bytes % 16 == 0;
}

}  // namespace tile
}  // namespace caravan
