// The soft-max of a row of logits: how its threads share the row, and the running maximum and sum
// that each of them keeps (Milakov and Gimelshein 2018, arXiv 1805.02867, algorithm 3).
#pragma once

#include "cuda/tile/elements.cuh"
#include "cuda/tile/math.cuh"
#include "cuda/tile/reduce.cuh"

namespace caravan {
namespace cuda {
namespace {

// exp(x) for x <= 0. bfloat16 gradients need no more than the device's exp2 of a product; that
// loses |x| * 2^-24 of the value, too much for float32 ones.
template <typename T>
__device__ __forceinline__ float exponential(float x) {
    if constexpr (sizeof(T) == 2) {
        return tile::exp2_flushed(x * 1.4426950408889634f);
    } else {
        return expf(x);
    }
}

struct Larger {
    __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// sum = sum of exp(x - max) over what it has seen. fmaxf passes by a NaN, the sum does not.
struct SoftMax {
    float max = -INFINITY;
    float sum = 0.0f;
};

// Nothing but -infinity so far: exp(x - max) would be NaN instead of the 0 that it is.
__device__ __forceinline__ float shift_of(float max) { return max == -INFINITY ? 0.0f : max; }

template <typename T, int N>
__device__ __forceinline__ void add(SoftMax& s, const float (&x)[N]) {
    float max = s.max;
#pragma unroll
    for (int i = 0; i < N; ++i) max = fmaxf(max, x[i]);
    const float shift = shift_of(max);
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < N; ++i) sum += exponential<T>(x[i] - shift);
    s.sum = s.sum * exponential<T>(s.max - shift) + sum;
    s.max = max;
}

// A row as its threads share it: whole vectors at multiples of 16 bytes, cut into one slice a
// block, and a few elements before and behind them, one a thread of the first block.
template <typename T>
struct Row {
    static constexpr int kVector = tile::kLanes<T>;

    T* elements;
    T* slice;   // of this block
    int count;  // vectors of it
    int head;   // elements of the row before the first vector
    int body;   // elements of all its vectors
    int edges;  // elements before and behind, in all
    int begin;  // vectors before the slice
    int rank;

    __device__ __forceinline__ Row(T* row, int width, int rank_, int blocks)
        : elements(row), rank(rank_) {
        const auto past = static_cast<int>(reinterpret_cast<uintptr_t>(row) % 16 / sizeof(T));
        head = min((kVector - past) % kVector, width);
        const int vectors = (width - head) / kVector;
        body = vectors * kVector;
        edges = width - body;
        const int size = (vectors + blocks - 1) / blocks;
        begin = min(vectors, rank * size);
        count = min(vectors, begin + size) - begin;
        slice = row + head + static_cast<int64_t>(begin) * kVector;
    }

    __device__ __forceinline__ T* vector(int i) const {
        return slice + static_cast<int64_t>(i) * kVector;
    }
    __device__ __forceinline__ bool has_edge(int thread) const {
        return rank == 0 && thread < edges;
    }
    __device__ __forceinline__ T* edge(int thread) const {
        return elements + (thread < head ? thread : thread + body);
    }
    // Whether this thread writes the element.
    __device__ __forceinline__ bool owns(int element, int thread, int threads) const {
        if (element < head || element >= head + body) {
            return rank == 0 && thread == (element < head ? element : element - body);
        }
        const int i = (element - head) / kVector - begin;
        return i >= 0 && i < count && i % threads == thread;
    }
};

template <typename T>
__device__ __forceinline__ void fill(const Row<T>& row, T value) {
    tile::Vector<T, Row<T>::kVector> values;
#pragma unroll
    for (int j = 0; j < Row<T>::kVector; ++j) values[j] = value;
    const auto thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
    for (int i = thread; i < row.count; i += threads) tile::store(row.vector(i), values);
    if (row.has_edge(thread)) *row.edge(thread) = value;
}

}  // namespace
}  // namespace cuda
}  // namespace caravan
