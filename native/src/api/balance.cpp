#include <cmath>

#include "api/experts.h"

namespace {

constexpr const char* kOp = "balance_forward";

void check(const caravan_balance_args& args) {
    const caravan::Check check(kOp);
    check.packed("stats", args.stats, {CARAVAN_F32}, {caravan::kAny, caravan::kAny});
    const int64_t layers = args.stats.shape[0], experts = (args.stats.shape[1] - 2) / 3;
    check.that(args.stats.shape[1] == caravan::router_stats(experts),
               "stats: got rows of %lld, needs 3 times the experts + 2",
               static_cast<long long>(args.stats.shape[1]));
    caravan::check_experts(check, experts);
    check.state("state", args.state);
    check.packed("factors", args.factors, {CARAVAN_F32}, {layers, experts + 1});
    check.packed("totals", args.totals, {CARAVAN_F64}, {layers, experts + 3});
    if (caravan::present(args.offsets)) {
        check.packed("offsets", args.offsets, {CARAVAN_I32}, {layers, experts + 1});
    }
    check.that(std::isfinite(args.weight), "weight: got %g, needs a finite number",
               static_cast<double>(args.weight));
    check.that(std::isfinite(args.z_weight), "z_weight: got %g, needs a finite number",
               static_cast<double>(args.z_weight));
    check.that(args.definition >= CARAVAN_BALANCE_NONE && args.definition <= CARAVAN_BALANCE_CHOSEN,
               "definition: got %d, needs 0 to 2", args.definition);
    check.that(args.choices >= 1 && args.choices <= experts,
               "choices: got %d, needs 1 to the %lld experts", args.choices,
               static_cast<long long>(experts));
}

}  // namespace

caravan_status caravan_balance_forward(caravan_stream stream, const caravan_balance_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kOp, args);
        check(known);
        const auto& on = caravan::known_stream(kOp, stream);
        caravan::launch(kOp, on, known, &caravan::CpuKernels::balance_forward,
                        &caravan::DeviceKernels::balance_forward);
    });
}
