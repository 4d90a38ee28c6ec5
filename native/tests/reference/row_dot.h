// Products of rows, plainly.
#pragma once

#include <cstddef>
#include <vector>

namespace reference {

// weight may be empty: all factors are 1.
template <typename Real>
std::vector<Real> row_dot(const std::vector<Real>& a, const std::vector<Real>& b,
                          const std::vector<Real>& weight, Real offset, size_t rows) {
    std::vector<Real> out(rows);
    const size_t width = rows == 0 ? 0 : a.size() / rows;
    for (size_t r = 0; r < rows; ++r) {
        for (size_t i = 0; i < width; ++i) {
            const Real factor = weight.empty() ? Real{1} : offset + weight[i];
            out[r] += a[r * width + i] * b[r * width + i] * factor;
        }
    }
    return out;
}

}  // namespace reference
