// The shape of kernels that visit matrices element by element: rows may be strided, and are cut
// into parts of 16 bytes. A block takes kThreads * kIlp parts that follow each other; each thread
// loads all of its kIlp parts before it works on the first.
#pragma once

#include <algorithm>

#include "cuda/tensors.h"
#include "cuda/tile/launch.cuh"
#include "cuda/tile/part.cuh"

namespace caravan {
namespace cuda {

struct RowParts {
    static constexpr int kThreads = 256;

    int64_t rows;
    int64_t width;  // elements of a row
    int64_t parts;  // of a row
    // floor((2^64 - 1) / parts), and the same of 2^32: what is below 2^64 (2^32), times that and
    // without its lower 64 (32) bits, is the quotient or one less.
    uint64_t inverse;
    uint32_t small_inverse;

    struct Place {
        int64_t row;
        int64_t first;  // element
        bool inside;
    };

    // Where part number threadIdx.x + kThreads * k of this block lies.
    template <int kIlp, int N>
    __device__ __forceinline__ Place place(int k) const {
        constexpr int kPerBlock = kThreads * kIlp;
        const int64_t block_first = static_cast<int64_t>(blockIdx.x) * kPerBlock;
        auto row = static_cast<int64_t>(__umul64hi(static_cast<uint64_t>(block_first), inverse));
        int64_t left = block_first - row * parts;  // the same for all threads
        if (left >= parts) {
            ++row;
            left -= parts;
        }
        const int64_t part = left + threadIdx.x + kThreads * k;
        if (parts >= kPerBlock) {  // at most one row ends within the block
            const bool next = part >= parts;
            return {row + next, (part - (next ? parts : 0)) * N, row + next < rows};
        }
        const auto small = static_cast<uint32_t>(part), each = static_cast<uint32_t>(parts);
        uint32_t rows_on = __umulhi(small, small_inverse);
        if (small - rows_on * each >= each) ++rows_on;
        return {row + rows_on, static_cast<int64_t>(small - rows_on * each) * N,
                row + rows_on < rows};
    }

    template <int kIlp>
    tile::Config config() const {
        constexpr int64_t kPerBlock = kThreads * kIlp;
        return tile::config((rows * parts + kPerBlock - 1) / kPerBlock, kThreads);
    }
};

// Rows of a matrix: its first element, and elements from one row to the next.
template <typename T>
struct Rows {
    T* data;
    int64_t stride;

    __device__ __forceinline__ T* operator[](int64_t row) const { return data + row * stride; }
};

template <typename T>
Rows<T> rows_of(const caravan_tensor& matrix) {
    return {data<T>(matrix), row_stride(matrix)};
}

// Whether matrices of one shape have no gaps between rows, so that they may be taken for one row.
template <typename... Matrices>
bool joined(const Matrices&... matrices) {
    return ((row_stride(matrices) == matrices.shape[1]) && ...);
}

// Parts of N elements of such matrices.
template <int N>
RowParts row_parts(const caravan_tensor& matrix, bool as_one_row) {
    const int64_t rows = as_one_row ? 1 : matrix.shape[0];
    const int64_t width = as_one_row ? element_count(matrix) : matrix.shape[1];
    const int64_t parts = (width + N - 1) / N;
    const auto small = static_cast<uint32_t>(std::clamp<int64_t>(parts, 1, UINT32_MAX));
    return {rows, width, parts, UINT64_MAX / static_cast<uint64_t>(std::max<int64_t>(parts, 1)),
            UINT32_MAX / small};
}

// Whether every part of every row moves as 16 bytes.
template <typename... Matrices>
bool wide_parts(bool as_one_row, const Matrices&... matrices) {
    const auto wide = [&](const caravan_tensor& matrix) {
        return as_one_row
                   ? wide_start(matrix) && element_count(matrix) * element_bytes(matrix) % 16 == 0
                   : wide_rows(matrix);
    };
    return (wide(matrices) && ...);
}

}  // namespace cuda
}  // namespace caravan
