#include "api/glu.h"

caravan_status caravan_geglu_forward(caravan_stream stream, const caravan_glu_forward_args* args) {
    return caravan::glu("geglu_forward", stream, args, &caravan::CpuKernels::geglu_forward,
                        &caravan::DeviceKernels::geglu_forward);
}

caravan_status caravan_geglu_backward(caravan_stream stream,
                                      const caravan_glu_backward_args* args) {
    return caravan::glu("geglu_backward", stream, args, &caravan::CpuKernels::geglu_backward,
                        &caravan::DeviceKernels::geglu_backward);
}
