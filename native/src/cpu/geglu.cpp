// out = gelu(gate) * up, by erf or by tanh.
#include "cpu/glu.h"

namespace caravan {
namespace CARAVAN_ISA {

void geglu_forward(Pool& pool, const caravan_glu_forward_args& args) {
    if (args.approximate != 0) {
        glu_forward(pool, args, gelu_tanh<VectorMath, Vec>);
    } else {
        glu_forward(pool, args, gelu<VectorMath, Vec>);
    }
}

void geglu_backward(Pool& pool, const caravan_glu_backward_args& args) {
    if (args.approximate != 0) {
        glu_backward(pool, args, gelu_tanh<VectorMath, Vec>);
    } else {
        glu_backward(pool, args, gelu<VectorMath, Vec>);
    }
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
