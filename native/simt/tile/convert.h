// Conversions as cvt does them. PTX ISA, section "Data Movement and Conversion Instructions: cvt".
#pragma once

#include <cstdint>
#include <cstring>

namespace caravan {
namespace tile {

// Nearest, ties to even; every NaN becomes the canonical 0x7fff, as the manual says of cvt to bf16.
inline uint16_t bf16_bits(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline uint32_t bf16_pair_bits(float low, float high) {
    return static_cast<uint32_t>(bf16_bits(high)) << 16 | bf16_bits(low);
}

}  // namespace tile
}  // namespace caravan
