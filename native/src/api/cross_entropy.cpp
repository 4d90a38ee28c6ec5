#include <algorithm>

#include "api/dispatch.h"

namespace {

constexpr const char* kOp = "cross_entropy_forward";

void check(const caravan_cross_entropy_args& args) {
    const caravan::Check check(kOp);
    check.matrix("logits", args.logits, {CARAVAN_F32, CARAVAN_BF16}, caravan::kAny, caravan::kAny);
    check.that(args.logits.shape[1] >= 1, "logits: got rows of 0 elements, needs at least 1");
    check.packed("targets", args.targets, {CARAVAN_I32}, {caravan::kAny});
    check.packed("count", args.count, {CARAVAN_I32}, {1});
    check.packed("nll", args.nll, {CARAVAN_F32}, {args.targets.shape[0]});
    check.buffer("state", args.state, static_cast<int64_t>(sizeof(caravan_step_state)));
    check.that(args.first >= 0, "first: got %lld, needs at least 0",
               static_cast<long long>(args.first));
    check.that(args.gradient == 0 || args.gradient == 1, "gradient: got %d, needs 0 or 1",
               args.gradient);
    if (!caravan::present(args.statistics)) return;
    check.packed("statistics", args.statistics, {CARAVAN_F32},
                 {caravan::kAny, args.logits.shape[0], 3});
    check.that(args.statistics.shape[0] >= 1, "statistics: got 0 parts, needs at least 1");
    check.that(args.first_class >= 0 && args.first_class <= args.classes,
               "first_class: got %lld of %lld classes, needs 0 to their number",
               static_cast<long long>(args.first_class), static_cast<long long>(args.classes));
}

}  // namespace

caravan_status caravan_cross_entropy_forward(caravan_stream stream,
                                             const caravan_cross_entropy_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kOp, args);
        check(known);
        const auto& on = caravan::known_stream(kOp, stream);
        caravan::launch(
            kOp, on, known, &caravan::CpuKernels::cross_entropy_forward,
            &caravan::DeviceKernels::cross_entropy_forward, [&] {
                const caravan::Check check(kOp);
                const int64_t count = check.count("count", known.count, known.targets.shape[0]);
                check.indices(
                    "targets", known.targets, count,
                    caravan::present(known.statistics) ? known.classes : known.logits.shape[1]);
                return true;
            });
    });
}
