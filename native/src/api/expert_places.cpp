#include "api/experts.h"

namespace {

constexpr const char* kOp = "expert_places_forward";

void check(const caravan_expert_places_args& args) {
    const caravan::Check check(kOp);
    check.packed("experts", args.experts, {CARAVAN_I32}, {caravan::kAny, caravan::kAny});
    const int64_t tokens = args.experts.shape[0], choices = args.experts.shape[1];
    check.packed("offsets", args.offsets, {CARAVAN_I32}, {caravan::kAny});
    const int64_t n = args.offsets.shape[0] - 1;
    caravan::check_experts(check, n);
    check.packed("assignments", args.assignments, {CARAVAN_I32}, {tokens * choices});
    check.packed_like("slots", args.slots, {CARAVAN_I32}, args.experts);
    check.packed("sent", args.sent, {CARAVAN_I32}, {caravan::kAny, caravan::kAny});
    const int64_t devices = args.sent.shape[0], places = args.sent.shape[1];
    check.that(devices >= 1 && n % devices == 0,
               "sent: got %lld devices for %lld experts, needs a divisor",
               static_cast<long long>(devices), static_cast<long long>(n));
    check.that(tokens * choices <= INT32_MAX && devices * places <= INT32_MAX,
               "sent: got %lld places for %lld choices, needs fewer than 2^31 of each",
               static_cast<long long>(devices * places), static_cast<long long>(tokens * choices));
    check.packed_like("tokens", args.tokens, {CARAVAN_I32}, args.sent);
    check.packed_like("sent_experts", args.sent_experts, {CARAVAN_I32}, args.sent);
    check.packed_like("places", args.places, {CARAVAN_I32}, args.experts);
}

// The `count` values of `tensor` lie in -1 .. bound - 1.
void check_indices(const char* name, const caravan_tensor& tensor, int64_t count, int64_t bound) {
    const auto* values = static_cast<const int32_t*>(tensor.data);
    for (int64_t i = 0; i < count; ++i) {
        caravan::Check(kOp).that(values[i] >= -1 && values[i] < bound,
                                 "%s: got %d at %lld, needs -1 to %lld", name, values[i],
                                 static_cast<long long>(i), static_cast<long long>(bound - 1));
    }
}

void check_values(const caravan_expert_places_args& args) {
    const int64_t rows = args.assignments.shape[0];
    caravan::check_offsets(caravan::Check(kOp), args.offsets, rows);
    check_indices("experts", args.experts, rows, args.offsets.shape[0] - 1);
    check_indices("assignments", args.assignments, rows, rows);
    check_indices("slots", args.slots, rows, rows);
}

}  // namespace

caravan_status caravan_expert_places_forward(caravan_stream stream,
                                             const caravan_expert_places_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kOp, args);
        check(known);
        const auto& on = caravan::known_stream(kOp, stream);
        caravan::launch(kOp, on, known, &caravan::CpuKernels::expert_places_forward,
                        &caravan::DeviceKernels::expert_places_forward, [&] {
                            check_values(known);
                            return true;
                        });
    });
}
