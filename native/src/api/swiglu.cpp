#include "api/glu.h"

caravan_status caravan_swiglu_forward(caravan_stream stream, const caravan_glu_forward_args* args) {
    return caravan::glu("swiglu_forward", stream, args, &caravan::CpuKernels::swiglu_forward,
                        &caravan::DeviceKernels::swiglu_forward);
}

caravan_status caravan_swiglu_backward(caravan_stream stream,
                                       const caravan_glu_backward_args* args) {
    return caravan::glu("swiglu_backward", stream, args, &caravan::CpuKernels::swiglu_backward,
                        &caravan::DeviceKernels::swiglu_backward);
}
