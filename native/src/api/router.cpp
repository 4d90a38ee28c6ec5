#include "api/experts.h"
#include "core/blocks.h"

namespace {

constexpr const char* kForward = "router_forward";
constexpr const char* kBackward = "router_backward";

void check_scoring(const caravan::Check& check, int32_t scoring, int32_t renormalise) {
    check.that(scoring == CARAVAN_SOFTMAX || scoring == CARAVAN_SIGMOID,
               "scoring: got %d, needs 0 (soft-max) or 1 (sigmoid)", scoring);
    check.that(renormalise == 0 || renormalise == 1, "renormalise: got %d, needs 0 or 1",
               renormalise);
}

// Logits, and the weights and experts of the choices.
void check_choices(const caravan::Check& check, const caravan_tensor& logits,
                   const caravan_tensor& weights, const caravan_tensor& experts) {
    check.packed("logits", logits, {CARAVAN_F32}, {caravan::kAny, caravan::kAny});
    const int64_t tokens = logits.shape[0], count = logits.shape[1];
    caravan::check_experts(check, count);
    check.packed("weights", weights, {CARAVAN_F32}, {tokens, caravan::kAny});
    const int64_t choices = weights.shape[1];
    check.that(choices >= 1 && choices <= count,
               "weights: got %lld choices, needs 1 to the %lld experts",
               static_cast<long long>(choices), static_cast<long long>(count));
    check.packed("experts", experts, {CARAVAN_I32}, {tokens, choices});
}

int64_t workspace_bytes(int32_t kind, const caravan_router_forward_args& args) {
    caravan::Check(kForward).shape("logits", args.logits, 2);
    return caravan::partial_blocks(kind, args.logits.shape[0]).count *
           caravan::router_stats(args.logits.shape[1]) * static_cast<int64_t>(sizeof(float));
}

void check(int32_t kind, const caravan_router_forward_args& args) {
    const caravan::Check check(kForward);
    check_scoring(check, args.scoring, args.renormalise);
    check_choices(check, args.logits, args.weights, args.experts);
    if (caravan::present(args.rows)) check.packed("rows", args.rows, {CARAVAN_I32}, {1});
    check.packed("stats", args.stats, {CARAVAN_F32}, {caravan::router_stats(args.logits.shape[1])});
    check.buffer("workspace", args.workspace, workspace_bytes(kind, args));
}

void check(const caravan_router_backward_args& args) {
    const caravan::Check check(kBackward);
    check_scoring(check, args.scoring, args.renormalise);
    check_choices(check, args.logits, args.weights, args.experts);
    const int64_t tokens = args.logits.shape[0], choices = args.weights.shape[1];
    if (caravan::present(args.rows)) check.packed("rows", args.rows, {CARAVAN_I32}, {1});
    check.packed("d_weights", args.d_weights, {CARAVAN_F32}, {tokens * choices});
    check.packed("slots", args.slots, {CARAVAN_I32}, {tokens, choices});
    if (caravan::present(args.factors)) {
        check.packed("factors", args.factors, {CARAVAN_F32}, {args.logits.shape[1] + 1});
    }
    check.packed_like("d_logits", args.d_logits, {CARAVAN_F32}, args.logits);
}

// What only the CPU can check before it runs.
void check_values(const caravan_router_backward_args& args) {
    const caravan::Check check(kBackward);
    const int64_t rows = check.count("rows", args.rows, args.logits.shape[0]);
    const int64_t count = rows * args.weights.shape[1];
    check.indices("experts", args.experts, count, args.logits.shape[1]);
    const auto* slots = static_cast<const int32_t*>(args.slots.data);
    for (int64_t i = 0; i < count; ++i) {
        check.that(slots[i] >= -1 && slots[i] < args.d_weights.shape[0],
                   "slots: got %d at %lld, needs -1 to %lld", slots[i], static_cast<long long>(i),
                   static_cast<long long>(args.d_weights.shape[0] - 1));
    }
}

}  // namespace

caravan_status caravan_router_forward(caravan_stream stream,
                                      const caravan_router_forward_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kForward, args);
        const auto& on = caravan::known_stream(kForward, stream);
        check(on.kind, known);
        caravan::launch(kForward, on, known, &caravan::CpuKernels::router_forward,
                        &caravan::DeviceKernels::router_forward, [&] {
                            caravan::Check(kForward).count("rows", known.rows,
                                                           known.logits.shape[0]);
                            return true;
                        });
    });
}

caravan_status caravan_router_backward(caravan_stream stream,
                                       const caravan_router_backward_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kBackward, args);
        check(known);
        const auto& on = caravan::known_stream(kBackward, stream);
        caravan::launch(kBackward, on, known, &caravan::CpuKernels::router_backward,
                        &caravan::DeviceKernels::router_backward, [&] {
                            check_values(known);
                            return true;
                        });
    });
}

caravan_status caravan_router_forward_workspace(int32_t kind,
                                                const caravan_router_forward_args* args,
                                                int64_t* bytes) {
    return caravan::workspace(kForward, kind, args, bytes, workspace_bytes);
}
