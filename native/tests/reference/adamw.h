// AdamW, plainly.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace reference {

template <typename Real>
struct AdamW {
    Real lr, beta1, beta2, eps, clip;

    // decay[i] is weight_decay where it applies to element i, else 0.
    void step(int t, std::vector<Real>& param, const std::vector<Real>& grad, std::vector<Real>& m,
              std::vector<Real>& v, const std::vector<Real>& decay) const {
        const Real m_rest = 1 - static_cast<Real>(std::pow(static_cast<double>(beta1), t));
        const Real v_rest = 1 - static_cast<Real>(std::pow(static_cast<double>(beta2), t));
        for (size_t i = 0; i < param.size(); ++i) {
            const Real g = clip * grad[i];
            m[i] = beta1 * m[i] + (1 - beta1) * g;
            v[i] = beta2 * v[i] + (1 - beta2) * g * g;
            param[i] -=
                lr * (m[i] / m_rest / (std::sqrt(v[i] / v_rest) + eps) + decay[i] * param[i]);
        }
    }
};

}  // namespace reference
