#include "api/dispatch.h"
#include "core/blocks.h"

namespace {

constexpr const char* kOp = "global_norm_forward";

int64_t workspace_bytes(int32_t kind, const caravan_global_norm_args& args) {
    caravan::Check(kOp).shape("grads", args.grads, 1);
    return caravan::partial_element_blocks(kind, args.grads.shape[0]).count *
           static_cast<int64_t>(sizeof(double));
}

void check(int32_t kind, const caravan_global_norm_args& args) {
    const caravan::Check check(kOp);
    check.packed("grads", args.grads, {CARAVAN_F32, CARAVAN_BF16}, {caravan::kAny});
    check.buffer("state", args.state, static_cast<int64_t>(sizeof(caravan_step_state)));
    check.buffer("workspace", args.workspace, workspace_bytes(kind, args));
}

}  // namespace

caravan_status caravan_global_norm_forward(caravan_stream stream,
                                           const caravan_global_norm_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kOp, args);
        const auto& on = caravan::known_stream(kOp, stream);
        check(on.kind, known);
        caravan::launch(kOp, on, known, &caravan::CpuKernels::global_norm_forward,
                        &caravan::DeviceKernels::global_norm_forward);
    });
}

caravan_status caravan_global_norm_workspace(int32_t kind, const caravan_global_norm_args* args,
                                             int64_t* bytes) {
    return caravan::workspace(kOp, kind, args, bytes, workspace_bytes);
}
