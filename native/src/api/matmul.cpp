#include <algorithm>

#include "api/dispatch.h"
#include "core/matmul_plan.h"

namespace {

using caravan::kAny;

constexpr const char* kOp = "matmul_forward";
constexpr int64_t kLargest = INT32_MAX;  // a BLAS counts in int

void check_extents(const caravan::Check& check, const char* name, const caravan_tensor& matrix) {
    const int64_t rows = matrix.shape[0], columns = matrix.shape[1];
    check.that(rows >= 0 && rows <= kLargest && columns >= 0 && columns <= kLargest,
               "%s: got shape [%lld, %lld], needs 0 to %lld each", name,
               static_cast<long long>(rows), static_cast<long long>(columns),
               static_cast<long long>(kLargest));
}

// BLAS rows lie apart and in order: a row stride below the row's length would make them overlap.
void check_matrix(const caravan::Check& check, const char* name, const caravan_tensor& matrix,
                  int64_t rows, int64_t columns) {
    check.tensor(name, matrix, {CARAVAN_F32, CARAVAN_BF16}, {rows, columns});
    check_extents(check, name, matrix);
    check.that(matrix.shape[0] <= 1 ||
                   (matrix.stride[0] >= matrix.shape[1] && matrix.stride[0] <= kLargest),
               "%s: got stride %lld on axis 0, needs %lld to %lld", name,
               static_cast<long long>(matrix.stride[0]), static_cast<long long>(matrix.shape[1]),
               static_cast<long long>(kLargest));
}

struct Extent {
    uintptr_t from, to;   // bytes touched lie in [from, to)
    uintptr_t row, step;  // bytes of a row, bytes from row to row
};

Extent extent(const caravan_tensor& matrix) {
    const auto width = static_cast<uintptr_t>(caravan::dtype_bytes(matrix.dtype));
    const auto row = static_cast<uintptr_t>(matrix.shape[1]) * width;
    const auto step = matrix.shape[0] > 1 ? static_cast<uintptr_t>(matrix.stride[0]) * width : row;
    const auto from = reinterpret_cast<uintptr_t>(matrix.data);
    const auto rows = static_cast<uintptr_t>(matrix.shape[0]);
    return {from, rows == 0 || row == 0 ? from : from + (rows - 1) * step + row, row, step};
}

// Whether two matrices share a byte. Column ranges of one buffer interleave without sharing any.
bool overlap(const caravan_tensor& left, const caravan_tensor& right) {
    Extent a = extent(left), b = extent(right);
    if (a.to <= b.from || b.to <= a.from) return false;
    if (a.step != b.step) return true;
    if (a.from > b.from) std::swap(a, b);
    const uintptr_t shift = (b.from - a.from) % a.step;
    return shift < a.row || shift + b.row > a.step;
}

int64_t workspace_bytes(int32_t kind, const caravan_matmul_args& args) {
    if (kind == CARAVAN_CUDA) return 0;
    const bool transpose_a = args.transpose_a == 1;
    const int64_t m = args.a.shape[transpose_a ? 1 : 0], k = args.a.shape[transpose_a ? 0 : 1];
    const int64_t n = args.b.shape[args.transpose_b == 1 ? 0 : 1];
    return 4 * caravan::plan_matmul(m, n, k, transpose_a);
}

void check(int32_t kind, const caravan_matmul_args& args) {
    const caravan::Check check(kOp);
    check.that(args.transpose_a == 0 || args.transpose_a == 1, "transpose_a: got %d, needs 0 or 1",
               args.transpose_a);
    check.that(args.transpose_b == 0 || args.transpose_b == 1, "transpose_b: got %d, needs 0 or 1",
               args.transpose_b);
    check_matrix(check, "a", args.a, kAny, kAny);
    const int64_t m = args.a.shape[args.transpose_a == 1 ? 1 : 0];
    const int64_t k = args.a.shape[args.transpose_a == 1 ? 0 : 1];
    if (args.transpose_b == 1) {
        check_matrix(check, "b", args.b, kAny, k);
    } else {
        check_matrix(check, "b", args.b, k, kAny);
    }
    check_matrix(check, "c", args.c, m, args.b.shape[args.transpose_b == 1 ? 0 : 1]);
    check.that(!overlap(args.c, args.a), "c: shares memory with a");
    check.that(!overlap(args.c, args.b), "c: shares memory with b");
    if (caravan::present(args.rows)) check.tensor("rows", args.rows, {CARAVAN_I32}, {1});
    check.buffer("workspace", args.workspace, workspace_bytes(kind, args));
}

// What only the CPU can check before it runs: values in memory.
void check_values(const caravan_matmul_args& args) {
    if (!caravan::present(args.rows)) return;
    const int32_t rows = *static_cast<const int32_t*>(args.rows.data);
    const int64_t most = args.a.shape[0];
    caravan::Check(kOp).that(rows >= 0 && rows <= most, "rows: got %d, needs 0 to %lld", rows,
                             static_cast<long long>(most));
}

}  // namespace

caravan_status caravan_matmul_forward(caravan_stream stream, const caravan_matmul_args* args) {
    return caravan::guarded([&] {
        const auto known = caravan::checked_args(kOp, args);
        const auto& on = caravan::known_stream(kOp, stream);
        check(on.kind, known);
        caravan::launch(kOp, on, known, &caravan::CpuKernels::matmul_forward,
                        &caravan::DeviceKernels::matmul_forward, [&] {
                            check_values(known);
                            return true;
                        });
    });
}

caravan_status caravan_matmul_workspace(int32_t kind, const caravan_matmul_args* args,
                                        int64_t* bytes) {
    constexpr const char* op = "matmul_workspace";
    return caravan::guarded([&] {
        int64_t& out = caravan::result(op, "bytes", bytes);
        caravan::check_kind(op, kind);
        const auto known = caravan::checked_args(op, args);
        for (const caravan_tensor* matrix : {&known.a, &known.b}) {
            const char* name = matrix == &known.a ? "a" : "b";
            const caravan::Check check(op);
            check.that(matrix->rank == 2, "%s: got rank %d, needs 2", name, matrix->rank);
            check_extents(check, name, *matrix);
        }
        out = workspace_bytes(kind, known);
    });
}
