#include <algorithm>
#include <cstring>

#include "api/dispatch.h"

namespace {

void check(const char* op, const caravan_gather_args& args) {
    const caravan::Check check(op);
    check.matrix("x", args.x, {CARAVAN_F32, CARAVAN_BF16}, caravan::kAny, caravan::kAny);
    check.matrix("out", args.out, {CARAVAN_F32, CARAVAN_BF16}, caravan::kAny, args.x.shape[1]);
    check.same_dtype("out", args.out, "x", args.x);
    check.packed("rows", args.rows, {CARAVAN_I32}, {caravan::kAny});
    check.packed("count", args.count, {CARAVAN_I32}, {1});
    check.that(args.first >= 0, "first: got %lld, needs at least 0",
               static_cast<long long>(args.first));
}

// No index occurs twice among the first `count`: two tasks would write one row. A bit for each row
// of x that has been seen, in the pool's scratch memory, as many rows at a time as it has bits.
void check_distinct(const caravan::Check& check, const caravan::Pool& pool, const int32_t* rows,
                    int64_t count, int64_t bound) {
    constexpr int64_t bits = int64_t{CARAVAN_CPU_SCRATCH_BYTES} * 8;
    auto* const seen = static_cast<uint8_t*>(pool.scratch(0));
    for (int64_t first = 0; first < bound; first += bits) {
        const int64_t window = std::min(bits, bound - first);
        std::memset(seen, 0, static_cast<size_t>((window + 7) / 8));
        for (int64_t i = 0; i < count; ++i) {
            const int64_t bit = rows[i] - first;
            if (bit < 0 || bit >= window) continue;
            const auto mask = static_cast<uint8_t>(1u << (bit % 8));
            check.that((seen[bit / 8] & mask) == 0, "rows: got %d a second time, at %lld", rows[i],
                       static_cast<long long>(i));
            seen[bit / 8] |= mask;
        }
    }
}

}  // namespace

caravan_status caravan_gather_forward(caravan_stream stream, const caravan_gather_args* args) {
    constexpr const char* op = "gather_forward";
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(op, args);
        check(op, known);
        const auto& on = caravan::known_stream(op, stream);
        caravan::launch(op, on, known, &caravan::CpuKernels::gather_forward,
                        &caravan::DeviceKernels::gather_forward, [&] {
                            const caravan::Check check(op);
                            const int64_t count =
                                check.count("count", known.count, known.rows.shape[0]);
                            check.indices("rows", known.rows, count, known.x.shape[0]);
                            return true;
                        });
    });
}

caravan_status caravan_gather_backward(caravan_stream stream, const caravan_gather_args* args) {
    constexpr const char* op = "gather_backward";
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(op, args);
        check(op, known);
        const auto& on = caravan::known_stream(op, stream);
        caravan::launch(
            op, on, known, &caravan::CpuKernels::gather_backward,
            &caravan::DeviceKernels::gather_backward, [&] {
                const caravan::Check check(op);
                const int64_t count = check.count("count", known.count, known.rows.shape[0]);
                check.indices("rows", known.rows, count, known.x.shape[0]);
                check_distinct(check, *on.pool, static_cast<const int32_t*>(known.rows.data), count,
                               known.x.shape[0]);
                return true;
            });
    });
}
