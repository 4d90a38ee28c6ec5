#include "api/experts.h"

namespace {

using caravan::kAny;

constexpr const char* kOp = "grouped_outer_forward";

void check(const caravan_grouped_outer_args& args) {
    const caravan::Check check(kOp);
    check.that(args.gather_a == 0 || args.gather_a == 1, "gather_a: got %d, needs 0 or 1",
               args.gather_a);
    check.that(args.gather_b == 0 || args.gather_b == 1, "gather_b: got %d, needs 0 or 1",
               args.gather_b);
    check.packed("c", args.c, {CARAVAN_F32}, {kAny, kAny, kAny});
    caravan::check_experts(check, args.c.shape[0]);
    check.that(args.c.shape[1] >= 1 && args.c.shape[1] <= INT32_MAX && args.c.shape[2] >= 1 &&
                   args.c.shape[2] <= INT32_MAX,
               "c: got [%lld, %lld] for an expert, needs 1 to %d each",
               static_cast<long long>(args.c.shape[1]), static_cast<long long>(args.c.shape[2]),
               INT32_MAX);
    check.matrix("a", args.a, {CARAVAN_F32, CARAVAN_BF16}, kAny, args.c.shape[1]);
    check.matrix("b", args.b, {CARAVAN_F32, CARAVAN_BF16}, kAny, args.c.shape[2]);
    check.packed("offsets", args.offsets, {CARAVAN_I32}, {args.c.shape[0] + 1});
    if (args.gather_a == 1 || args.gather_b == 1) {
        check.packed("assignments", args.assignments, {CARAVAN_I32}, {kAny});
        check.that(args.choices >= 1, "choices: got %d, needs at least 1", args.choices);
    }
}

void check_values(const caravan_grouped_outer_args& args) {
    const caravan::Check check(kOp);
    int64_t rows = INT32_MAX;
    if (args.gather_a == 0) rows = args.a.shape[0];
    if (args.gather_b == 0) rows = rows < args.b.shape[0] ? rows : args.b.shape[0];
    const bool gathers = args.gather_a == 1 || args.gather_b == 1;
    if (gathers && args.assignments.shape[0] < rows) rows = args.assignments.shape[0];
    const int64_t used = caravan::check_offsets(check, args.offsets, rows);
    if (args.gather_a == 1) {
        check.indices("assignments", args.assignments, used, args.a.shape[0] * args.choices);
    }
    if (args.gather_b == 1) {
        check.indices("assignments", args.assignments, used, args.b.shape[0] * args.choices);
    }
}

}  // namespace

caravan_status caravan_grouped_outer_forward(caravan_stream stream,
                                             const caravan_grouped_outer_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kOp, args);
        check(known);
        const auto& on = caravan::known_stream(kOp, stream);
        caravan::launch(kOp, on, known, &caravan::CpuKernels::grouped_outer_forward,
                        &caravan::DeviceKernels::grouped_outer_forward, [&] {
                            check_values(known);
                            return true;
                        });
    });
}
