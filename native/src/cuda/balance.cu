// The balance and z losses from the layers' statistics, and their derivatives: a block for each
// layer, every sum in a fixed order and in float64.
#include "cuda/kernels.h"
#include "cuda/tensors.h"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {
namespace {

constexpr int kThreads = 256;

struct Balance {
    const float* stats;
    const caravan_step_state* state;
    float* factors;
    double* totals;
    const int32_t* offsets;  // null where nothing is dropped
    int32_t layers, experts;
    float weight, z_weight;
    int32_t definition;

    __device__ __forceinline__ double stat(int32_t layer, int32_t i) const {
        return static_cast<double>(stats[int64_t{layer} * CARAVAN_ROUTER_STATS(experts) + i]);
    }
};

__global__ void __launch_bounds__(kThreads) balance_kernel(const Balance b) {
    tile::Shared shared;
    auto* const losses = shared.take<double>(kThreads);
    auto* const assigned = shared.take<double>(kThreads);
    const int32_t layer = blockIdx.x, n = b.experts;
    const double inverse = static_cast<double>(b.state->inv_tokens);
    const double tokens = b.stat(layer, 3 * n + 1);
    const bool all = b.definition == CARAVAN_BALANCE_CHOSEN;
    const int32_t counts = b.definition == CARAVAN_BALANCE_FIRST ? n : 0;
    double over = tokens;
    for (int32_t other = 0; all && other < b.layers; ++other) {
        if (other != layer) over += b.stat(other, 3 * n + 1);
    }
    float* const factors = b.factors + int64_t{layer} * (n + 1);
    double* const totals = b.totals + int64_t{layer} * (n + 3);
    double loss = 0, chosen = 0;
    for (int32_t e = threadIdx.x; e < n; e += kThreads) {
        const double own = b.stat(layer, e);
        chosen += own;
        totals[3 + e] += own;
        float factor = 0;
        if (b.definition != CARAVAN_BALANCE_NONE && tokens != 0) {
            double count = b.stat(layer, counts + e);
            for (int32_t other = 0; all && other < b.layers; ++other) {
                if (other != layer) count += b.stat(other, e);
            }
            const double slope = static_cast<double>(n) * (count / over) / over;  // of a p
            loss += slope * b.stat(layer, 2 * n + e) * (tokens * inverse);
            factor = static_cast<float>(static_cast<double>(b.weight) * slope * (tokens * inverse));
        }
        factors[e] = factor;
    }
    losses[threadIdx.x] = loss;
    assigned[threadIdx.x] = chosen;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int i = 1; i < kThreads; ++i) {
        loss += losses[i];
        chosen += assigned[i];
    }
    factors[n] = tokens == 0 ? 0.0f : static_cast<float>(static_cast<double>(b.z_weight) * inverse);
    totals[0] += loss;
    totals[1] += tokens == 0 ? 0.0 : b.stat(layer, 3 * n) * inverse;
    if (b.offsets != nullptr) totals[2] += chosen - b.offsets[int64_t{layer} * (n + 1) + n];
}

}  // namespace

void balance_forward(tile::Launcher& launcher, const caravan_balance_args& args) {
    if (args.stats.shape[0] == 0) return;
    const Balance b = {data<float>(args.stats),
                       data<caravan_step_state>(args.state),
                       data<float>(args.factors),
                       data<double>(args.totals),
                       data<int32_t>(args.offsets),
                       static_cast<int32_t>(args.stats.shape[0]),
                       static_cast<int32_t>(args.factors.shape[1] - 1),
                       args.weight,
                       args.z_weight,
                       args.definition};
    tile::Config config = tile::config(b.layers, kThreads);
    config.shared_bytes =
        tile::SharedLayout().take<double>(kThreads).take<double>(kThreads).bytes();
    launcher.run(balance_kernel, config, b);
}

}  // namespace cuda
}  // namespace caravan
