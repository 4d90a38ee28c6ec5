// out = x in another dtype, to nearest even.  Bytes: x and out once.
#include <algorithm>

#include "cuda/kernels.h"
#include "cuda/tensors.h"
#include "cuda/tile/elements.cuh"

namespace caravan {
namespace cuda {
namespace {

template <typename From, typename To, int kVector>
__global__ void __launch_bounds__(tile::kElementThreads)
    cast_fwd_kernel(const From* x, To* out, int64_t count) {
    const int64_t i = tile::element_first(kVector);
    if (i >= count) return;
    tile::store(out + i,
                tile::from_floats<To>(tile::to_floats(tile::load<kVector>(x + i))));
}

}  // namespace

void cast_forward(tile::Launcher& launcher, const caravan_cast_args& args) {
    const int64_t count = element_count(args.x);
    if (count == 0) return;
    with_storage(args.x.dtype, [&](auto* from) {
        with_storage(args.out.dtype, [&](auto* to) {
            using From = StorageOf<decltype(from)>;
            using To = StorageOf<decltype(to)>;
            // As many as the wider of the two moves in 16 bytes.
            constexpr int kWide = std::min(tile::kLanes<From>, tile::kLanes<To>);
            const auto start = [&](auto kernel, int vector) {
                launcher.run(kernel, tile::element_config(count, vector), data<From>(args.x),
                             data<To>(args.out), count);
            };
            if (count % kWide == 0 && wide_start(args.x) && wide_start(args.out)) {
                start(cast_fwd_kernel<From, To, kWide>, kWide);
            } else {
                start(cast_fwd_kernel<From, To, 1>, 1);
            }
        });
    });
}

}  // namespace cuda
}  // namespace caravan
