// out = silu(gate) * up.
#include "cpu/glu.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

// silu(x) = x s(x) and silu'(x) = s(x) (1 + x (1 - s(x))) with s(x) = 1 / (1 + exp(-x)); 1 - s(x)
// is exp(-x) s(x), without cancellation.
inline Activation silu(Vec x) {
    const Vec e = exp(-x);
    const Vec s = 1.0f / (1.0f + e);
    return {x * s, s * (1.0f + x * (e * s))};
}

}  // namespace

void swiglu_forward(Pool& pool, const caravan_glu_forward_args& args) {
    glu_forward(pool, args, silu);
}

void swiglu_backward(Pool& pool, const caravan_glu_backward_args& args) {
    glu_backward(pool, args, silu);
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
