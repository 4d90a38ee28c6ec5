// Parameters as an optimizer sees them: float32 masters, stored whole or, for bfloat16 parameters,
// as the parameter and a 16-bit remainder: caravan.h, adamw. The parameter is the master rounded to
// nearest; a tie must go up: down, its remainder of +2^15 would not fit.
#pragma once

#include "cuda/tensors.h"
#include "cuda/tile/vector.cuh"

namespace caravan {
namespace cuda {

__device__ __forceinline__ float join(uint16_t param, uint16_t remainder) {
    const auto low = static_cast<int32_t>(static_cast<int16_t>(remainder));
    return __uint_as_float((static_cast<uint32_t>(param) << 16) + static_cast<uint32_t>(low));
}

// A NaN whose bits are all ones, as devices make them, would be rounded to a parameter of -0.
__device__ __forceinline__ void split(float master, uint16_t& param, uint16_t& remainder) {
    const uint32_t bits = master != master ? 0x7fc00000u : __float_as_uint(master);
    param = static_cast<uint16_t>((bits + 0x8000u) >> 16);
    remainder = static_cast<uint16_t>(bits);
}

// kVector neighbouring masters from element i on.
template <typename P>
struct Master;

template <>
struct Master<float> {
    float* param;

    explicit Master(const caravan_tensor& param_, const caravan_tensor&)
        : param(data<float>(param_)) {}

    template <int kVector>
    __device__ __forceinline__ tile::Vector<float, kVector> read(int64_t i) const {
        return tile::load<kVector>(param + i);
    }
    template <int kVector>
    __device__ __forceinline__ void write(int64_t i,
                                          const tile::Vector<float, kVector>& value) const {
        tile::store(param + i, value);
    }
};

template <>
struct Master<tile::bf16> {
    uint16_t* param;
    uint16_t* remainder;

    Master(const caravan_tensor& param_, const caravan_tensor& remainder_)
        : param(data<uint16_t>(param_)), remainder(data<uint16_t>(remainder_)) {}

    template <int kVector>
    __device__ __forceinline__ tile::Vector<float, kVector> read(int64_t i) const {
        const auto high = tile::load<kVector>(param + i);
        const auto low = tile::load<kVector>(remainder + i);
        tile::Vector<float, kVector> value;
#pragma unroll
        for (int j = 0; j < kVector; ++j) value[j] = join(high[j], low[j]);
        return value;
    }
    template <int kVector>
    __device__ __forceinline__ void write(int64_t i,
                                          const tile::Vector<float, kVector>& value) const {
        tile::Vector<uint16_t, kVector> high, low;
#pragma unroll
        for (int j = 0; j < kVector; ++j) split(value[j], high[j], low[j]);
        tile::store(param + i, high);
        tile::store(remainder + i, low);
    }
};

}  // namespace cuda
}  // namespace caravan
