// c = alpha op(a) op(b) + beta c by the header's formula, in a type of choice: double is the
// reference, float the plain implementation that the kernels are measured against.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace reference {

struct Matmul {
    int64_t m, n, k;
    bool transpose_a = false, transpose_b = false;
    double alpha = 1, beta = 0;
    int64_t rows = -1;  // the header's limit, -1 for none
};

// a, b and c are packed in their stored layouts; returns c.
template <typename Real>
std::vector<double> matmul(const Matmul& how, const std::vector<double>& a,
                           const std::vector<double>& b, const std::vector<double>& c) {
    int64_t m = how.m, k = how.k;
    if (how.rows >= 0) (how.transpose_a ? k : m) = how.rows;
    const auto at = [](const std::vector<double>& matrix, int64_t i) {
        return static_cast<Real>(matrix[static_cast<size_t>(i)]);
    };
    std::vector<double> result;
    for (int64_t i = 0; i < how.m; ++i) {
        for (int64_t j = 0; j < how.n; ++j) {
            const Real before = how.beta == 0 ? 0 : at(c, i * how.n + j);
            Real sum = 0;
            for (int64_t l = 0; i < m && l < k; ++l) {
                sum += at(a, how.transpose_a ? l * how.m + i : i * how.k + l) *
                       at(b, how.transpose_b ? j * how.k + l : l * how.n + j);
            }
            const Real scaled = static_cast<Real>(how.alpha) * sum;
            result.push_back(i < m ? scaled + static_cast<Real>(how.beta) * before : before);
        }
    }
    return result;
}

}  // namespace reference
