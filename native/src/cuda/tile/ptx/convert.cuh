// Conversions by single instructions. PTX ISA, section "Data Movement and Conversion Instructions:
// cvt".
#pragma once

#include <cstdint>

namespace caravan {
namespace tile {

__device__ __forceinline__ uint16_t bf16_bits(float value) {
    uint16_t bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

// cvt takes the upper half first.
__device__ __forceinline__ uint32_t bf16_pair_bits(float low, float high) {
    uint32_t bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
}

}  // namespace tile
}  // namespace caravan
