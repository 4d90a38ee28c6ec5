#include "api/dispatch.h"

namespace {

void check(const char* op, const caravan_rope_args& args) {
    const caravan::Check check(op);
    check.tensor("x", args.x, {CARAVAN_F32, CARAVAN_BF16},
                 {caravan::kAny, caravan::kAny, caravan::kAny});
    const int64_t tokens = args.x.shape[0];
    const int64_t heads = args.x.shape[1];
    const int64_t width = args.x.shape[2];
    check.tensor("y", args.y, {CARAVAN_F32, CARAVAN_BF16}, {tokens, heads, width});
    check.same_dtype("y", args.y, "x", args.x);
    check.that((heads <= 1 || args.y.stride[1] >= width) &&
                   (tokens <= 1 || args.y.stride[0] >= (heads - 1) * args.y.stride[1] + width),
               "y: got strides [%lld, %lld], by which heads overlap",
               static_cast<long long>(args.y.stride[0]), static_cast<long long>(args.y.stride[1]));
    check.packed("positions", args.positions, {CARAVAN_I32}, {tokens});
    check.packed("cos", args.cos, {CARAVAN_F32}, {caravan::kAny, caravan::kAny});
    check.packed("sin", args.sin, {CARAVAN_F32}, {args.cos.shape[0], args.cos.shape[1]});
    check.that(args.cos.shape[1] <= width / 2,
               "cos: turns %lld pairs, but a head of %lld elements has %lld",
               static_cast<long long>(args.cos.shape[1]), static_cast<long long>(width),
               static_cast<long long>(width / 2));
    check.that(args.layout == CARAVAN_ROPE_HALF || args.layout == CARAVAN_ROPE_INTERLEAVED,
               "layout: got %d, needs 0 (half) or 1 (interleaved)", args.layout);
}

using CpuKernel = void (*)(caravan::Pool&, const caravan_rope_args&);
using DeviceKernel = caravan_status (*)(int32_t, void*, const caravan_rope_args&);

caravan_status rotate(const char* op, caravan_stream stream, const caravan_rope_args* args,
                      CpuKernel caravan::CpuKernels::*cpu,
                      DeviceKernel caravan::DeviceKernels::*device) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(op, args);
        check(op, known);
        const auto& on = caravan::known_stream(op, stream);
        caravan::launch(op, on, known, cpu, device, [&] {
            caravan::Check(op).indices("positions", known.positions, known.x.shape[0],
                                       known.cos.shape[0]);
            return true;
        });
    });
}

}  // namespace

caravan_status caravan_rope_forward(caravan_stream stream, const caravan_rope_args* args) {
    return rotate("rope_forward", stream, args, &caravan::CpuKernels::rope_forward,
                  &caravan::DeviceKernels::rope_forward);
}

caravan_status caravan_rope_backward(caravan_stream stream, const caravan_rope_args* args) {
    return rotate("rope_backward", stream, args, &caravan::CpuKernels::rope_backward,
                  &caravan::DeviceKernels::rope_backward);
}
