// out = silu(gate) * up.
#include "cpu/glu.h"

namespace caravan {
namespace CARAVAN_ISA {

void swiglu_forward(Pool& pool, const caravan_glu_forward_args& args) {
    glu_forward(pool, args, silu<VectorMath, Vec>);
}

void swiglu_backward(Pool& pool, const caravan_glu_backward_args& args) {
    glu_backward(pool, args, silu<VectorMath, Vec>);
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
