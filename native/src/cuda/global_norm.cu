// The norm of all gradients, and from it the factor that clips them. Squares and sums in double, as
// on the CPU: they overflow in float32 where a gradient does not. On parts with few double units
// (capability 8.6, 8.9, 12.0) that, and not memory, sets the pace.
//
// Bytes: each gradient once.
#include "core/blocks.h"
#include "cuda/kernels.h"
#include "cuda/tensors.h"
#include "cuda/tile/launch.cuh"
#include "cuda/tile/reduce.cuh"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kAtOnce = 4;  // loads of a thread that are under way together

template <typename T, int kVector>
__global__ void __launch_bounds__(kThreads)
    global_norm_partial_kernel(const T* grads, Blocks blocks, double* partials) {
    tile::Shared shared;
    auto* const scratch = shared.take<double>(tile::kReduceScratch);
    const int64_t begin = blockIdx.x * blocks.size;
    const int64_t count = min(blocks.total - begin, blocks.size);
    const T* const x = grads + begin;
    double sums[kAtOnce] = {};  // apart, so that they do not wait for each other
    const auto add = [&](double& sum, const tile::Vector<float, kVector>& values) {
#pragma unroll
        for (int j = 0; j < kVector; ++j) {
            const auto value = static_cast<double>(values[j]);
            sum += value * value;
        }
    };
    constexpr int64_t kStep = int64_t{kThreads} * kVector;
    const int64_t whole = count / kVector * kVector;
    int64_t i = static_cast<int64_t>(threadIdx.x) * kVector;
    for (; i + (kAtOnce - 1) * kStep < whole; i += kAtOnce * kStep) {
        tile::Vector<T, kVector> parts[kAtOnce];
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k) {
            parts[k] = tile::load_streaming<kVector>(x + i + k * kStep);
        }
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k) add(sums[k], tile::to_floats(parts[k]));
    }
    for (; i < whole; i += kStep) {
        add(sums[0], tile::to_floats(tile::load_streaming<kVector>(x + i)));
    }
    if (whole + threadIdx.x < count) {  // fewer than a vector
        const auto value = static_cast<double>(tile::to_float(x[whole + threadIdx.x]));
        sums[0] += value * value;
    }
    const double sum = tile::block_sum((sums[0] + sums[1]) + (sums[2] + sums[3]), scratch);
    if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

// One block.
__global__ void __launch_bounds__(kThreads)
    global_norm_finish_kernel(const double* partials, int64_t count, caravan_step_state* state) {
    tile::Shared shared;
    auto* const scratch = shared.take<double>(tile::kReduceScratch);
    double sum = 0;
    for (int64_t i = threadIdx.x; i < count; i += kThreads) sum += partials[i];
    sum = tile::block_sum(sum, scratch);
    if (threadIdx.x != 0) return;
    const double norm = sqrt(sum);
    const auto grad_norm = static_cast<float>(norm);
    const bool finite = fabsf(grad_norm) < INFINITY;
    const auto clip = static_cast<double>(state->clip_norm);
    state->grad_norm = grad_norm;
    state->finite = finite ? 1 : 0;
    state->clip_factor =
        clip > 0 && finite ? static_cast<float>(fmin(1.0, clip / (norm + 1e-6))) : 1.0f;
}

}  // namespace

void global_norm_forward(tile::Launcher& launcher, const caravan_global_norm_args& args) {
    const Blocks blocks = partial_element_blocks(CARAVAN_CUDA, args.grads.shape[0]);
    auto* const partials = data<double>(args.workspace);
    const int64_t scratch = tile::SharedLayout().take<double>(tile::kReduceScratch).bytes();
    if (blocks.count > 0) {
        with_storage(args.grads.dtype, [&](auto* tag) {
            using T = StorageOf<decltype(tag)>;
            const auto start = [&](auto kernel) {
                launcher.run(kernel, tile::config(blocks.count, kThreads, scratch),
                             data<T>(args.grads), blocks, partials);
            };
            if (wide_start(args.grads)) {
                start(global_norm_partial_kernel<T, tile::kLanes<T>>);
            } else {
                start(global_norm_partial_kernel<T, 1>);
            }
        });
    }
    launcher.run(global_norm_finish_kernel, tile::config(1, kThreads, scratch), partials,
                 blocks.count, data<caravan_step_state>(args.state));
}

}  // namespace cuda
}  // namespace caravan
