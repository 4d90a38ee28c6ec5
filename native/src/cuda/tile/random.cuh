// Counter-based random numbers, the very ones of the CPU (core/random.h), and rounding by them.
#pragma once

#include "core/random.h"
#include "cuda/tile/types.cuh"

namespace caravan {
namespace tile {

// Rounds up with a probability equal to the part cut off, so that the mean is kept. `random` are 16
// random bits or more, of which the lower 16 count. Infinities and NaN are kept.
__device__ __forceinline__ bf16 round_stochastically(float value, uint32_t random) {
    const uint32_t bits = __float_as_uint(value);
    if ((bits & 0x7f800000u) == 0x7f800000u) return from_float<bf16>(value);
    return {static_cast<uint16_t>((bits + (random & 0xffffu)) >> 16)};
}

}  // namespace tile
}  // namespace caravan
