#include "api/dispatch.h"
#include "core/blocks.h"

namespace {

constexpr const char* kForward = "bias_forward";
constexpr const char* kBackward = "bias_backward";

void check(const caravan_bias_forward_args& args) {
    const caravan::Check check(kForward);
    check.matrix("x", args.x, {CARAVAN_F32, CARAVAN_BF16}, caravan::kAny, caravan::kAny);
    check.matrix("y", args.y, {CARAVAN_F32, CARAVAN_BF16}, args.x.shape[0], args.x.shape[1]);
    check.same_dtype("y", args.y, "x", args.x);
    check.packed("bias", args.bias, {CARAVAN_F32, CARAVAN_BF16}, {args.x.shape[1]});
}

int64_t workspace_bytes(int32_t kind, const caravan_bias_backward_args& args) {
    caravan::Check(kBackward).shape("d_y", args.d_y, 2);
    const int64_t floats =
        caravan::partial_blocks(kind, args.d_y.shape[0]).count * args.d_y.shape[1];
    return floats * static_cast<int64_t>(sizeof(float));
}

void check(int32_t kind, const caravan_bias_backward_args& args) {
    const caravan::Check check(kBackward);
    check.matrix("d_y", args.d_y, {CARAVAN_F32, CARAVAN_BF16}, caravan::kAny, caravan::kAny);
    check.packed("d_bias", args.d_bias, {CARAVAN_F32, CARAVAN_BF16}, {args.d_y.shape[1]});
    check.buffer("workspace", args.workspace, workspace_bytes(kind, args));
}

}  // namespace

caravan_status caravan_bias_forward(caravan_stream stream, const caravan_bias_forward_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kForward, args);
        check(known);
        const auto& on = caravan::known_stream(kForward, stream);
        caravan::launch(kForward, on, known, &caravan::CpuKernels::bias_forward,
                        &caravan::DeviceKernels::bias_forward);
    });
}

caravan_status caravan_bias_backward(caravan_stream stream,
                                     const caravan_bias_backward_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kBackward, args);
        const auto& on = caravan::known_stream(kBackward, stream);
        check(on.kind, known);
        caravan::launch(kBackward, on, known, &caravan::CpuKernels::bias_backward,
                        &caravan::DeviceKernels::bias_backward);
    });
}

caravan_status caravan_bias_backward_workspace(int32_t kind, const caravan_bias_backward_args* args,
                                               int64_t* bytes) {
    return caravan::workspace(kBackward, kind, args, bytes, workspace_bytes);
}
