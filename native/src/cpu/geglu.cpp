// out = gelu(gate) * up, gelu(x) = x P(x) with the normal distribution's P, or its tanh form.
// Source: Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2.
#include "cpu/glu.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

// exp(z^2) erfc(z) / t for z >= 0, t = 1 / (1 + z / 2), as a polynomial in s = 2 t - 1: a minimax
// fit over z = 0 .. 10, 5e-8 of the value at most. erfc from it is good to 4e-7 of its value
// wherever that is a normal number: gelu keeps its digits for negative x, where 1 + erf(x) cancels.
inline Vec scaled_erfc(Vec t) {
    const Vec s = 2.0f * t - 1.0f;
    Vec p = broadcast(-2.30738072e-4f);
    p = p * s + 3.77336813e-4f;
    p = p * s + 1.48952735e-3f;
    p = p * s - 3.21864677e-3f;
    p = p * s - 1.07417889e-2f;
    p = p * s + 1.82175929e-2f;
    p = p * s + 1.39734816e-1f;
    p = p * s + 3.43580487e-1f;
    p = p * s + 5.10791371e-1f;
    return p * t;
}

// gelu'(x) = P(x) + x exp(-x^2 / 2) / sqrt(2 pi).
inline Activation gelu(Vec x) {
    const Vec size = x < Vec{} ? -x : x;
    const Vec bell = exp(x * x * -0.5f);
    const Vec t = 1.0f / (1.0f + size * 0.35355339f);  // z = |x| / sqrt(2)
    const Vec tail = 0.5f * bell * scaled_erfc(t);
    const Vec p = x < Vec{} ? tail : 1.0f - tail;
    return {x * p, p + x * bell * 0.39894228f};
}

// x s(2u) = x (1 + tanh(u)) / 2, s(y) = 1 / (1 + exp(-y)), u = sqrt(2 / pi) (x + 0.044715 x^3).
// Beyond 30 all is settled, and x^3 might be infinite. 1 - s is exp(-y) s, without cancellation.
inline Activation gelu_tanh(Vec x) {
    const Vec c = min(broadcast(30.0f), max(broadcast(-30.0f), x));  // this way a NaN stays one
    const Vec square = c * c;
    const Vec u2 = 1.59576912f * c * (1.0f + 0.044715f * square);
    const Vec u2_derivative = 1.59576912f * (1.0f + 0.134145f * square);
    const Vec e = exp(-u2);
    const Vec s = 1.0f / (1.0f + e);
    return {x * s, s + c * s * (e * s) * u2_derivative};
}

}  // namespace

void geglu_forward(Pool& pool, const caravan_glu_forward_args& args) {
    if (args.approximate != 0) {
        glu_forward(pool, args, gelu_tanh);
    } else {
        glu_forward(pool, args, gelu);
    }
}

void geglu_backward(Pool& pool, const caravan_glu_backward_args& args) {
    if (args.approximate != 0) {
        glu_backward(pool, args, gelu_tanh);
    } else {
        glu_backward(pool, args, gelu);
    }
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
