// Float32 masters in the tests of optimizers: whole, or split as caravan.h defines it.
#pragma once

#include "tests/harness.h"

namespace test {

// As a checkpoint in float32 is taken in: the nearest bf16 (ties up) and what is left.
inline void set_masters(Tensor& param, Tensor& remainder, const std::vector<double>& values) {
    for (int64_t i = 0; i < param.count(); ++i) {
        const auto single = static_cast<float>(values[static_cast<size_t>(i)]);
        if (param.dtype() == CARAVAN_F32) {
            param.set(i, single);
            continue;
        }
        uint32_t bits;
        std::memcpy(&bits, &single, sizeof bits);
        param.as<uint16_t>()[i] = static_cast<uint16_t>((bits + 0x8000) >> 16);
        remainder.as<uint16_t>()[i] = static_cast<uint16_t>(bits);
    }
}

inline std::vector<double> masters(Tensor& param, Tensor& remainder) {
    if (param.dtype() == CARAVAN_F32) return param.values();
    settle();
    std::vector<double> values;
    for (int64_t i = 0; i < param.count(); ++i) {
        const auto low = static_cast<int16_t>(remainder.as<uint16_t>()[i]);
        const uint32_t bits = (static_cast<uint32_t>(param.as<uint16_t>()[i]) << 16) +
                              static_cast<uint32_t>(static_cast<int32_t>(low));
        float value;
        std::memcpy(&value, &bits, sizeof value);
        values.push_back(value);
    }
    return values;
}

}  // namespace test
