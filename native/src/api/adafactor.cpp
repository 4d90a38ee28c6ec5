#include <cmath>

#include "api/dispatch.h"
#include "core/adafactor_layout.h"

namespace {

constexpr const char* kOp = "adafactor_step";

int64_t workspace_bytes(int32_t kind, const caravan_adafactor_args& args) {
    const caravan::Check check(kOp);
    check.that(args.param.rank == 1 || args.param.rank == 2, "param: got rank %d, needs 1 or 2",
               args.param.rank);
    check.shape("param", args.param, args.param.rank);
    return caravan::adafactor_layout(kind, args.param, args.factored != 0).bytes();
}

void check_numbers(const caravan::Check& check, const caravan_adafactor_args& args) {
    const auto needs = [&](const char* name, float value, bool good, const char* range) {
        check.that(good && std::isfinite(value), "%s: got %g, needs %s", name,
                   static_cast<double>(value), range);
    };
    needs("beta1", args.beta1, args.beta1 >= 0 && args.beta1 < 1, "at least 0 and below 1");
    needs("decay_rate", args.decay_rate, args.decay_rate > 0, "more than 0");
    needs("eps1", args.eps1, args.eps1 >= 0, "at least 0");
    needs("eps2", args.eps2, args.eps2 >= 0, "at least 0");
    needs("clip_threshold", args.clip_threshold, args.clip_threshold > 0, "more than 0");
    needs("weight_decay", args.weight_decay, true, "a finite number");
}

void check_part(const caravan::Check& check, const caravan_adafactor_args& args, bool factored) {
    check.that(args.phase >= CARAVAN_ADAFACTOR_ALL && args.phase <= CARAVAN_ADAFACTOR_UPDATE,
               "phase: got %d, needs 0 to 3", args.phase);
    if (args.phase == CARAVAN_ADAFACTOR_ALL) return;
    check.that(args.parts >= 1, "parts: got %d, needs at least 1", args.parts);
    check.that(args.cut >= 0 && args.cut < args.param.rank,
               "cut: got %d, needs an axis of param, of rank %d", args.cut, args.param.rank);
    const int64_t across = factored ? args.param.shape[1 - args.cut] : 0;
    check.packed("sums", args.sums, {CARAVAN_F32}, {2 + across});
    check.packed("squares", args.squares, {CARAVAN_F32}, {1});
}

void check(int32_t kind, const caravan_adafactor_args& args) {
    const caravan::Check check(kOp);
    const int64_t bytes = workspace_bytes(kind, args);
    check.packed_like("param", args.param, {CARAVAN_F32, CARAVAN_BF16}, args.param);
    if (args.param.dtype == CARAVAN_BF16) {
        check.packed_like("remainder", args.remainder, {CARAVAN_U16}, args.param);
    }
    check.packed_like("grad", args.grad, {CARAVAN_F32, CARAVAN_BF16}, args.param);
    const bool factored = args.factored != 0 && args.param.rank == 2;
    if (factored) {
        check.packed("row", args.row, {CARAVAN_F32}, {args.param.shape[0]});
        check.packed("col", args.col, {CARAVAN_F32}, {args.param.shape[1]});
    } else {
        check.packed_like("v", args.v, {CARAVAN_F32}, args.param);
    }
    check_numbers(check, args);
    check_part(check, args, factored);
    if (args.beta1 > 0) check.packed_like("m", args.m, {CARAVAN_F32}, args.param);
    check.buffer("state", args.state, static_cast<int64_t>(sizeof(caravan_step_state)));
    check.buffer("workspace", args.workspace, bytes);
}

}  // namespace

caravan_status caravan_adafactor_step(caravan_stream stream, const caravan_adafactor_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kOp, args);
        const auto& on = caravan::known_stream(kOp, stream);
        check(on.kind, known);
        caravan::launch(
            kOp, on, known, &caravan::CpuKernels::adafactor_step,
            &caravan::DeviceKernels::adafactor_step, [&] {
                const auto& state = *static_cast<const caravan_step_state*>(known.state.data);
                caravan::Check(kOp).that(state.step >= 1, "state.step: got %lld, needs at least 1",
                                         static_cast<long long>(state.step));
                return state.finite != 0;
            });
    });
}

caravan_status caravan_adafactor_workspace(int32_t kind, const caravan_adafactor_args* args,
                                           int64_t* bytes) {
    return caravan::workspace(kOp, kind, args, bytes, workspace_bytes);
}
