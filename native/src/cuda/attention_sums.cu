// What attention's backward pass does before and behind its large kernels: sums of d_out * out, and
// zeros where blocks will add to d_q in memory; at the end gradients of the bias table and of the
// sinks, and d_q of what was added. Each sum is one warp's or one block's, in a fixed order.
#include "cuda/attention.h"
#include "cuda/attention_backward.cuh"
#include "cuda/tile/reduce.cuh"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kEndThreads = 512;
constexpr int kRowThreads = 8;  // of a row and head of deltas

// Rows of either storage, and what is written beside them.
struct Deltas {
    Heads<const void> out, d_out;
    bool is_bf16, wide;  // wide: rows are whole pieces of 16 bytes, and aligned
    int64_t rows;
    int width;
    float* deltas;  // [heads, rows]
    float* query_sums;
    int panels;
    uint32_t* counters;  // the next tile and the turns
    int64_t counts;
};

// This thread's share of a row's sum, kAtOnce neighbours at a time.
template <typename T, int kAtOnce>
__device__ __forceinline__ float delta_share(const Deltas& a, int64_t row, int64_t head, int part) {
    const Heads<const T> out = {static_cast<const T*>(a.out.data), a.out.row, a.out.head};
    const Heads<const T> d_out = {static_cast<const T*>(a.d_out.data), a.d_out.row, a.d_out.head};
    float sum = 0;
    for (int column = part * kAtOnce; column < a.width; column += kRowThreads * kAtOnce) {
        const auto x = tile::to_floats(tile::load<kAtOnce>(out.at(row, head) + column));
        const auto y = tile::to_floats(tile::load<kAtOnce>(d_out.at(row, head) + column));
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) sum += x[i] * y[i];
    }
    return sum;
}

// deltas[head][row] = the sum of d_out * out; query_sums and counters = 0, where there are any.
__global__ void __launch_bounds__(kThreads) attention_delta_kernel(const Deltas a) {
    const int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x, head = blockIdx.y;
    const int64_t row = at / kRowThreads, all = int64_t{gridDim.x} * gridDim.y * kThreads;
    const int part = threadIdx.x % kRowThreads;
    for (int64_t i = head * gridDim.x * kThreads + at; i < a.counts; i += all) a.counters[i] = 0;
    float sum = 0;
    if (row < a.rows) {
        sum = !a.is_bf16 ? delta_share<float, 1>(a, row, head, part)
              : a.wide   ? delta_share<tile::bf16, 8>(a, row, head, part)
                         : delta_share<tile::bf16, 1>(a, row, head, part);
    }
    sum = tile::warp_sum<kRowThreads>(sum);
    if (row >= a.rows) return;
    if (part == 0) a.deltas[head * a.rows + row] = sum;
    for (int panel = 0; panel < a.panels; ++panel) {
        constexpr int kEach = tensor::kSumColumns / kRowThreads;
        float* const to = a.query_sums +
                          ((head * a.panels + panel) * a.rows + row) * tensor::kSumColumns +
                          part * kEach;
#pragma unroll
        for (int i = 0; i < kEach; i += 4) tile::store(to + i, tile::Vector<float, 4>{});
    }
}

// What the end of a backward pass has to do, by blocks: first a head's sink each, then gradients of
// the bias, then d_q.
struct End {
    AttentionRules rules;
    unsigned sink_blocks, bias_blocks;
    const float* lse;
    int64_t lse_stride;
    const float* deltas;
    float* d_sinks;
    const float* bias_sums;  // [slots, heads, buckets]
    int64_t bias_slots;
    float* d_bias;
    int64_t d_bias_stride;
    const float* query_sums;
    int panels;
    Heads<tile::bf16> d_q;
};

// d_sinks[head] -= the sum over rows of exp(sink - lse) * delta: a block for each.
__device__ __forceinline__ void sum_sinks(const End& a, int64_t head) {
    const AttentionRules& rules = a.rules;
    const bool holds = documents_hold(rules);
    const float sink = rules.sinks[head];
    float sum = holds ? 0.0f : NAN;
    for (int64_t row = threadIdx.x; holds && row < rules.query_rows; row += kEndThreads) {
        const float at = a.lse[head * a.lse_stride + row];
        // A row that sees no key has no gradient.
        if (at != -INFINITY) sum += expf(sink - at) * a.deltas[head * rules.query_rows + row];
    }
    tile::Shared shared;
    sum = tile::block_sum(sum, shared.take<float>(tile::kReduceScratch));
    if (threadIdx.x == 0) a.d_sinks[head] -= sum;
}

// d_bias[bucket][head] += the sum over slots: a warp for each.
__device__ __forceinline__ void sum_biases(const End& a, int64_t block) {
    const int lane = threadIdx.x % tile::kWarp;
    const int64_t at = (block * kEndThreads + threadIdx.x) / tile::kWarp;
    const int64_t buckets = a.rules.bias_buckets, each = a.rules.heads * buckets;
    if (at >= each) return;
    float sum = 0;
    for (int64_t slot = lane; slot < a.bias_slots; slot += tile::kWarp) {
        sum += a.bias_sums[slot * each + at];
    }
    sum = tile::warp_sum(sum);
    if (lane == 0) a.d_bias[at % buckets * a.d_bias_stride + at / buckets] += sum;
}

