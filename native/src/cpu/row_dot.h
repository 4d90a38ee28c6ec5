// The weighted product of two rows; see row_dot in caravan.h.
#pragma once

#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {

// sum of a * b * (offset + weight) over n elements
template <typename T, typename W>
float row_dot(const T* a, const T* b, const W* weight, float offset, int64_t n) {
    return sum_vectors(n, [&](int64_t i, auto part) {
        return load(a + i, part) * (load(weight + i, part) + offset) * load(b + i, part);
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
