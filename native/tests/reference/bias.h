// A bias on every row, plainly, and its gradient.
#pragma once

#include <cstddef>
#include <vector>

namespace reference {

template <typename Real>
std::vector<Real> bias_forward(const std::vector<Real>& x, const std::vector<Real>& bias) {
    std::vector<Real> y(x.size());
    for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] + bias[i % bias.size()];
    return y;
}

template <typename Real>
std::vector<Real> bias_backward(const std::vector<Real>& d_y, size_t width) {
    std::vector<Real> d_bias(width);
    for (size_t i = 0; i < d_y.size(); ++i) d_bias[i % width] += d_y[i];
    return d_bias;
}

}  // namespace reference
