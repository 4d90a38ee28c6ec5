#include "simt/matmul.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "simt/device.h"
#include "simt/memory.h"
#include "simt/run.h"
#include "simt/stream.h"

namespace simt {
namespace {

int64_t row_stride(const caravan_tensor& matrix) {
    return matrix.shape[0] > 1 ? matrix.stride[0] : matrix.shape[1];
}

float widen(uint16_t bits) {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof value);
    return value;
}

// To the nearest, ties to even; NaN stays NaN.
uint16_t narrow(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

float get(const caravan_tensor& matrix, int64_t row, int64_t column) {
    const int64_t i = row * row_stride(matrix) + column;
    if (matrix.dtype == CARAVAN_F32) return static_cast<const float*>(matrix.data)[i];
    return widen(static_cast<const uint16_t*>(matrix.data)[i]);
}

void set(const caravan_tensor& matrix, int64_t row, int64_t column, float value) {
    const int64_t i = row * row_stride(matrix) + column;
    if (matrix.dtype == CARAVAN_F32) {
        static_cast<float*>(matrix.data)[i] = value;
    } else {
        static_cast<uint16_t*>(matrix.data)[i] = narrow(value);
    }
}

// [rows, columns] floats of the matrix or, when it is stored transposed, of its transpose.
std::vector<float> take(const caravan_tensor& matrix, bool transposed, int64_t rows,
                        int64_t columns) {
    std::vector<float> values(static_cast<size_t>(rows * columns));
    for (int64_t r = 0; r < rows; ++r) {
        float* const row = &values[static_cast<size_t>(r * columns)];
        for (int64_t c = 0; c < columns; ++c) {
            row[c] = transposed ? get(matrix, c, r) : get(matrix, r, c);
        }
    }
    return values;
}

void fill_rows(const caravan_tensor& c, int64_t from, float value) {
    for (int64_t row = from; row < c.shape[0]; ++row) {
        for (int64_t column = 0; column < c.shape[1]; ++column) set(c, row, column, value);
    }
}

void multiply(const caravan_matmul_args& args) {
    const bool transpose_a = args.transpose_a == 1;
    int64_t m = args.a.shape[transpose_a ? 1 : 0], k = args.a.shape[transpose_a ? 0 : 1];
    const int64_t n = args.c.shape[1];
    if (args.rows.data != nullptr) {
        const int64_t rows = *static_cast<const int32_t*>(args.rows.data);
        // No kernel can refuse a bad count, so it reaches the result.
        if (rows < 0 || rows > args.a.shape[0]) return fill_rows(args.c, 0, NAN);
        (transpose_a ? k : m) = rows;
    }
    const std::vector<float> a = take(args.a, transpose_a, m, k);
    const std::vector<float> b = take(args.b, args.transpose_b == 1, k, n);
    std::vector<float> sums(static_cast<size_t>(n));
    for (int64_t row = 0; row < m; ++row) {
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (int64_t i = 0; i < k; ++i) {
            const float factor = a[static_cast<size_t>(row * k + i)];
            const float* const from = &b[static_cast<size_t>(i * n)];
            for (int64_t j = 0; j < n; ++j) sums[static_cast<size_t>(j)] += factor * from[j];
        }
        for (int64_t j = 0; j < n; ++j) {
            const float product = args.alpha * sums[static_cast<size_t>(j)];
            const float before = args.beta == 0.0f ? 0.0f : args.beta * get(args.c, row, j);
            set(args.c, row, j, product + before);
        }
    }
    if (args.beta == 0.0f) fill_rows(args.c, m, 0.0f);
}

}  // namespace

caravan_status matmul_forward(int32_t, void* stream, const caravan_matmul_args& args) {
    return finish_call(enqueue(*static_cast<Stream*>(stream), [args]() -> Outcome {
        const std::pair<const char*, const caravan_tensor*> tensors[] = {
            {"a", &args.a}, {"b", &args.b}, {"c", &args.c}, {"rows", &args.rows}};
        for (const auto& [name, tensor] : tensors) {
            if (tensor->data == nullptr) continue;
            const std::string problem =
                device_memory().refusal(tensor->data, static_cast<size_t>(tensor->bytes));
            if (!problem.empty()) {
                return {CARAVAN_INVALID_ARGUMENT,
                        std::string("matmul_forward: ") + name + ": " + problem};
            }
        }
        multiply(args);
        return {};
    }));
}

}  // namespace simt
