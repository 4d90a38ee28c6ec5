#include "api/dispatch.h"

namespace {

constexpr const char* kOp = "cache_append_forward";

void check(const caravan_cache_append_args& args) {
    const caravan::Check check(kOp);
    check.tensor("x", args.x, {CARAVAN_F32, CARAVAN_BF16},
                 {caravan::kAny, caravan::kAny, caravan::kAny});
    check.packed("cache", args.cache, {CARAVAN_F32, CARAVAN_BF16},
                 {caravan::kAny, args.x.shape[1], args.x.shape[2]});
    check.same_dtype("cache", args.cache, "x", args.x);
    check.packed("start", args.start, {CARAVAN_I32}, {1});
    check.that(
        args.x.shape[0] <= args.cache.shape[0], "x: got %lld rows, the cache has room for %lld",
        static_cast<long long>(args.x.shape[0]), static_cast<long long>(args.cache.shape[0]));
}

}  // namespace

caravan_status caravan_cache_append_forward(caravan_stream stream,
                                            const caravan_cache_append_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kOp, args);
        check(known);
        const auto& on = caravan::known_stream(kOp, stream);
        caravan::launch(kOp, on, known, &caravan::CpuKernels::cache_append_forward,
                        &caravan::DeviceKernels::cache_append_forward, [&] {
                            caravan::Check(kOp).count("start", known.start,
                                                      known.cache.shape[0] - known.x.shape[0]);
                            return true;
                        });
    });
}
