// cache[start + i] = x[i]. A start that cannot be makes the rows NaN that are nearest to it.
//
// Bytes: x once read, once written.
#include "cuda/kernels.h"
#include "cuda/rows.cuh"
#include "cuda/tensors.h"

namespace caravan {
namespace cuda {
namespace {

// A row is one head of one token.
template <typename T>
struct Append {
    const T* x;
    int64_t token_stride, head_stride;
    T* cache;
    int64_t room;  // tokens
    const int32_t* start;
    int64_t tokens, heads, width;
    int shift;
};

template <typename T, int kVector>
__global__ void __launch_bounds__(kRowThreads) cache_append_fwd_kernel(Append<T> a) {
    const RowPlace at = row_place(a.shift);
    if (at.row >= a.tokens * a.heads) return;
    const int64_t token = at.row / a.heads, head = at.row % a.heads;
    const int64_t start = *a.start, last = a.room - a.tokens;
    const int64_t nearest = start < 0 ? 0 : start > last ? last : start;
    T* const to = a.cache + (nearest * a.heads + at.row) * a.width;
    if (start != nearest) return fill_row<kVector>(to, a.width, NAN, at);
    copy_row<kVector>(a.x + token * a.token_stride + head * a.head_stride, to, a.width, at);
}

}  // namespace

void cache_append_forward(tile::Launcher& launcher, const caravan_cache_append_args& args) {
    if (element_count(args.x) == 0) return;
    const int64_t tokens = args.x.shape[0];
    int64_t heads = args.x.shape[1], width = args.x.shape[2];
    if (heads == 1 || args.x.stride[1] == width) {  // heads without gaps are one long row
        width *= heads;
        heads = 1;
    }
    with_storage(args.x.dtype, [&](auto* tag) {
        using T = StorageOf<decltype(tag)>;
        const auto start = [&](auto vector) {
            const int shift = row_shift(width / vector);
            launcher.run(cache_append_fwd_kernel<T, vector>, row_config(tokens * heads, shift),
                         Append<T>{data<T>(args.x), args.x.stride[0], args.x.stride[1],
                                   data<T>(args.cache), args.cache.shape[0],
                                   data<int32_t>(args.start), tokens, heads, width, shift});
        };
        const bool wide = width % tile::kLanes<T> == 0 && wide_start(args.cache) &&
                          (tokens <= 1 || tile::wide(args.x.data, args.x.stride[0], sizeof(T))) &&
                          (heads <= 1 || tile::wide(args.x.data, args.x.stride[1], sizeof(T))) &&
                          wide_start(args.x);
        if (wide) {
            start(std::integral_constant<int, tile::kLanes<T>>{});
        } else {
            start(std::integral_constant<int, 1>{});
        }
    });
}

}  // namespace cuda
}  // namespace caravan
