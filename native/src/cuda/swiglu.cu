// out = silu(gate) * up.  Bytes: forward 3 elements each element, backward 5 (glu.cuh).
#include "cuda/glu.cuh"

namespace caravan {
namespace cuda {

void swiglu_forward(tile::Launcher& launcher, const caravan_glu_forward_args& args) {
    glu_forward<Silu>(launcher, args);
}

void swiglu_backward(tile::Launcher& launcher, const caravan_glu_backward_args& args) {
    glu_backward<Silu>(launcher, args);
}

}  // namespace cuda
}  // namespace caravan
