#include "api/dispatch.h"
#include "core/embedding_layout.h"

namespace {

constexpr const char* kForward = "embedding_forward";
constexpr const char* kBackward = "embedding_backward";

// Ids lie below this: the rows of the whole table.
int64_t id_bound(const caravan_tensor& table, int64_t whole) {
    return whole > 0 ? whole : table.shape[0];
}

void check_part(const caravan::Check& check, int64_t first, int64_t whole) {
    check.that(whole >= 0 && first >= 0 && first <= whole,
               "first: got %lld of a whole table of %lld rows, needs 0 to the whole",
               static_cast<long long>(first), static_cast<long long>(whole));
}

void check(const caravan_embedding_forward_args& args) {
    const caravan::Check check(kForward);
    check.packed("ids", args.ids, {CARAVAN_I32}, {caravan::kAny});
    check.matrix("table", args.table, {CARAVAN_F32, CARAVAN_BF16}, caravan::kAny, caravan::kAny);
    check.matrix("out", args.out, {CARAVAN_F32, CARAVAN_BF16}, args.ids.shape[0],
                 args.table.shape[1]);
    check_part(check, args.first, args.whole);
}

int64_t workspace_bytes(int32_t kind, const caravan_embedding_backward_args& args) {
    caravan::Check(kBackward).shape("ids", args.ids, 1);
    return caravan::embedding_backward_bytes(kind, args.ids.shape[0]);
}

void check(int32_t kind, const caravan_embedding_backward_args& args) {
    const caravan::Check check(kBackward);
    check.packed("ids", args.ids, {CARAVAN_I32}, {caravan::kAny});
    check.matrix("d_table", args.d_table, {CARAVAN_F32, CARAVAN_BF16}, caravan::kAny,
                 caravan::kAny);
    check.matrix("d_out", args.d_out, {CARAVAN_F32, CARAVAN_BF16}, args.ids.shape[0],
                 args.d_table.shape[1]);
    check_part(check, args.first, args.whole);
    check.buffer("workspace", args.workspace, workspace_bytes(kind, args));
}

}  // namespace

caravan_status caravan_embedding_forward(caravan_stream stream,
                                         const caravan_embedding_forward_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kForward, args);
        check(known);
        const auto& on = caravan::known_stream(kForward, stream);
        caravan::launch(kForward, on, known, &caravan::CpuKernels::embedding_forward,
                        &caravan::DeviceKernels::embedding_forward, [&] {
                            caravan::Check(kForward).indices("ids", known.ids, known.ids.shape[0],
                                                             id_bound(known.table, known.whole));
                            return true;
                        });
    });
}

caravan_status caravan_embedding_backward(caravan_stream stream,
                                          const caravan_embedding_backward_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kBackward, args);
        const auto& on = caravan::known_stream(kBackward, stream);
        check(on.kind, known);
        caravan::launch(
            kBackward, on, known, &caravan::CpuKernels::embedding_backward,
            &caravan::DeviceKernels::embedding_backward, [&] {
                const caravan::Check check(kBackward);
                const int64_t count = check.count("rows", known.rows, known.ids.shape[0]);
                check.indices("ids", known.ids, count, id_bound(known.d_table, known.whole));
                return true;
            });
    });
}

caravan_status caravan_embedding_backward_workspace(int32_t kind,
                                                    const caravan_embedding_backward_args* args,
                                                    int64_t* bytes) {
    return caravan::workspace(kBackward, kind, args, bytes, workspace_bytes);
}
