#include <cmath>

#include "api/dispatch.h"

namespace {

constexpr const char* kOp = "adamw_step";

void check_rate(const caravan::Check& check, const char* name, float beta) {
    check.that(beta >= 0 && beta < 1, "%s: got %g, needs at least 0 and below 1", name,
               static_cast<double>(beta));
}

void check(const caravan_adamw_args& args) {
    const caravan::Check check(kOp);
    check.packed("param", args.param, {CARAVAN_F32, CARAVAN_BF16}, {caravan::kAny});
    const int64_t n = args.param.shape[0];
    if (args.param.dtype == CARAVAN_BF16) {
        check.packed("remainder", args.remainder, {CARAVAN_U16}, {n});
    }
    check.packed("grad", args.grad, {CARAVAN_F32, CARAVAN_BF16}, {n});
    check.packed("m", args.m, {CARAVAN_F32, CARAVAN_BF16}, {n});
    check.packed("v", args.v, {CARAVAN_F32, CARAVAN_BF16}, {n});
    check.same_dtype("v", args.v, "m", args.m);
    check.packed("segments", args.segments, {CARAVAN_U8}, {caravan::kAny});
    check.buffer("segments", args.segments, args.segments.shape[0]);
    const auto segment = static_cast<int64_t>(sizeof(caravan_segment));
    check.that(args.segments.shape[0] % segment == 0,
               "segments: got %lld bytes, needs a multiple of %lld",
               static_cast<long long>(args.segments.shape[0]), static_cast<long long>(segment));
    check.buffer("state", args.state, static_cast<int64_t>(sizeof(caravan_step_state)));
    check_rate(check, "beta1", args.beta1);
    check_rate(check, "beta2", args.beta2);
    check.that(args.eps >= 0, "eps: got %g, needs at least 0", static_cast<double>(args.eps));
    check.that(std::isfinite(args.weight_decay), "weight_decay: got %g, needs a finite number",
               static_cast<double>(args.weight_decay));
}

// Segments are ascending and apart, so that no element is updated twice, and lie within the buffer.
void check_segments(const caravan_adamw_args& args) {
    const caravan::Check check(kOp);
    const auto size = static_cast<int64_t>(sizeof(caravan_segment));
    const auto* segments = static_cast<const caravan_segment*>(args.segments.data);
    const int64_t n = args.param.shape[0];
    int64_t end = 0;
    for (int64_t i = 0; i < args.segments.shape[0] / size; ++i) {
        const caravan_segment& segment = segments[i];
        check.that(
            segment.offset >= end && segment.count >= 0 && segment.offset <= n &&
                segment.count <= n - segment.offset,
            "segments: number %lld is %lld elements from %lld, needs a run within %lld to %lld",
            static_cast<long long>(i), static_cast<long long>(segment.count),
            static_cast<long long>(segment.offset), static_cast<long long>(end),
            static_cast<long long>(n));
        end = segment.offset + segment.count;
    }
}

}  // namespace

caravan_status caravan_adamw_step(caravan_stream stream, const caravan_adamw_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kOp, args);
        check(known);
        const auto& on = caravan::known_stream(kOp, stream);
        caravan::launch(
            kOp, on, known, &caravan::CpuKernels::adamw_step, &caravan::DeviceKernels::adamw_step,
            [&] {
                check_segments(known);
                const auto& state = *static_cast<const caravan_step_state*>(known.state.data);
                caravan::Check(kOp).that(state.step >= 1, "state.step: got %lld, needs at least 1",
                                         static_cast<long long>(state.step));
                return state.finite != 0;
            });
    });
}
