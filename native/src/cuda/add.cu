// out = a + b.  Bytes: each of a, b and out once.
#include "cuda/kernels.h"
#include "cuda/tensors.h"
#include "cuda/tile/elements.cuh"

namespace caravan {
namespace cuda {
namespace {

template <typename T, int kVector>
__global__ void __launch_bounds__(tile::kElementThreads)
    add_fwd_kernel(const T* a, const T* b, T* out, int64_t count) {
    const int64_t i = tile::element_first(kVector);
    if (i >= count) return;
    const auto left = tile::to_floats(tile::load<kVector>(a + i));
    const auto right = tile::to_floats(tile::load<kVector>(b + i));
    tile::Vector<float, kVector> sum;
#pragma unroll
    for (int j = 0; j < kVector; ++j) sum[j] = left[j] + right[j];
    tile::store(out + i, tile::from_floats<T>(sum));
}

}  // namespace

void add_forward(tile::Launcher& launcher, const caravan_add_args& args) {
    const int64_t count = element_count(args.a);
    if (count == 0) return;
    with_storage(args.a.dtype, [&](auto* tag) {
        using T = StorageOf<decltype(tag)>;
        constexpr int kWide = tile::kLanes<T>;
        const auto start = [&](auto kernel, int vector) {
            launcher.run(kernel, tile::element_config(count, vector), data<T>(args.a),
                         data<T>(args.b), data<T>(args.out), count);
        };
        const bool wide =
            count % kWide == 0 && wide_start(args.a) && wide_start(args.b) && wide_start(args.out);
        if (wide) {
            start(add_fwd_kernel<T, kWide>, kWide);
        } else {
            start(add_fwd_kernel<T, 1>, 1);
        }
    });
}

}  // namespace cuda
}  // namespace caravan
