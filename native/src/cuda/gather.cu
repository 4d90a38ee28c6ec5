// Rows by index into a dense block of rows, and back. A count that cannot be makes every row NaN
// that it could mean, an index that cannot be the row that it is for; backward skips such an index,
// as the forward pass has told already.
//
// Bytes, of a row's D elements: forward reads the rows in use once and writes every row of out
// once; backward reads and writes the rows in use once. Besides, 4 bytes an index.
#include "cuda/kernels.h"
#include "cuda/rows.cuh"
#include "cuda/tensors.h"

namespace caravan {
namespace cuda {
namespace {

template <typename T>
struct Gather {
    T* x;
    int64_t x_stride, x_rows;
    const int32_t* rows;
    int64_t indices;
    const int32_t* count;
    T* out;
    int64_t out_stride, out_rows;
    int64_t width, first;
    int shift;

    __device__ __forceinline__ bool bad_count() const { return *count < 0 || *count > indices; }
    __device__ __forceinline__ bool known(int64_t row) const { return row >= 0 && row < x_rows; }
};

template <typename T, int kVector>
__global__ void __launch_bounds__(kRowThreads) gather_fwd_kernel(Gather<T> g) {
    const RowPlace at = row_place(g.shift);
    if (at.row >= g.out_rows) return;
    T* const to = g.out + at.row * g.out_stride;
    const bool bad = g.bad_count();
    if (!bad && at.row >= *g.count - g.first) return fill_row<kVector>(to, g.width, 0.0f, at);
    const int64_t from = bad ? -1 : g.rows[g.first + at.row];
    if (!g.known(from)) return fill_row<kVector>(to, g.width, NAN, at);
    copy_row<kVector>(g.x + from * g.x_stride, to, g.width, at);
}

template <typename T, int kVector>
__global__ void __launch_bounds__(kRowThreads) gather_bwd_kernel(Gather<T> g) {
    const RowPlace at = row_place(g.shift);
    const bool bad = g.bad_count();
    const int64_t used = (bad ? g.indices : *g.count) - g.first;
    if (at.row >= g.out_rows || at.row >= used) return;
    const int64_t to = g.rows[g.first + at.row];
    if (!g.known(to)) return;
    T* const row = g.x + to * g.x_stride;
    if (bad) return fill_row<kVector>(row, g.width, NAN, at);
    copy_row<kVector>(g.out + at.row * g.out_stride, row, g.width, at);
}

template <typename T>
Gather<T> problem(const caravan_gather_args& args, int shift) {
    return {data<T>(args.x),          row_stride(args.x),   args.x.shape[0],
            data<int32_t>(args.rows), args.rows.shape[0],   data<int32_t>(args.count),
            data<T>(args.out),        row_stride(args.out), args.out.shape[0],
            args.x.shape[1],          args.first,           shift};
}

// start(tag, vector) with the storage and the elements of one access, as constants.
template <typename Start>
void choose(const caravan_gather_args& args, Start&& start) {
    if (element_count(args.out) == 0) return;
    with_storage(args.x.dtype, [&](auto* tag) {
        using T = StorageOf<decltype(tag)>;
        if (wide_rows(args.x) && wide_rows(args.out)) {
            start(tag, std::integral_constant<int, tile::kLanes<T>>{});
        } else {
            start(tag, std::integral_constant<int, 1>{});
        }
    });
}

}  // namespace

void gather_forward(tile::Launcher& launcher, const caravan_gather_args& args) {
    choose(args, [&](auto* tag, auto vector) {
        using T = StorageOf<decltype(tag)>;
        const int shift = row_shift(args.x.shape[1] / vector);
        launcher.run(gather_fwd_kernel<T, vector>, row_config(args.out.shape[0], shift),
                     problem<T>(args, shift));
    });
}

void gather_backward(tile::Launcher& launcher, const caravan_gather_args& args) {
    choose(args, [&](auto* tag, auto vector) {
        using T = StorageOf<decltype(tag)>;
        const int shift = row_shift(args.x.shape[1] / vector);
        launcher.run(gather_bwd_kernel<T, vector>, row_config(args.out.shape[0], shift),
                     problem<T>(args, shift));
    });
}

}  // namespace cuda
}  // namespace caravan