// d_q = query_sums * scale, rounded: eight columns a thread.
__device__ __forceinline__ void round_queries(const End& a, int64_t block) {
    constexpr int kEach = 8;
    const AttentionRules& rules = a.rules;
    const bool holds = documents_hold(rules);
    const int64_t at = block * kEndThreads + threadIdx.x;
    const int64_t chunks = rules.width / kEach, place = at / chunks;
    const int64_t row = place / rules.heads, head = place % rules.heads;
    if (row >= rules.query_rows) return;
    const int column = static_cast<int>(at % chunks) * kEach;
    const int panel = column / tensor::kSumColumns, chunk = column % tensor::kSumColumns / 4;
    // Chunks are mixed in pairs.
    const float* const from =
        a.query_sums +
        ((head * a.panels + panel) * rules.query_rows + row) * tensor::kSumColumns +
        tensor::sum_chunk(static_cast<int>(row % 4), chunk) * 4;
    tile::Vector<float, kEach> values;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const auto four = tile::load_streaming<4>(from + half * 4);
#pragma unroll
        for (int i = 0; i < 4; ++i) values[half * 4 + i] = holds ? four[i] * rules.scale : NAN;
    }
    tile::store(a.d_q.at(row, head) + column, tile::from_floats<tile::bf16>(values));
}

__global__ void __launch_bounds__(kEndThreads) attention_end_kernel(const End a) {
    const unsigned block = blockIdx.x;
    if (block < a.sink_blocks) return sum_sinks(a, block);
    if (block - a.sink_blocks < a.bias_blocks) return sum_biases(a, block - a.sink_blocks);
    round_queries(a, int64_t{block} - a.sink_blocks - a.bias_blocks);
}

// Panels of 64 columns of d_q that are added up in memory.
int panels_of(const CudaAttentionBackwardPlan& plan, const caravan_attention_backward_args& args) {
    const int64_t rows = args.q.shape[0] * args.q.shape[1];
    return rows == 0 ? 0 : static_cast<int>(plan.query_sums / rows / tensor::kSumColumns);
}

int64_t blocks_for(int64_t threads) { return (threads + kEndThreads - 1) / kEndThreads; }

}  // namespace

void attention_deltas(tile::Launcher& launcher, const caravan_attention_backward_args& args,
                      bool adds_queries) {
    const auto plan = plan_cuda_attention_backward(args);
    Deltas a = {};
    a.out = {args.out.data, args.out.stride[0], args.out.stride[1]};
    a.d_out = {args.d_out.data, args.d_out.stride[0], args.d_out.stride[1]};
    a.is_bf16 = args.q.dtype == CARAVAN_BF16;
    a.wide = wide_heads(args.out) && wide_heads(args.d_out);
    a.rows = args.q.shape[0];
    a.width = static_cast<int>(args.v.shape[2]);
    a.deltas = data<float>(args.workspace);
    if (adds_queries) {
        a.query_sums = a.deltas + plan.deltas + plan.bias_sums;
        a.panels = panels_of(plan, args);
        a.counters = reinterpret_cast<uint32_t*>(a.query_sums + plan.query_sums);
        a.counts = plan.turns;
    }
    tile::Config config =
        tile::config((a.rows * kRowThreads + kThreads - 1) / kThreads, kThreads);
    config.grid.y = static_cast<unsigned>(args.q.shape[1]);
    launcher.run(attention_delta_kernel, config, a);
}

void attention_end(tile::Launcher& launcher, const caravan_attention_backward_args& args,
                   const AttentionLeft& left) {
    const auto plan = plan_cuda_attention_backward(args);
    End a = {};
    a.rules = attention_rules(args);
    a.lse = data<float>(args.lse);
    a.lse_stride = row_stride(args.lse);
    a.deltas = data<float>(args.workspace);
    int64_t blocks = 0;
    if (a.rules.sinks != nullptr) {
        a.sink_blocks = static_cast<unsigned>(a.rules.heads);
        a.d_sinks = data<float>(args.d_sinks);
        blocks += a.sink_blocks;
    }
    a.bias_sums = a.deltas + plan.deltas;
    if (a.rules.bias_table != nullptr) {
        a.bias_slots = left.bias_slots;
        a.bias_blocks = static_cast<unsigned>(
            blocks_for(int64_t{a.rules.heads} * a.rules.bias_buckets * tile::kWarp));
        a.d_bias = data<float>(args.d_bias_table);
        a.d_bias_stride = row_stride(args.d_bias_table);
        blocks += a.bias_blocks;
    }
    if (left.query_sums) {
        a.query_sums = a.bias_sums + plan.bias_sums;
        a.panels = panels_of(plan, args);
        a.d_q = heads_of<tile::bf16>(args.d_q);
        blocks += blocks_for(a.rules.query_rows * a.rules.heads * (a.rules.width / 8));
    }
    if (blocks == 0) return;
    tile::Config config = tile::config(blocks, kEndThreads);
    config.shared_bytes = tile::SharedLayout().take<float>(tile::kReduceScratch).bytes();
    launcher.run(attention_end_kernel, config, a);
}

}  // namespace cuda
}  // namespace caravan
