// The matrix product that native tests set with caravan_set_sgemm: plain loops, and no patience
// with arguments that a BLAS would refuse.
#pragma once

#include <vector>

#include "tests/harness.h"

namespace reference {

inline void sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
                  const float* a, int lda, const float* b, int ldb, float beta, float* c, int ldc) {
    const bool ta = transpose_a == 112, tb = transpose_b == 112;
    CHECK(order == 101 && (ta || transpose_a == 111) && (tb || transpose_b == 111));
    CHECK(m > 0 && n > 0 && k > 0 && lda >= (ta ? m : k) && ldb >= (tb ? k : n) && ldc >= n);
    std::vector<float> sums(static_cast<size_t>(n));
    for (int64_t i = 0; i < m; ++i) {
        for (float& sum : sums) sum = 0;
        for (int64_t l = 0; l < k; ++l) {
            const float factor = ta ? a[l * lda + i] : a[i * lda + l];
            for (int64_t j = 0; j < n; ++j) {
                sums[static_cast<size_t>(j)] += factor * (tb ? b[j * ldb + l] : b[l * ldb + j]);
            }
        }
        for (int64_t j = 0; j < n; ++j) {
            float& out = c[i * ldc + j];
            const float sum = alpha * sums[static_cast<size_t>(j)];
            out = beta == 0 ? sum : sum + beta * out;
        }
    }
}

inline void set_sgemm() { CHECK_OK(caravan_set_sgemm(reinterpret_cast<void*>(&sgemm))); }

}  // namespace reference
