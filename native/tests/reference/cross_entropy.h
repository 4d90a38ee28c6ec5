// Soft-max cross-entropy of one row, plainly.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace reference {

template <typename Real>
struct CrossEntropy {
    Real nll;
    std::vector<Real> gradient;  // (softmax - onehot) * scale
};

template <typename Real>
CrossEntropy<Real> cross_entropy(const std::vector<Real>& logits, size_t target, Real scale) {
    const Real most = *std::max_element(logits.begin(), logits.end());
    Real sum = 0;
    for (Real logit : logits) sum += std::exp(logit - most);
    CrossEntropy<Real> result{most + std::log(sum) - logits[target], {}};
    for (size_t i = 0; i < logits.size(); ++i) {
        const Real p = std::exp(logits[i] - most) / sum;
        result.gradient.push_back((p - (i == target ? Real{1} : Real{0})) * scale);
    }
    return result;
}

}  // namespace reference
