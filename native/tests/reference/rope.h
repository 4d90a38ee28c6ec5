// Rotary position embedding, plainly; sign = -1 turns back. x [T, H, N], tables [P, pairs].
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace reference {

template <typename Real>
std::vector<Real> rope(const std::vector<Real>& x, const std::vector<int64_t>& positions,
                       const std::vector<Real>& cos, const std::vector<Real>& sin, size_t heads,
                       size_t width, size_t pairs, bool interleaved, Real sign) {
    std::vector<Real> y = x;
    for (size_t t = 0; t < positions.size(); ++t) {
        for (size_t head = 0; head < heads; ++head) {
            const size_t start = (t * heads + head) * width;
            for (size_t i = 0; i < pairs; ++i) {
                const size_t first = start + (interleaved ? 2 * i : i);
                const size_t second = start + (interleaved ? 2 * i + 1 : i + pairs);
                const size_t entry = static_cast<size_t>(positions[t]) * pairs + i;
                y[first] = x[first] * cos[entry] - x[second] * sign * sin[entry];
                y[second] = x[second] * cos[entry] + x[first] * sign * sin[entry];
            }
        }
    }
    return y;
}

}  // namespace reference
