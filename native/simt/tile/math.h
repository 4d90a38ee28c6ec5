// ex2, rcp and sqrt. The approximate instructions are exact here, but for results that they flush
// to 0.
#pragma once

#include <cmath>
#include <limits>

namespace caravan {
namespace tile {

inline float exp2_flushed(float x) {
    const float value = std::exp2(x);
    return value < std::numeric_limits<float>::min() ? 0.0f : value;
}

inline float square_root(float x) { return std::sqrt(x); }

inline float reciprocal(float x) { return 1.0f / x; }

}  // namespace tile
}  // namespace caravan
