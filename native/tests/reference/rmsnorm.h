// RMSNorm, plainly. Real = double is the reference; Real = float the plain implementation of the
// same precision with which a kernel's error is compared.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace reference {

template <typename Real>
struct RmsNorm {
    std::vector<Real> y, rstd;
};

template <typename Real>
RmsNorm<Real> rmsnorm_forward(const std::vector<Real>& h, const std::vector<Real>& weight,
                              Real offset, Real eps) {
    const size_t width = weight.size();
    const size_t rows = h.size() / width;
    RmsNorm<Real> result{std::vector<Real>(h.size()), std::vector<Real>(rows)};
    for (size_t r = 0; r < rows; ++r) {
        Real squares = 0;
        for (size_t i = 0; i < width; ++i) squares += h[r * width + i] * h[r * width + i];
        result.rstd[r] = 1 / std::sqrt(squares / static_cast<Real>(width) + eps);
        for (size_t i = 0; i < width; ++i) {
            result.y[r * width + i] = h[r * width + i] * result.rstd[r] * (offset + weight[i]);
        }
    }
    return result;
}

template <typename Real>
struct RmsNormGradient {
    std::vector<Real> d_x, d_weight;
};

template <typename Real>
RmsNormGradient<Real> rmsnorm_backward(const std::vector<Real>& d_y, const std::vector<Real>& h,
                                       const std::vector<Real>& weight,
                                       const std::vector<Real>& rstd, Real offset) {
    const size_t width = weight.size();
    RmsNormGradient<Real> result{std::vector<Real>(h.size()), std::vector<Real>(width)};
    for (size_t r = 0; r < rstd.size(); ++r) {
        const Real* dy = d_y.data() + r * width;
        const Real* x = h.data() + r * width;
        Real mean = 0;
        for (size_t i = 0; i < width; ++i) mean += dy[i] * (offset + weight[i]) * x[i] * rstd[r];
        mean /= static_cast<Real>(width);
        for (size_t i = 0; i < width; ++i) {
            const Real normal = x[i] * rstd[r];
            result.d_x[r * width + i] = rstd[r] * (dy[i] * (offset + weight[i]) - normal * mean);
            result.d_weight[i] += dy[i] * normal;
        }
    }
    return result;
}

}  // namespace reference
