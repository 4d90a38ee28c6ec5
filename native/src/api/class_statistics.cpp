#include "api/dispatch.h"

namespace {

constexpr const char* kOp = "class_statistics_forward";

void check(const caravan_class_statistics_args& args) {
    const caravan::Check check(kOp);
    check.matrix("logits", args.logits, {CARAVAN_F32, CARAVAN_BF16}, caravan::kAny, caravan::kAny);
    check.packed("targets", args.targets, {CARAVAN_I32}, {caravan::kAny});
    check.packed("count", args.count, {CARAVAN_I32}, {1});
    check.packed("statistics", args.statistics, {CARAVAN_F32}, {args.logits.shape[0], 3});
    check.that(args.first >= 0, "first: got %lld, needs at least 0",
               static_cast<long long>(args.first));
    check.that(args.first_class >= 0 && args.first_class <= args.classes,
               "first_class: got %lld of %lld classes, needs 0 to their number",
               static_cast<long long>(args.first_class), static_cast<long long>(args.classes));
}

}  // namespace

caravan_status caravan_class_statistics_forward(caravan_stream stream,
                                                const caravan_class_statistics_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kOp, args);
        check(known);
        const auto& on = caravan::known_stream(kOp, stream);
        caravan::launch(kOp, on, known, &caravan::CpuKernels::class_statistics_forward,
                        &caravan::DeviceKernels::class_statistics_forward, [&] {
                            const caravan::Check check(kOp);
                            const int64_t count =
                                check.count("count", known.count, known.targets.shape[0]);
                            check.indices("targets", known.targets, count, known.classes);
                            return true;
                        });
    });
}
