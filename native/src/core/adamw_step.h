// What is the same for all elements of an AdamW step, from what lies in the state: computed by the
// same operations on every device.
#pragma once

#include <cmath>
#include <cstdint>

#include "caravan/caravan.h"
#include "core/host_device.h"

namespace caravan {

// base^exponent by repeated squaring, exponent at least 0.
CARAVAN_HOST_DEVICE inline double power(double base, int64_t exponent) {
    double result = 1;
    for (; exponent > 0; exponent /= 2) {
        if (exponent % 2 != 0) result *= base;
        base *= base;
    }
    return result;
}

struct AdamWStep {
    uint64_t seed, number;
    float clip, lr, eps;
    float beta1, beta2, rest1, rest2;  // rest = 1 - beta
    float m_correction, v_correction;  // 1 / (1 - beta^step): NaN for a step below 1
};

CARAVAN_HOST_DEVICE inline float adamw_correction(float beta, int64_t step) {
    const double rest =
        step < 1 ? static_cast<double>(NAN) : 1 - power(static_cast<double>(beta), step);
    return static_cast<float>(1 / rest);
}

CARAVAN_HOST_DEVICE inline AdamWStep adamw_step_of(const caravan_step_state& state, float beta1,
                                                   float beta2, float eps) {
    return {state.seed,
            static_cast<uint64_t>(state.step),
            state.clip_factor,
            state.lr,
            eps,
            beta1,
            beta2,
            static_cast<float>(1 - static_cast<double>(beta1)),
            static_cast<float>(1 - static_cast<double>(beta2)),
            adamw_correction(beta1, state.step),
            adamw_correction(beta2, state.step)};
}

}  // namespace caravan
