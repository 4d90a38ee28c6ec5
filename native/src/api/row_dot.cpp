#include "api/dispatch.h"

namespace {

constexpr const char* kOp = "row_dot_forward";

void check(const caravan_row_dot_args& args) {
    const caravan::Check check(kOp);
    check.matrix("a", args.a, {CARAVAN_F32, CARAVAN_BF16}, caravan::kAny, caravan::kAny);
    const int64_t rows = args.a.shape[0];
    const int64_t width = args.a.shape[1];
    check.matrix("b", args.b, {CARAVAN_F32, CARAVAN_BF16}, rows, width);
    check.same_dtype("b", args.b, "a", args.a);
    if (caravan::present(args.weight)) {
        check.packed("weight", args.weight, {CARAVAN_F32, CARAVAN_BF16}, {width});
    }
    check.packed("out", args.out, {CARAVAN_F32}, {rows});
}

}  // namespace

caravan_status caravan_row_dot_forward(caravan_stream stream, const caravan_row_dot_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kOp, args);
        check(known);
        const auto& on = caravan::known_stream(kOp, stream);
        caravan::launch(kOp, on, known, &caravan::CpuKernels::row_dot_forward,
                        &caravan::DeviceKernels::row_dot_forward);
    });
}
