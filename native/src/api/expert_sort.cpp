#include <cmath>

#include "api/experts.h"

namespace {

constexpr const char* kOp = "expert_sort_forward";

int64_t experts_in_all(const caravan_expert_sort_args& args) {
    return args.in_all == 0 ? args.offsets.shape[0] - 1 : args.in_all;
}

int64_t workspace_bytes(int32_t kind, const caravan_expert_sort_args& args) {
    const caravan::Check check(kOp);
    check.shape("experts", args.experts, 2);
    check.shape("offsets", args.offsets, 1);
    caravan::check_experts(check, args.offsets.shape[0] - 1);
    if (kind == CARAVAN_CPU) return 0;
    const auto plan = caravan::plan_cuda_expert_sort(args);
    return (plan.counts + plan.taken) * static_cast<int64_t>(sizeof(int32_t));
}

void check(int32_t kind, const caravan_expert_sort_args& args) {
    const caravan::Check check(kOp);
    check.packed("experts", args.experts, {CARAVAN_I32}, {caravan::kAny, caravan::kAny});
    const int64_t tokens = args.experts.shape[0], choices = args.experts.shape[1];
    check.that(tokens * choices <= INT32_MAX,
               "experts: got %lld choices of %lld tokens, needs fewer than 2^31 in all",
               static_cast<long long>(choices), static_cast<long long>(tokens));
    check.packed("offsets", args.offsets, {CARAVAN_I32}, {caravan::kAny});
    caravan::check_experts(check, args.offsets.shape[0] - 1);
    const int64_t in_all = experts_in_all(args), n = args.offsets.shape[0] - 1;
    check.that(in_all <= CARAVAN_MAX_EXPERTS, "in_all: got %lld experts, needs at most %d",
               static_cast<long long>(in_all), CARAVAN_MAX_EXPERTS);
    check.that(args.first >= 0 && args.first + n <= in_all,
               "first: got %d, needs 0 to %lld for %lld of %lld experts", args.first,
               static_cast<long long>(in_all - n), static_cast<long long>(n),
               static_cast<long long>(in_all));
    check.packed("assignments", args.assignments, {CARAVAN_I32}, {tokens * choices});
    check.packed("slots", args.slots, {CARAVAN_I32}, {tokens, choices});
    check.that(args.capacity >= 0, "capacity: got %lld, needs at least 0",
               static_cast<long long>(args.capacity));
    check.that(args.group >= 0, "group: got %lld tokens, needs at least 0",
               static_cast<long long>(args.group));
    check.that(args.policy >= CARAVAN_SECOND_ALL && args.policy <= CARAVAN_SECOND_RANDOM,
               "policy: got %d, needs 0 to 2", args.policy);
    if (args.policy != CARAVAN_SECOND_ALL) {
        check.packed("weights", args.weights, {CARAVAN_F32}, {tokens, choices});
        check.that(std::isfinite(args.threshold) && args.threshold >= 0,
                   "threshold: got %g, needs at least 0", static_cast<double>(args.threshold));
    }
    if (args.policy == CARAVAN_SECOND_RANDOM) check.state("state", args.state);
    check.buffer("workspace", args.workspace, workspace_bytes(kind, args));
}

void check_values(const caravan_expert_sort_args& args) {
    const caravan::Check check(kOp);
    const auto* experts = static_cast<const int32_t*>(args.experts.data);
    const int64_t bound = experts_in_all(args);
    for (int64_t i = 0; i < args.experts.shape[0] * args.experts.shape[1]; ++i) {
        check.that(experts[i] >= -1 && experts[i] < bound,
                   "experts: got %d at %lld, needs -1 to %lld", experts[i],
                   static_cast<long long>(i), static_cast<long long>(bound - 1));
    }
}

}  // namespace

caravan_status caravan_expert_sort_forward(caravan_stream stream,
                                           const caravan_expert_sort_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kOp, args);
        const auto& on = caravan::known_stream(kOp, stream);
        check(on.kind, known);
        caravan::launch(kOp, on, known, &caravan::CpuKernels::expert_sort_forward,
                        &caravan::DeviceKernels::expert_sort_forward, [&] {
                            check_values(known);
                            return true;
                        });
    });
}

caravan_status caravan_expert_sort_workspace(int32_t kind, const caravan_expert_sort_args* args,
                                             int64_t* bytes) {
    return caravan::workspace(kOp, kind, args, bytes, workspace_bytes);
}
