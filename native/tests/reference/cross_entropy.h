// Soft-max cross-entropy of one row, and of some of several, plainly.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
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

// What a chunk of rows comes to, in double and as plain float32 has it.
struct CrossEntropyRows {
    std::vector<double> exact, plain;          // gradients of all rows; 0 of those not in use
    std::vector<double> exact_nll, plain_nll;  // of rows in use
    double largest = 0;                        // logit, in size: what a loss is the difference of
};

// Rows of logits, in use where row + first is below count; targets are numbered from row -first on.
inline CrossEntropyRows cross_entropy_rows(const std::vector<double>& logits, int64_t vocabulary,
                                           const std::vector<double>& targets, int64_t first,
                                           int64_t count, float scale) {
    CrossEntropyRows result;
    result.exact.resize(logits.size());
    result.plain.resize(logits.size());
    const int64_t rows = static_cast<int64_t>(logits.size()) / vocabulary;
    for (int64_t i = 0; i < rows && first + i < count; ++i) {
        const auto from = logits.begin() + i * vocabulary;
        const std::vector<double> row(from, from + vocabulary);
        const std::vector<float> single(row.begin(), row.end());
        const auto target = static_cast<size_t>(targets[static_cast<size_t>(first + i)]);
        const auto in_double = cross_entropy<double>(row, target, scale);
        const auto in_float = cross_entropy<float>(single, target, scale);
        result.exact_nll.push_back(in_double.nll);
        result.plain_nll.push_back(in_float.nll);
        std::copy(in_double.gradient.begin(), in_double.gradient.end(),
                  result.exact.begin() + i * vocabulary);
        std::copy(in_float.gradient.begin(), in_float.gradient.end(),
                  result.plain.begin() + i * vocabulary);
    }
    for (double logit : logits) result.largest = std::fmax(result.largest, std::fabs(logit));
    return result;
}

}  // namespace reference
