// What attention's backward pass adds up over blocks at the end, whatever the route: gradients of
// the bias table and of the sinks. Each sum is one warp's or one block's, in a fixed order.
#include "cuda/attention.h"
#include "cuda/attention_problem.cuh"
#include "cuda/tile/reduce.cuh"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kSinkThreads = 512;

// d_bias[bucket][head] += the sum over slots: a warp for each.
__global__ void __launch_bounds__(kThreads)
    attention_bias_sum_kernel(const float* sums, int64_t slots, int heads, int buckets,
                              float* d_bias, int64_t stride) {
    const int lane = threadIdx.x % tile::kWarp;
    const int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / tile::kWarp;
    const int64_t each = int64_t{heads} * buckets;
    if (at >= each) return;
    float sum = 0;
    for (int64_t slot = lane; slot < slots; slot += tile::kWarp) sum += sums[slot * each + at];
    sum = tile::warp_sum(sum);
    if (lane == 0) d_bias[at % buckets * stride + at / buckets] += sum;
}

// d_sinks[head] -= the sum over rows of exp(sink - lse) * delta: a block for each.
__global__ void __launch_bounds__(kSinkThreads)
    attention_sink_sum_kernel(AttentionRules rules, const float* lse, int64_t lse_stride,
                              const float* delta, float* d_sinks) {
    const int64_t head = blockIdx.x;
    const bool holds = documents_hold(rules);
    const float sink = rules.sinks[head];
    float sum = holds ? 0.0f : NAN;
    for (int64_t row = threadIdx.x; holds && row < rules.query_rows; row += kSinkThreads) {
        const float at = lse[head * lse_stride + row];
        // A row that sees no key has no gradient.
        if (at != -INFINITY) sum += expf(sink - at) * delta[head * rules.query_rows + row];
    }
    tile::Shared shared;
    sum = tile::block_sum(sum, shared.take<float>(tile::kReduceScratch));
    if (threadIdx.x == 0) d_sinks[head] -= sum;
}

}  // namespace

void attention_bias_sum(tile::Launcher& launcher, const caravan_attention_backward_args& args,
                        const float* sums, int64_t slots) {
    const int64_t heads = args.q.shape[1], buckets = args.bias_table.shape[0];
    constexpr int64_t kWarps = kThreads / tile::kWarp;
    launcher.run(attention_bias_sum_kernel,
                 tile::config((heads * buckets + kWarps - 1) / kWarps, kThreads), sums, slots,
                 static_cast<int>(heads), static_cast<int>(buckets), data<float>(args.d_bias_table),
                 row_stride(args.d_bias_table));
}

void attention_sink_sum(tile::Launcher& launcher, const caravan_attention_backward_args& args,
                        const float* delta) {
    if (args.sinks.data == nullptr) return;
    const AttentionRules rules = attention_rules(args);
    tile::Config config = tile::config(rules.heads, kSinkThreads);
    config.shared_bytes = tile::SharedLayout().take<float>(tile::kReduceScratch).bytes();
    launcher.run(attention_sink_sum_kernel, config, rules, data<float>(args.lse),
                 row_stride(args.lse), delta, data<float>(args.d_sinks));
}

}  // namespace cuda
}  // namespace caravan
