// Checks of the gated units, which share their argument structs.
#pragma once

#include "api/dispatch.h"

namespace caravan {

inline void check_glu(const char* op, const caravan_glu_forward_args& args) {
    const Check check(op);
    check.matrix("gate", args.gate, {CARAVAN_F32, CARAVAN_BF16}, kAny, kAny);
    const auto like_gate = [&](const char* name, const caravan_tensor& tensor) {
        check.matrix(name, tensor, {CARAVAN_F32, CARAVAN_BF16}, args.gate.shape[0],
                     args.gate.shape[1]);
        check.same_dtype(name, tensor, "gate", args.gate);
    };
    like_gate("up", args.up);
    like_gate("out", args.out);
}

inline void check_glu(const char* op, const caravan_glu_backward_args& args) {
    const Check check(op);
    check.matrix("gate", args.gate, {CARAVAN_F32, CARAVAN_BF16}, kAny, kAny);
    const auto like_gate = [&](const char* name, const caravan_tensor& tensor) {
        check.matrix(name, tensor, {CARAVAN_F32, CARAVAN_BF16}, args.gate.shape[0],
                     args.gate.shape[1]);
        check.same_dtype(name, tensor, "gate", args.gate);
    };
    like_gate("d_out", args.d_out);
    like_gate("up", args.up);
    like_gate("d_gate", args.d_gate);
    like_gate("d_up", args.d_up);
}

// One call of a gated unit: checks, then the kernel of the stream's device.
template <typename Args>
caravan_status glu(const char* op, caravan_stream stream, const Args* args,
                   void (*CpuKernels::*cpu)(Pool&, const Args&),
                   caravan_status (*DeviceKernels::*device)(int32_t, void*, const Args&)) {
    return guarded([&] {
        const auto known = checked_args(op, args);
        check_glu(op, known);
        const auto& on = known_stream(op, stream);
        launch(op, on, known, cpu, device);
    });
}

}  // namespace caravan
