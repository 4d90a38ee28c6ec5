#include "api/dispatch.h"

namespace {

constexpr const char* kOp = "combine_forward";

void check(const caravan_combine_args& args) {
    const caravan::Check check(kOp);
    check.matrix("x", args.x, {CARAVAN_F32, CARAVAN_BF16}, caravan::kAny, caravan::kAny);
    check.packed("slots", args.slots, {CARAVAN_I32}, {caravan::kAny, caravan::kAny});
    if (caravan::present(args.weights)) {
        check.packed_like("weights", args.weights, {CARAVAN_F32}, args.slots);
    }
    check.matrix("y", args.y, {CARAVAN_F32, CARAVAN_BF16}, args.slots.shape[0], args.x.shape[1]);
    check.same_dtype("y", args.y, "x", args.x);
}

void check_values(const caravan_combine_args& args) {
    const caravan::Check check(kOp);
    const auto* slots = static_cast<const int32_t*>(args.slots.data);
    for (int64_t i = 0; i < args.slots.shape[0] * args.slots.shape[1]; ++i) {
        check.that(slots[i] >= -1 && slots[i] < args.x.shape[0],
                   "slots: got %d at %lld, needs -1 to %lld", slots[i], static_cast<long long>(i),
                   static_cast<long long>(args.x.shape[0] - 1));
    }
}

}  // namespace

caravan_status caravan_combine_forward(caravan_stream stream, const caravan_combine_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kOp, args);
        check(known);
        const auto& on = caravan::known_stream(kOp, stream);
        caravan::launch(kOp, on, known, &caravan::CpuKernels::combine_forward,
                        &caravan::DeviceKernels::combine_forward, [&] {
                            check_values(known);
                            return true;
                        });
    });
}
