#include "api/dispatch.h"
#include "core/blocks.h"

namespace {

constexpr const char* kForward = "rmsnorm_forward";
constexpr const char* kBackward = "rmsnorm_backward";

// Sums over whole rows, where the rows at hand are parts of them.
void check_part(const caravan::Check& check, const char* name, const caravan_tensor& sums,
                const caravan_tensor& x, int64_t whole) {
    if (whole != 0) {
        check.that(whole >= x.shape[1], "whole: got %lld, needs 0 or at least the width of x, %lld",
                   static_cast<long long>(whole), static_cast<long long>(x.shape[1]));
        check.packed(name, sums, {CARAVAN_F32}, {x.shape[0]});
    } else {
        check.that(!caravan::present(sums), "%s: got a tensor, needs none for whole rows", name);
    }
}

void check(const caravan_rmsnorm_forward_args& args) {
    const caravan::Check check(kForward);
    check.matrix("x", args.x, {CARAVAN_F32, CARAVAN_BF16}, caravan::kAny, caravan::kAny);
    const int64_t rows = args.x.shape[0];
    const int64_t width = args.x.shape[1];
    check.that(width >= 1, "x: got rows of 0 elements, needs at least 1");
    const auto like_x = [&](const char* name, const caravan_tensor& tensor) {
        check.matrix(name, tensor, {CARAVAN_F32, CARAVAN_BF16}, rows, width);
        check.same_dtype(name, tensor, "x", args.x);
    };
    if (caravan::present(args.residual)) {
        like_x("residual", args.residual);
        like_x("sum", args.sum);
    }
    check.that(!caravan::present(args.sum) || caravan::present(args.residual),
               "sum: got a tensor, but no residual to add");
    like_x("y", args.y);
    check.packed("weight", args.weight, {CARAVAN_F32, CARAVAN_BF16}, {width});
    if (caravan::present(args.rstd)) check.packed("rstd", args.rstd, {CARAVAN_F32}, {rows});
    check_part(check, "squares", args.squares, args.x, args.whole);
    check.that(args.whole == 0 || !caravan::present(args.residual),
               "residual: got a tensor, needs none beside squares");
    check.that(args.eps >= 0, "eps: got %g, needs at least 0", static_cast<double>(args.eps));
}

int64_t workspace_bytes(int32_t kind, const caravan_rmsnorm_backward_args& args) {
    caravan::Check(kBackward).shape("x", args.x, 2);
    const int64_t floats = caravan::partial_blocks(kind, args.x.shape[0]).count * args.x.shape[1];
    return floats * static_cast<int64_t>(sizeof(float));
}

void check(int32_t kind, const caravan_rmsnorm_backward_args& args) {
    const caravan::Check check(kBackward);
    check.matrix("x", args.x, {CARAVAN_F32, CARAVAN_BF16}, caravan::kAny, caravan::kAny);
    const int64_t rows = args.x.shape[0];
    const int64_t width = args.x.shape[1];
    check.that(width >= 1, "x: got rows of 0 elements, needs at least 1");
    const auto like_x = [&](const char* name, const caravan_tensor& tensor) {
        check.matrix(name, tensor, {CARAVAN_F32, CARAVAN_BF16}, rows, width);
        check.same_dtype(name, tensor, "x", args.x);
    };
    like_x("d_y", args.d_y);
    if (caravan::present(args.d_sum)) like_x("d_sum", args.d_sum);
    like_x("d_x", args.d_x);
    check.packed("weight", args.weight, {CARAVAN_F32, CARAVAN_BF16}, {width});
    check.packed("d_weight", args.d_weight, {CARAVAN_F32, CARAVAN_BF16}, {width});
    check.packed("rstd", args.rstd, {CARAVAN_F32}, {rows});
    check_part(check, "dots", args.dots, args.x, args.whole);
    check.buffer("workspace", args.workspace, workspace_bytes(kind, args));
}

}  // namespace

caravan_status caravan_rmsnorm_forward(caravan_stream stream,
                                       const caravan_rmsnorm_forward_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kForward, args);
        check(known);
        const auto& on = caravan::known_stream(kForward, stream);
        caravan::launch(kForward, on, known, &caravan::CpuKernels::rmsnorm_forward,
                        &caravan::DeviceKernels::rmsnorm_forward);
    });
}

caravan_status caravan_rmsnorm_backward(caravan_stream stream,
                                        const caravan_rmsnorm_backward_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kBackward, args);
        const auto& on = caravan::known_stream(kBackward, stream);
        check(on.kind, known);
        caravan::launch(kBackward, on, known, &caravan::CpuKernels::rmsnorm_backward,
                        &caravan::DeviceKernels::rmsnorm_backward);
    });
}

caravan_status caravan_rmsnorm_backward_workspace(int32_t kind,
                                                  const caravan_rmsnorm_backward_args* args,
                                                  int64_t* bytes) {
    return caravan::workspace(kBackward, kind, args, bytes, workspace_bytes);
}
