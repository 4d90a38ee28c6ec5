#include <type_traits>

#include "api/dispatch.h"
#include "core/attention_plan.h"

namespace {

using caravan::Check;
using caravan::kAny;
using caravan::present;

constexpr const char* kForward = "attention_forward";
constexpr const char* kBackward = "attention_backward";

// Head strides of an output: heads and rows lie apart, in either order, so that none is written
// twice.
void check_apart(const Check& check, const char* name, const caravan_tensor& tensor) {
    const int64_t rows = tensor.shape[0], heads = tensor.shape[1], width = tensor.shape[2];
    const int64_t row = tensor.stride[0], head = tensor.stride[1];
    const bool rows_outside = (heads <= 1 || head >= width) &&
                              (rows <= 1 || row >= (heads > 1 ? (heads - 1) * head : 0) + width);
    const bool heads_outside = (rows <= 1 || row >= width) &&
                               (heads <= 1 || head >= (rows > 1 ? (rows - 1) * row : 0) + width);
    check.that(rows_outside || heads_outside,
               "%s: got strides %lld and %lld, which make rows overlap", name,
               static_cast<long long>(row), static_cast<long long>(head));
}

void check_width(const char* op, const char* name, int64_t width) {
    Check(op).that(width >= 1, "%s: got heads of width %lld, needs at least 1", name,
                   static_cast<long long>(width));
    if (width > caravan::kAttentionWidest) {
        caravan::fail(CARAVAN_UNSUPPORTED, "%s: %s: got heads of width %lld, needs at most %lld",
                      op, name, static_cast<long long>(width),
                      static_cast<long long>(caravan::kAttentionWidest));
    }
}

void check_flag(const Check& check, const char* name, int32_t value) {
    check.that(value == 0 || value == 1, "%s: got %d, needs 0 or 1", name, value);
}

template <typename Args>
void check_bias(const Check& check, const Args& args) {
    if (!present(args.bias_table)) return;
    check.tensor("bias_table", args.bias_table, {CARAVAN_F32}, {kAny, args.q.shape[1]});
    check_flag(check, "bias_bidirectional", args.bias_bidirectional);
    const int64_t buckets = args.bias_table.shape[0];
    const bool both = args.bias_bidirectional == 1;
    check.that(both ? buckets >= 4 && buckets % 2 == 0 : buckets >= 2,
               "bias_table: got %lld buckets, needs %s", static_cast<long long>(buckets),
               both ? "an even number from 4 on" : "at least 2");
    const int64_t exact = buckets / (both ? 4 : 2);
    check.that(args.bias_max_distance > exact,
               "bias_max_distance: got %d, needs more than the %lld distances with a bucket each",
               args.bias_max_distance, static_cast<long long>(exact));
}

// What both directions are given.
template <typename Args>
void check_inputs(const char* op, const Args& args) {
    const Check check(op);
    check.tensor("q", args.q, {CARAVAN_F32, CARAVAN_BF16}, {kAny, kAny, kAny});
    check.tensor("k", args.k, {CARAVAN_F32, CARAVAN_BF16}, {kAny, kAny, args.q.shape[2]});
    check.tensor("v", args.v, {CARAVAN_F32, CARAVAN_BF16},
                 {args.k.shape[0], args.k.shape[1], kAny});
    check.tensor("out", args.out, {CARAVAN_F32, CARAVAN_BF16},
                 {args.q.shape[0], args.q.shape[1], args.v.shape[2]});
    check.same_dtype("k", args.k, "q", args.q);
    check.same_dtype("v", args.v, "q", args.q);
    check.same_dtype("out", args.out, "q", args.q);
    check_width(op, "q", args.q.shape[2]);
    check_width(op, "v", args.v.shape[2]);
    const int64_t heads = args.q.shape[1], kv_heads = args.k.shape[1];
    check.that(kv_heads >= 1 && heads >= 1 && heads % kv_heads == 0,
               "k: got %lld heads for the %lld of q, needs a divisor",
               static_cast<long long>(kv_heads), static_cast<long long>(heads));
    check.packed("cu_q", args.cu_q, {CARAVAN_I32}, {kAny});
    check.packed("cu_k", args.cu_k, {CARAVAN_I32}, {args.cu_q.shape[0]});
    check.that(args.cu_q.shape[0] >= 1, "cu_q: got shape [0], needs at least [1]");
    check.that(args.soft_cap >= 0, "soft_cap: got %g, needs at least 0",
               static_cast<double>(args.soft_cap));
    check_flag(check, "causal", args.causal);
    check.that(args.window_left >= -1, "window_left: got %d, needs at least -1", args.window_left);
    check.that(args.window_right >= -1, "window_right: got %d, needs at least -1",
               args.window_right);
    check_bias(check, args);
    if (present(args.sinks)) check.packed("sinks", args.sinks, {CARAVAN_F32}, {heads});
}

void check_pages(const Check& check, const caravan_attention_forward_args& args) {
    check.tensor("pages", args.pages, {CARAVAN_I32}, {args.cu_q.shape[0] - 1, kAny});
    check.that(args.page_rows >= 16 && args.page_rows % 16 == 0,
               "page_rows: got %d, needs a multiple of 16", args.page_rows);
    check.that(args.k.shape[0] % args.page_rows == 0, "k: got %lld rows, needs whole pages of %d",
               static_cast<long long>(args.k.shape[0]), args.page_rows);
}

void check_forward(const caravan_attention_forward_args& args, int64_t workspace) {
    const Check check(kForward);
    check_inputs(kForward, args);
    if (present(args.pages)) check_pages(check, args);
    check_apart(check, "out", args.out);
    if (present(args.lse)) {
        check.tensor("lse", args.lse, {CARAVAN_F32}, {args.q.shape[1], args.q.shape[0]});
        check.that(args.lse.shape[0] <= 1 || args.lse.stride[0] >= args.lse.shape[1],
                   "lse: got stride %lld on axis 0, needs at least %lld",
                   static_cast<long long>(args.lse.stride[0]),
                   static_cast<long long>(args.lse.shape[1]));
    }
    check.buffer("workspace", args.workspace, workspace);
}

void check_backward(const caravan_attention_backward_args& args, int64_t workspace) {
    const Check check(kBackward);
    check_inputs(kBackward, args);
    check.tensor("lse", args.lse, {CARAVAN_F32}, {args.q.shape[1], args.q.shape[0]});
    const auto like = [&](const char* name, const caravan_tensor& tensor,
                          const caravan_tensor& other) {
        check.tensor(name, tensor, {CARAVAN_F32, CARAVAN_BF16},
                     {other.shape[0], other.shape[1], other.shape[2]});
        check.same_dtype(name, tensor, "q", args.q);
    };
    like("d_out", args.d_out, args.out);
    like("d_q", args.d_q, args.q);
    like("d_k", args.d_k, args.k);
    like("d_v", args.d_v, args.v);
    check_apart(check, "d_q", args.d_q);
    check_apart(check, "d_k", args.d_k);
    check_apart(check, "d_v", args.d_v);
    check.that(present(args.bias_table) == present(args.d_bias_table),
               "d_bias_table: needed with bias_table, and only then");
    if (present(args.d_bias_table)) {
        check.tensor("d_bias_table", args.d_bias_table, {CARAVAN_F32},
                     {args.bias_table.shape[0], args.bias_table.shape[1]});
        check.that(args.d_bias_table.stride[0] >= args.d_bias_table.shape[1],
                   "d_bias_table: got stride %lld on axis 0, needs at least %lld",
                   static_cast<long long>(args.d_bias_table.stride[0]),
                   static_cast<long long>(args.d_bias_table.shape[1]));
    }
    check.that(present(args.sinks) == present(args.d_sinks),
               "d_sinks: needed with sinks, and only then");
    if (present(args.d_sinks)) {
        check.packed("d_sinks", args.d_sinks, {CARAVAN_F32}, {args.q.shape[1]});
    }
    check_flag(check, "any_order", args.any_order);
    check.buffer("workspace", args.workspace, workspace);
}

// What only the CPU can check before it runs: values in memory.
void check_documents(const char* op, const char* name, const caravan_tensor& borders,
                     int64_t rows) {
    const Check check(op);
    const auto* border = static_cast<const int32_t*>(borders.data);
    check.that(border[0] == 0, "%s: got %d at 0, needs 0", name, border[0]);
    for (int64_t s = 1; s < borders.shape[0]; ++s) {
        check.that(border[s] >= border[s - 1],
                   "%s: got %d behind %d at %lld, needs ascending values", name, border[s],
                   border[s - 1], static_cast<long long>(s));
    }
    const int32_t last = border[borders.shape[0] - 1];
    check.that(last <= rows, "%s: got %d at the end, needs at most %lld", name, last,
               static_cast<long long>(rows));
}

// The keys of paged documents, before the CPU runs: none has more than its pages hold, and those
// lie within the rows of k.
void check_paged_documents(const caravan_attention_forward_args& args) {
    const Check check(kForward);
    const auto* border = static_cast<const int32_t*>(args.cu_k.data);
    const int64_t listed = args.pages.shape[1], there = args.k.shape[0] / args.page_rows;
    for (int64_t s = 0; s + 1 < args.cu_k.shape[0]; ++s) {
        const int64_t keys = int64_t{border[s + 1]} - border[s];
        check.that(keys <= listed * args.page_rows,
                   "cu_k: got %lld keys of document %lld, needs at most the %lld of its pages",
                   static_cast<long long>(keys), static_cast<long long>(s),
                   static_cast<long long>(listed * args.page_rows));
        const auto* page = static_cast<const int32_t*>(args.pages.data) + s * args.pages.stride[0];
        for (int64_t i = 0; i * args.page_rows < keys; ++i) {
            check.that(page[i] >= 0 && page[i] < there,
                       "pages: got %d at %lld of document %lld, needs 0 to %lld", page[i],
                       static_cast<long long>(i), static_cast<long long>(s),
                       static_cast<long long>(there - 1));
        }
    }
}

// Extents that a workspace follows from; the tensors need no memory yet.
template <typename Args>
void check_extents(const char* op, const Args& args) {
    const Check check(op);
    const auto bounded = [&](const char* name, const caravan_tensor& tensor, int32_t rank) {
        check.that(tensor.rank == rank, "%s: got rank %d, needs %d", name, tensor.rank, rank);
        for (int axis = 0; axis < rank; ++axis) {
            check.that(tensor.shape[axis] >= 0 && tensor.shape[axis] <= INT32_MAX,
                       "%s: got %lld on axis %d, needs 0 to 2147483647", name,
                       static_cast<long long>(tensor.shape[axis]), axis);
        }
    };
    bounded("q", args.q, 3);
    bounded("k", args.k, 3);
    bounded("v", args.v, 3);
    bounded("cu_q", args.cu_q, 1);
    if (args.bias_table.rank != 0) bounded("bias_table", args.bias_table, 2);
    check_width(op, "q", args.q.shape[2]);
    check_width(op, "v", args.v.shape[2]);
}

int64_t workspace_bytes(const char* op, int32_t kind, const caravan_attention_forward_args& args) {
    check_extents(op, args);
    const bool paged = args.pages.rank != 0;
    if (paged) {
        Check(op).that(args.pages.rank == 2 && args.pages.shape[1] >= 0 && args.page_rows >= 0,
                       "pages: got rank %d, needs 2", args.pages.rank);
    }
    const int64_t tq = args.q.shape[0], heads = args.q.shape[1];
    const int64_t documents = args.cu_q.shape[0] - 1;
    const int64_t keys = paged ? args.pages.shape[1] * args.page_rows : args.k.shape[0];
    if (kind != CARAVAN_CUDA) {
        return 4 * caravan::plan_attention_forward(tq, keys, heads, args.v.shape[2]);
    }
    if (!paged && !caravan::attention_decodes(tq, documents)) return 0;
    const int64_t splits = caravan::cuda_decode_splits(tq, heads, args.k.shape[1], documents, keys);
    if (splits == 1) return 0;
    return 4 * splits * tq * heads * caravan::cuda_decode_floats(args.v.shape[2]);
}

int64_t workspace_bytes(const char* op, int32_t kind, const caravan_attention_backward_args& args) {
    check_extents(op, args);
    if (kind == CARAVAN_CUDA) return 4 * caravan::plan_cuda_attention_backward(args).count();
    const int64_t documents = args.cu_q.shape[0] - 1;
    const int64_t buckets = args.bias_table.rank == 0 ? 0 : args.bias_table.shape[0];
    const auto plan = caravan::plan_attention_backward(
        args.q.shape[0], args.k.shape[0], args.q.shape[1], args.k.shape[1], args.q.shape[2],
        args.v.shape[2], documents, buckets);
    return 4 * (plan.query_sums + plan.bias_sums);
}

template <typename Args>
caravan_status workspace(const char* op, int32_t kind, const Args* args, int64_t* bytes) {
    return caravan::guarded([&] {
        int64_t& out = caravan::result(op, "bytes", bytes);
        caravan::check_kind(op, kind);
        out = workspace_bytes(op, kind, caravan::checked_args(op, args));
    });
}

}  // namespace

