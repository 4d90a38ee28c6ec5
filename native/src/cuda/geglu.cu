// out = gelu(gate) * up, by erf or by tanh.  Bytes: forward 3 elements each element, backward 5
// (glu.cuh).
#include "cuda/glu.cuh"

namespace caravan {
namespace cuda {

void geglu_forward(tile::Launcher& launcher, const caravan_glu_forward_args& args) {
    if (args.approximate != 0) {
        glu_forward<GeluTanh>(launcher, args);
    } else {
        glu_forward<Gelu>(launcher, args);
    }
}

void geglu_backward(tile::Launcher& launcher, const caravan_glu_backward_args& args) {
    if (args.approximate != 0) {
        glu_backward<GeluTanh>(launcher, args);
    } else {
        glu_backward<Gelu>(launcher, args);
    }
}

}  // namespace cuda
}  // namespace caravan
