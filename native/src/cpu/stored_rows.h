// Rows as operands of products are stored, and copies of them into scratch, as float32. Only for
// src/cpu.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {

// Rows of a matrix of T, `ld` elements apart, or those that an index names.
template <typename T>
struct StoredRows {
    const T* data;
    int64_t ld;
    const int32_t* assignments = nullptr;  // null: row r is row r; else assignments[r] / choices
    int64_t choices = 1;

    const T* operator[](int64_t r) const {
        return data + (assignments == nullptr ? r : assignments[r] / choices) * ld;
    }
};

// to[i * ld + k] = x[row + i][column + k] for i < rows and k < columns.
template <typename T>
inline void copy_along(const StoredRows<T>& x, int64_t row, int64_t rows, int64_t column,
                       int64_t columns, float* to, int64_t ld) {
    for (int64_t i = 0; i < rows; ++i) {
        const T* const from = x[row + i] + column;
        for_vectors(columns, [&](int64_t k, auto part) {
            store(to + i * ld + k, load(from + k, part), part);
        });
    }
}

// The same by whole vectors: behind a row stand zeros up to a multiple of kLanes.
template <typename T>
inline void copy_padded(const StoredRows<T>& x, int64_t row, int64_t rows, int64_t column,
                        int64_t columns, float* to, int64_t ld) {
    for (int64_t i = 0; i < rows; ++i) {
        const T* const from = x[row + i] + column;
        for_vectors(columns,
                    [&](int64_t k, auto part) { store(to + i * ld + k, load(from + k, part)); });
    }
}

// to[k * ld + j] = x[row + j][column + k] for k < columns and j < rows, zeros behind the rows up to
// a multiple of kLanes.
template <typename T>
inline void copy_turned(const StoredRows<T>& x, int64_t row, int64_t rows, int64_t column,
                        int64_t columns, float* to, int64_t ld) {
    for (int64_t j = 0; j < rows; j += kLanes) {
        for (int64_t k = 0; k < columns; k += kLanes) {
            const int64_t n = std::min<int64_t>(kLanes, columns - k);
            Vec v[kLanes];
            if (n == kLanes && j + kLanes <= rows) {
#pragma GCC unroll 16
                for (int64_t i = 0; i < kLanes; ++i) v[i] = load(x[row + j + i] + column + k);
                transpose(v);
#pragma GCC unroll 16
                for (int64_t i = 0; i < kLanes; ++i) store(to + (k + i) * ld + j, v[i]);
                continue;
            }
            for (int64_t i = 0; i < kLanes; ++i) {
                v[i] = j + i < rows ? load_part(x[row + j + i] + column + k, n) : Vec{};
            }
            transpose(v);
            for (int64_t i = 0; i < n; ++i) store(to + (k + i) * ld + j, v[i]);
        }
    }
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
