// Gated units, plainly: out = f(gate) * up.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace reference {

template <typename Real>
Real silu(Real x) {
    return x / (1 + std::exp(-x));
}

template <typename Real>
Real silu_derivative(Real x) {
    const Real s = 1 / (1 + std::exp(-x));
    return s * (1 + x * (1 - s));
}

template <typename Real, typename F>
std::vector<Real> glu_forward(const std::vector<Real>& gate, const std::vector<Real>& up, F&& f) {
    std::vector<Real> out(gate.size());
    for (size_t i = 0; i < gate.size(); ++i) out[i] = f(gate[i]) * up[i];
    return out;
}

template <typename Real>
struct GluGradient {
    std::vector<Real> d_gate, d_up;
};

template <typename Real, typename F, typename Derivative>
GluGradient<Real> glu_backward(const std::vector<Real>& d_out, const std::vector<Real>& gate,
                               const std::vector<Real>& up, F&& f, Derivative&& derivative) {
    GluGradient<Real> result{std::vector<Real>(gate.size()), std::vector<Real>(gate.size())};
    for (size_t i = 0; i < gate.size(); ++i) {
        result.d_gate[i] = d_out[i] * up[i] * derivative(gate[i]);
        result.d_up[i] = d_out[i] * f(gate[i]);
    }
    return result;
}

}  // namespace reference
