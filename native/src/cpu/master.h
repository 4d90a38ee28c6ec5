// Parameters as an optimizer sees them: float32 masters, stored whole or, for bfloat16 parameters,
// as the parameter and a 16-bit remainder, from which every bit of the master comes back:
//   master bits = (parameter bits << 16) + (remainder as a signed number)
// The parameter is the master rounded to nearest. A tie must go up: down, its remainder of +2^15
// would not fit.
#pragma once

#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {

template <typename P>
struct Master;

template <>
struct Master<float> {
    float* param;

    explicit Master(const caravan_tensor& param_, const caravan_tensor&)
        : param(data<float>(param_)) {}

    template <typename P>
    Vec read(int64_t i, P part) const {
        return load(param + i, part);
    }
    template <typename P>
    void write(int64_t i, Vec value, P part) const {
        store(param + i, value, part);
    }
};

template <>
struct Master<bf16> {
    uint16_t* param;
    uint16_t* remainder;

    Master(const caravan_tensor& param_, const caravan_tensor& remainder_)
        : param(data<uint16_t>(param_)), remainder(data<uint16_t>(remainder_)) {}

    template <typename P>
    Vec read(int64_t i, P part) const {
        const VecU high = load_bits(param + i, part) << 16;
        const VecI low = reinterpret_cast<VecI>(load_bits(remainder + i, part) << 16) >> 16;
        return reinterpret_cast<Vec>(high + reinterpret_cast<VecU>(low));
    }
    template <typename P>
    void write(int64_t i, Vec value, P part) const {
        // A NaN of ones alone would be rounded to a parameter of -0.
        const VecU bits = value == value ? reinterpret_cast<VecU>(value) : VecU{} + 0x7fc00000u;
        store_bits(param + i, (bits + 0x8000) >> 16, part);
        store_bits(remainder + i, bits & 0xffff, part);
    }
};

}  // namespace CARAVAN_ISA
}  // namespace caravan
