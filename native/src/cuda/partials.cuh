// The second half of a sum over rows: blocks of rows have each left a partial sum in a workspace
// (core/blocks.h, partial_blocks).  Bytes: 4 for each partial, once, mostly out of L2.
#pragma once

#include "cuda/tensors.h"
#include "cuda/tile/launch.cuh"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {

// A block sums 32 columns by 16 warps, each a run of the partials; then the runs, in order.
inline constexpr int kPartialRuns = 16;
inline constexpr int kPartialsAtOnce = 17;  // of a run; no more than 264 partials have more

// sum[j] += partials[0][j] + partials[1][j] + ...
//   partials [count, width] f32 . sum [width]
template <typename O>
__global__ void __launch_bounds__(kPartialRuns* tile::kWarp)
    add_partials_kernel(const float* partials, int32_t count, int64_t width, O* sum) {
    float* const runs = tile::Shared().take<float>(kPartialRuns * tile::kWarp);
    const int lane = threadIdx.x % tile::kWarp, run = threadIdx.x / tile::kWarp;
    const int64_t column = static_cast<int64_t>(blockIdx.x) * tile::kWarp + lane;
    const int each = (count + kPartialRuns - 1) / kPartialRuns;
    const int end = count < (run + 1) * each ? count : (run + 1) * each;
    float total = 0;
    for (int first = run * each; first < end; first += kPartialsAtOnce) {
        float loaded[kPartialsAtOnce] = {};
#pragma unroll
        for (int i = 0; i < kPartialsAtOnce; ++i) {
            if (first + i < end && column < width)
                loaded[i] = partials[(first + i) * width + column];
        }
#pragma unroll
        for (int i = 0; i < kPartialsAtOnce; ++i) {
            if (first + i < end) total += loaded[i];
        }
    }
    runs[threadIdx.x] = total;
    __syncthreads();
    if (run != 0 || column >= width) return;
#pragma unroll
    for (int i = 1; i < kPartialRuns; ++i) total += runs[i * tile::kWarp + lane];
    sum[column] = tile::from_float<O>(tile::to_float(sum[column]) + total);
}

inline void add_partials(tile::Launcher& launcher, const float* partials, int64_t count,
                         const caravan_tensor& sum) {
    const int64_t width = sum.shape[0];
    if (width == 0 || count == 0) return;
    with_storage(sum.dtype, [&](auto* tag) {
        using O = StorageOf<decltype(tag)>;
        constexpr int kThreads = kPartialRuns * tile::kWarp;
        launcher.run(add_partials_kernel<O>,
                     tile::config((width + tile::kWarp - 1) / tile::kWarp, kThreads,
                                  kThreads * static_cast<int64_t>(sizeof(float))),
                     partials, static_cast<int32_t>(count), width, data<O>(sum));
    });
}

}  // namespace cuda
}  // namespace caravan