caravan_status caravan_attention_forward(caravan_stream stream,
                                         const caravan_attention_forward_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kForward, args);
        const auto& on = caravan::known_stream(kForward, stream);
        check_forward(known, workspace_bytes(kForward, on.kind, known));
        caravan::launch(kForward, on, known, &caravan::CpuKernels::attention_forward,
                        &caravan::DeviceKernels::attention_forward, [&] {
                            const bool paged = present(known.pages);
                            check_documents(kForward, "cu_q", known.cu_q, known.q.shape[0]);
                            check_documents(kForward, "cu_k", known.cu_k,
                                            paged ? INT32_MAX : known.k.shape[0]);
                            if (paged) check_paged_documents(known);
                            return true;
                        });
    });
}

caravan_status caravan_attention_backward(caravan_stream stream,
                                          const caravan_attention_backward_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kBackward, args);
        const auto& on = caravan::known_stream(kBackward, stream);
        check_backward(known, workspace_bytes(kBackward, on.kind, known));
        caravan::launch(kBackward, on, known, &caravan::CpuKernels::attention_backward,
                        &caravan::DeviceKernels::attention_backward, [&] {
                            check_documents(kBackward, "cu_q", known.cu_q, known.q.shape[0]);
                            check_documents(kBackward, "cu_k", known.cu_k, known.k.shape[0]);
                            return true;
                        });
    });
}

caravan_status caravan_attention_forward_workspace(int32_t kind,
                                                   const caravan_attention_forward_args* args,
                                                   int64_t* bytes) {
    return workspace("attention_forward_workspace", kind, args, bytes);
}

caravan_status caravan_attention_backward_workspace(int32_t kind,
                                                    const caravan_attention_backward_args* args,
                                                    int64_t* bytes) {
    return workspace("attention_backward_workspace", kind, args, bytes);
}
