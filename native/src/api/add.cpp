#include "api/dispatch.h"

namespace {

constexpr const char* kOp = "add_forward";

void check(const caravan_add_args& args) {
    const caravan::Check check(kOp);
    const auto& a = args.a;
    const auto same = [&](const char* name, const caravan_tensor& tensor) {
        const int64_t* s = a.shape;
        switch (a.rank) {
            case 1:
                return check.packed(name, tensor, {CARAVAN_F32, CARAVAN_BF16}, {s[0]});
            case 2:
                return check.packed(name, tensor, {CARAVAN_F32, CARAVAN_BF16}, {s[0], s[1]});
            case 3:
                return check.packed(name, tensor, {CARAVAN_F32, CARAVAN_BF16}, {s[0], s[1], s[2]});
            default:
                return check.packed(name, tensor, {CARAVAN_F32, CARAVAN_BF16},
                                    {s[0], s[1], s[2], s[3]});
        }
    };
    same("a", args.a);
    same("b", args.b);
    same("out", args.out);
    check.same_dtype("b", args.b, "a", args.a);
    check.same_dtype("out", args.out, "a", args.a);
}

}  // namespace

caravan_status caravan_add_forward(caravan_stream stream, const caravan_add_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kOp, args);
        check(known);
        auto& cpu = caravan::cpu_stream(kOp, stream);
        caravan::cpu_kernels().add_forward(*cpu.pool, known);
    });
}
