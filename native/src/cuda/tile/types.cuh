// bfloat16 and conversions. Storage is float or bf16; arithmetic is float.
#pragma once

#include <cstdint>
#include <cstring>

#include "cuda/tile/arch.cuh"
#ifdef CARAVAN_SIMT
#include "simt/tile/convert.h"
#else
#include "cuda/tile/ptx/convert.cuh"
#endif

namespace caravan {
namespace tile {

// The upper half of a float32.
struct bf16 {
    uint16_t bits;
};

__device__ __forceinline__ float to_float(float value) { return value; }

__device__ __forceinline__ float to_float(bf16 value) {
    return __uint_as_float(static_cast<uint32_t>(value.bits) << 16);
}

// Rounds to nearest, ties to even; NaN stays NaN.
template <typename T>
__device__ __forceinline__ T from_float(float value);

template <>
__device__ __forceinline__ float from_float<float>(float value) {
    return value;
}

template <>
__device__ __forceinline__ bf16 from_float<bf16>(float value) {
    return {bf16_bits(value)};
}

// Two bf16 in one register, `low` in its lower half, as matrix instructions take them.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
    return bf16_pair_bits(low, high);
}

__device__ __forceinline__ float unpack_low(uint32_t pair) { return __uint_as_float(pair << 16); }

__device__ __forceinline__ float unpack_high(uint32_t pair) {
    return __uint_as_float(pair & 0xffff0000u);
}

}  // namespace tile
}  // namespace caravan
