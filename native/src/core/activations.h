// The functions of the gated units and their derivatives, for every device: V is float, or a vector
// of them. Math gives exp (finite for every finite number), inverse and clamp, which all keep NaN.
// Source of gelu: Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2.
#pragma once

#include "core/host_device.h"

namespace caravan {

template <typename V>
struct Activation {
    V value;       // f(x)
    V derivative;  // f'(x); what is not used of it is not computed
};

// silu(x) = x s(x) and silu'(x) = s(x) (1 + x (1 - s(x))) with s(x) = 1 / (1 + exp(-x)); 1 - s(x)
// is exp(-x) s(x), without cancellation.
template <typename Math, typename V>
CARAVAN_HOST_DEVICE inline Activation<V> silu(V x) {
    const V e = Math::exp(-x);
    const V s = Math::inverse(1.0f + e);
    return {x * s, s * (1.0f + x * (e * s))};
}

// exp(z^2) erfc(z) / t for z >= 0, t = 1 / (1 + z / 2), as a polynomial in s = 2 t - 1: a minimax
// fit over z = 0 .. 10, 5e-8 of the value at most. erfc from it is good to 4e-7 of its value
// wherever that is a normal number: gelu keeps its digits for negative x, where 1 + erf(x) cancels.
template <typename V>
CARAVAN_HOST_DEVICE inline V scaled_erfc(V t) {
    const V s = 2.0f * t - 1.0f;
    V p = s * -2.30738072e-4f + 3.77336813e-4f;
    p = p * s + 1.48952735e-3f;
    p = p * s - 3.21864677e-3f;
    p = p * s - 1.07417889e-2f;
    p = p * s + 1.82175929e-2f;
    p = p * s + 1.39734816e-1f;
    p = p * s + 3.43580487e-1f;
    p = p * s + 5.10791371e-1f;
    return p * t;
}

// The same to 3e-5 of the value, for results that are rounded to bfloat16, to 2e-3.
template <typename V>
CARAVAN_HOST_DEVICE inline V scaled_erfc_for_bf16(V t) {
    const V s = 2.0f * t - 1.0f;
    V p = s * -1.78926e-3f - 9.67668e-3f;
    p = p * s + 1.748913e-2f;
    p = p * s + 1.3949503e-1f;
    p = p * s + 3.4365536e-1f;
    p = p * s + 5.1080088e-1f;
    return p * t;
}

// gelu(x) = x P(x) with the normal distribution's P; gelu'(x) = P(x) + x exp(-x^2 / 2) / sqrt(2
// pi).
template <typename Math, typename V, bool kForBf16 = false>
CARAVAN_HOST_DEVICE inline Activation<V> gelu(V x) {
    const V size = x < V{} ? -x : x;
    const V bell = Math::exp(x * x * -0.5f);
    const V t = Math::inverse(1.0f + size * 0.35355339f);  // z = |x| / sqrt(2)
    const V tail = 0.5f * bell * (kForBf16 ? scaled_erfc_for_bf16(t) : scaled_erfc(t));
    const V p = x < V{} ? tail : 1.0f - tail;
    return {x * p, p + x * bell * 0.39894228f};
}

// Its tanh form: x s(2u) = x (1 + tanh(u)) / 2, s(y) = 1 / (1 + exp(-y)), u = sqrt(2 / pi) (x +
// 0.044715 x^3). Beyond 30 all is settled, and x^3 might be infinite. 1 - s is exp(-y) s, without
// cancellation.
template <typename Math, typename V>
CARAVAN_HOST_DEVICE inline Activation<V> gelu_tanh(V x) {
    const V c = Math::clamp(x, -30.0f, 30.0f);
    const V square = c * c;
    const V u2 = 1.59576912f * c * (1.0f + 0.044715f * square);
    const V u2_derivative = 1.59576912f * (1.0f + 0.134145f * square);
    const V e = Math::exp(-u2);
    const V s = Math::inverse(1.0f + e);
    return {x * s, s + c * s * (e * s) * u2_derivative};
}

}  // namespace caravan
