#include "api/dispatch.h"

namespace {

constexpr const char* kOp = "add_forward";

void check(const caravan_add_args& args) {
    const caravan::Check check(kOp);
    check.packed_like("a", args.a, {CARAVAN_F32, CARAVAN_BF16}, args.a);
    check.packed_like("b", args.b, {CARAVAN_F32, CARAVAN_BF16}, args.a);
    check.packed_like("out", args.out, {CARAVAN_F32, CARAVAN_BF16}, args.a);
    check.same_dtype("b", args.b, "a", args.a);
    check.same_dtype("out", args.out, "a", args.a);
}

}  // namespace

caravan_status caravan_add_forward(caravan_stream stream, const caravan_add_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kOp, args);
        check(known);
        const auto& on = caravan::known_stream(kOp, stream);
        caravan::launch(kOp, on, known, &caravan::CpuKernels::add_forward,
                        &caravan::DeviceKernels::add_forward);
    });
}
