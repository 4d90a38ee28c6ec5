#include "api/experts.h"

namespace {

using caravan::kAny;

constexpr const char* kForward = "grouped_matmul_forward";
constexpr const char* kBackward = "grouped_matmul_backward";

void check_weights(const caravan::Check& check, const caravan_tensor& w) {
    check.packed("w", w, {CARAVAN_F32, CARAVAN_BF16}, {kAny, kAny, kAny});
    caravan::check_experts(check, w.shape[0]);
    for (int axis = 1; axis < 3; ++axis) {
        check.that(w.shape[axis] >= 1 && w.shape[axis] <= INT32_MAX,
                   "w: got extent %lld on axis %d, needs 1 to %d",
                   static_cast<long long>(w.shape[axis]), axis, INT32_MAX);
    }
}

void check_activation(const caravan::Check& check, int32_t activation, int32_t least,
                      int64_t width) {
    check.that(activation >= least && activation <= CARAVAN_EXPERT_GELU_TANH,
               "activation: got %d, needs %d to %d", activation, least, CARAVAN_EXPERT_GELU_TANH);
    check.that(!caravan::expert_gated(activation) || width % 2 == 0,
               "activation: got rows of %lld, a gated unit needs two halves",
               static_cast<long long>(width));
}

void check(const caravan_grouped_matmul_forward_args& args) {
    const caravan::Check check(kForward);
    check.that(args.transpose_w == 0 || args.transpose_w == 1, "transpose_w: got %d, needs 0 or 1",
               args.transpose_w);
    check_weights(check, args.w);
    const int64_t n = args.w.shape[args.transpose_w == 1 ? 2 : 1];
    const int64_t k = args.w.shape[args.transpose_w == 1 ? 1 : 2];
    check.matrix("x", args.x, {CARAVAN_F32, CARAVAN_BF16}, kAny, k);
    check.matrix("out", args.out, {CARAVAN_F32, CARAVAN_BF16}, kAny, n);
    const int64_t rows = args.out.shape[0];
    check.packed("offsets", args.offsets, {CARAVAN_I32}, {args.w.shape[0] + 1});
    if (caravan::present(args.assignments)) {
        check.packed("assignments", args.assignments, {CARAVAN_I32}, {rows});
        check.that(args.choices >= 1, "choices: got %d, needs at least 1", args.choices);
    } else {
        check.that(args.x.shape[0] >= rows, "x: got %lld rows, needs the %lld of out",
                   static_cast<long long>(args.x.shape[0]), static_cast<long long>(rows));
    }
    check_activation(check, args.activation, CARAVAN_EXPERT_NONE, n);
    if (args.activation != CARAVAN_EXPERT_NONE) {
        check.matrix("act", args.act, {CARAVAN_F32, CARAVAN_BF16}, rows,
                     caravan::expert_units(args.activation, n));
        check.same_dtype("act", args.act, "out", args.out);
    }
}

void check(const caravan_grouped_matmul_backward_args& args) {
    const caravan::Check check(kBackward);
    check_weights(check, args.w);
    const int64_t d = args.w.shape[1], units = args.w.shape[2];
    check.packed("weights", args.weights, {CARAVAN_F32}, {kAny, kAny});
    check.that(args.weights.shape[1] >= 1, "weights: got 0 choices, needs at least 1");
    check.matrix("d_y", args.d_y, {CARAVAN_F32, CARAVAN_BF16}, args.weights.shape[0], d);
    const int64_t rows = args.weights.shape[0] * args.weights.shape[1];
    check.packed("assignments", args.assignments, {CARAVAN_I32}, {rows});
    check.packed("offsets", args.offsets, {CARAVAN_I32}, {args.w.shape[0] + 1});
    const int64_t width = caravan::expert_gated(args.activation) ? 2 * units : units;
    check_activation(check, args.activation, CARAVAN_EXPERT_SWIGLU, width);
    const auto like_h = [&](const char* name, const caravan_tensor& tensor, int64_t columns) {
        check.matrix(name, tensor, {CARAVAN_F32, CARAVAN_BF16}, rows, columns);
        check.same_dtype(name, tensor, "h", args.h);
    };
    like_h("h", args.h, width);
    like_h("d_h", args.d_h, width);
    like_h("act", args.act, units);
    check.packed("d_weights", args.d_weights, {CARAVAN_F32}, {rows});
}

// What only the CPU can check before it runs.
void check_values(const caravan::Check& check, const caravan_tensor& offsets,
                  const caravan_tensor& assignments, int64_t rows, int64_t bound) {
    const int64_t used = caravan::check_offsets(check, offsets, rows);
    if (caravan::present(assignments)) check.indices("assignments", assignments, used, bound);
}

}  // namespace

caravan_status caravan_grouped_matmul_forward(caravan_stream stream,
                                              const caravan_grouped_matmul_forward_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kForward, args);
        check(known);
        const auto& on = caravan::known_stream(kForward, stream);
        caravan::launch(kForward, on, known, &caravan::CpuKernels::grouped_matmul_forward,
                        &caravan::DeviceKernels::grouped_matmul_forward, [&] {
                            check_values(caravan::Check(kForward), known.offsets, known.assignments,
                                         known.out.shape[0], known.x.shape[0] * known.choices);
                            return true;
                        });
    });
}

caravan_status caravan_grouped_matmul_backward(caravan_stream stream,
                                               const caravan_grouped_matmul_backward_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kBackward, args);
        check(known);
        const auto& on = caravan::known_stream(kBackward, stream);
        caravan::launch(kBackward, on, known, &caravan::CpuKernels::grouped_matmul_backward,
                        &caravan::DeviceKernels::grouped_matmul_backward, [&] {
                            check_values(caravan::Check(kBackward), known.offsets,
                                         known.assignments, known.h.shape[0], known.h.shape[0]);
                            return true;
                        });
    });
}
