// Maximum of a row and the sum of exp(x - maximum), read once.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

// Elements of a row that are read twice in a row, the second time from the first-level cache.
constexpr int64_t kStretch = 2048;

struct SoftMax {
    float max;
    double sum;  // of exp(x - max)
};

template <typename T>
float stretch_max(const T* x, int64_t n) {
    Vec most = broadcast(-INFINITY);
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) most = max(load(x + i), most);
    if (i < n) most = max(load_part(x + i, n - i, -INFINITY), most);
    return reduce_max(most);
}

// The running sum is brought to the new maximum whenever one is found (Milakov and Gimelshein 2018,
// arXiv 1805.02867, algorithm 3). Stretches are added in double: a vocabulary has 10^5 terms.
template <typename T>
SoftMax soft_max(const T* x, int64_t n) {
    SoftMax result = {-INFINITY, 0.0};
    for (int64_t first = 0; first < n; first += kStretch) {
        const int64_t count = std::min(kStretch, n - first);
        const T* const part_x = x + first;
        const float most = stretch_max(part_x, count);
        if (most > result.max) {
            result.sum *= std::exp(static_cast<double>(result.max) - most);
            result.max = most;
        }
        // Nothing but -infinity so far: exp(x - max) would be NaN instead of the 0 that it is.
        const float shift = result.max == -INFINITY ? 0.0f : result.max;
        int64_t i = 0;
        Vec sum = {};
        for (; i + kLanes <= count; i += kLanes) sum += exp(load(part_x + i) - shift);
        if (i < count) sum += exp(load_part(part_x + i, count - i, -INFINITY) - shift);
        result.sum += static_cast<double>(reduce_add(sum));
    }
    return result;
}

}  // namespace
}  // namespace CARAVAN_ISA
}  // namespace caravan
