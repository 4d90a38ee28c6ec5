#include "api/dispatch.h"

namespace {

constexpr const char* kOp = "cast_forward";

}  // namespace

caravan_status caravan_cast_forward(caravan_stream stream, const caravan_cast_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kOp, args);
        const auto& on = caravan::known_stream(kOp, stream);
        const caravan::Check check(kOp);
        check.packed_like("x", known.x, {CARAVAN_F32, CARAVAN_BF16}, known.x);
        check.packed_like("out", known.out, {CARAVAN_F32, CARAVAN_BF16}, known.x);
        caravan::launch(kOp, on, known, &caravan::CpuKernels::cast_forward,
                        &caravan::DeviceKernels::cast_forward);
    });
}
