// Backward attention by mma.sync, bf16, in two kernels that own what they write, so that no sum
// depends on the order of blocks: the five products become seven, as both compute scores and their
// gradients.
//
// d_q: a block for each tile of queries and head goes over the keys that they see; it leaves
// delta = sum of d_out * out of each row for the second kernel. d_k and d_v: a block for each tile
// of keys and key/value head goes over the queries that see them, of every head that shares them,
// on transposed scores. In both, weights and gradients of scores stay in registers as the left
// operand of the next product, while the next tiles are copied. Sources: Dao 2023, arXiv 2307.08691
// (FlashAttention-2), algorithm 2; PTX ISA for the layouts.
#include "cuda/attention.h"
#include "cuda/attention_mma.cuh"

namespace caravan {
namespace cuda {
namespace {

using namespace mma;

struct Backward {
    AttentionRules rules;
    Scores scores;
    Heads<const bf16> q, k, v, out, d_out;
    Heads<bf16> d_q, d_k, d_v;
    const float* lse;
    int64_t lse_stride;
    float* delta;  // [heads, query rows]
};

// What is in a block of either kernel. Owned rows: those whose gradients the block computes; passed
// rows: of a tile that it goes over.
template <int kWidth_, int kValueWidth_, int kWarps_, int kPassed_>
struct BackwardShape {
    static constexpr int kWidth = kWidth_, kValueWidth = kValueWidth_;
    static constexpr int kWarps = kWarps_, kThreads = kWarps * tile::kWarp;
    static constexpr int kOwned = kWarps * 16, kPassed = kPassed_;
    static constexpr int kStageBytes =
        static_cast<int>(Tile<kWidth>::bytes(kPassed) + Tile<kValueWidth>::bytes(kPassed));
    static constexpr int kOwnedBytes =
        static_cast<int>(Tile<kWidth>::bytes(kOwned) + Tile<kValueWidth>::bytes(kOwned));

    // d_q: owned rows move to registers before the first tile passes through the same memory.
    static constexpr int64_t query_bytes() {
        return kOwnedBytes > 2 * kStageBytes ? kOwnedBytes : 2 * kStageBytes;
    }
    // d_k, d_v: with the statistics of passed rows.
    static constexpr int64_t key_bytes() {
        return kOwnedBytes + 2 * kStageBytes + 4 * kPassed * int64_t{sizeof(float)};
    }
};

// Replaces products of queries and keys by weights, and the gradients of weights by those of scores
// over scale. lse(n, half, e) with log2(e) and delta(n, half, e) are those of the element's query.
template <int kN, typename Lse, typename Delta>
__device__ __forceinline__ void to_gradients(float (&scores)[1][kN][4],
                                             float (&gradients)[1][kN][4], const Scores& to_score,
                                             const Band& band, bool cut, const Lse& lse,
                                             const Delta& delta) {
    if (to_score.cap > 0) {
#pragma unroll
        for (int n = 0; n < kN; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const float bent = tile::tanh_of_cap(scores[0][n][e] * to_score.bend);
                scores[0][n][e] = to_score.cap * bent;
                gradients[0][n][e] = (gradients[0][n][e] - delta(n, e)) * (1 - bent * bent);
            }
        }
    } else {
#pragma unroll
        for (int n = 0; n < kN; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                scores[0][n][e] *= to_score.scale;
                gradients[0][n][e] -= delta(n, e);
            }
        }
    }
    if (cut) band.apply(scores);
#pragma unroll
    for (int n = 0; n < kN; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            scores[0][n][e] = tile::exp2_flushed(scores[0][n][e] - lse(n, e));
            gradients[0][n][e] *= scores[0][n][e];
        }
    }
}

// A log-sum-exp with log2(e); of a row that sees no key one that makes all weights 0.
__device__ __forceinline__ float weight_base(float lse) {
    return lse == -INFINITY ? INFINITY : lse * kLog2E;
}

template <typename Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    attention_mma_bwd_q_kernel(const __grid_constant__ Backward a) {
    constexpr int kThreads = Shape::kThreads, kQueries = Shape::kOwned, kKeys = Shape::kPassed;
    constexpr int kWidth = Shape::kWidth, kValueWidth = Shape::kValueWidth;
    const AttentionRules& rules = a.rules;
    const int slot = gridDim.x - 1 - blockIdx.x;  // the last tiles of a document see most keys
    const int head = blockIdx.y;
    if (!documents_hold(rules)) {
        spoil<kQueries>(a.d_q, slot, rules.query_rows, head, rules.width);
        return;
    }
    const DocumentTile document = find_tile<Side::kQueries>(rules, slot, kQueries);
    if (document.begin >= document.queries) return;
    const int rows = static_cast<int>(min(document.queries - document.begin, int64_t{kQueries}));
    const int first_position = static_cast<int>(document.begin + document.shift());
    const int left = static_cast<int>(rules.left), right = static_cast<int>(rules.right);
    const int key_count = static_cast<int>(document.keys);
    const int keys_from = max(first_position - left, 0) / kKeys * kKeys;
    const int keys_to = min(first_position + rows + right, key_count);
    const int query_row = static_cast<int>(document.first_query + document.begin);
    const int first_key = static_cast<int>(document.first_key);
    const int warp_row = warp() * 16;

    unsigned char* const memory = tile::shared_memory();
    const auto copy_stage = [&](int key, int stage) {
        unsigned char* const to = memory + stage * Shape::kStageBytes;
        copy_tile<kKeys, kThreads>(Tile<kWidth>{to}, a.k.at(first_key + key, head / rules.group),
                                   a.k.row, key_count - key, rules.width);
        copy_tile<kKeys, kThreads>(Tile<kValueWidth>{to + Tile<kWidth>::bytes(kKeys)},
                                   a.v.at(first_key + key, head / rules.group), a.v.row,
                                   key_count - key, rules.value_width);
        tile::copy_async_commit();
    };

    // Owned rows to registers.
    const Tile<kWidth> queries = {memory};
    const Tile<kValueWidth> d_outs = {memory + Tile<kWidth>::bytes(kQueries)};
    copy_tile<kQueries, kThreads>(queries, a.q.at(query_row, head), a.q.row, rows, rules.width);
    copy_tile<kQueries, kThreads>(d_outs, a.d_out.at(query_row, head), a.d_out.row, rows,
                                  rules.value_width);
    tile::copy_async_commit();
    tile::copy_async_wait<0>();
    __syncthreads();
    Left<1, kWidth, true> query_operand(queries, warp_row);
    Left<1, kValueWidth, true> d_out_operand(d_outs, warp_row);
    query_operand.keep();
    d_out_operand.keep();

    float lse[2], delta[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int row = warp_row + half * 8 + lane() / 4;
        const bool there = row < rows;
        const bf16* out = a.out.at(query_row + row, head);
        float sum = 0;
#pragma unroll
        for (int step = 0; step < kValueWidth / 16; ++step) {
#pragma unroll
            for (int high = 0; high < 2; ++high) {
                const int column = step * 16 + high * 8 + lane() % 4 * 2;
                if (!there || column >= rules.value_width) continue;
                const auto pair = tile::to_floats(tile::load<2>(out + column));
                const uint32_t d_pair = d_out_operand.kept[step][0][high * 2 + half];
                sum += tile::unpack_low(d_pair) * pair[0] + tile::unpack_high(d_pair) * pair[1];
            }
        }
        sum += __shfl_xor_sync(tile::kFullMask, sum, 1);
        sum += __shfl_xor_sync(tile::kFullMask, sum, 2);
        delta[half] = sum;
        lse[half] = INFINITY;
        if (there) {
            lse[half] = weight_base(a.lse[head * a.lse_stride + query_row + row]);
            if (lane() % 4 == 0) a.delta[head * rules.query_rows + query_row + row] = sum;
        }
    }
    __syncthreads();  // the memory is free

    float sums[1][kWidth / 8][4];
    clear(sums);
    if (keys_from < keys_to) copy_stage(keys_from, 0);
    for (int key = keys_from, stage = 0; key < keys_to; key += kKeys, stage ^= 1) {
        tile::copy_async_wait<0>();
        __syncthreads();  // this stage is there, the other is free
        if (key + kKeys < keys_to) copy_stage(key + kKeys, stage ^ 1);
        unsigned char* const at = memory + stage * Shape::kStageBytes;
        const Tile<kWidth> keys = {at};
        const Tile<kValueWidth> values = {at + Tile<kWidth>::bytes(kKeys)};
        float scores[1][kKeys / 8][4], gradients[1][kKeys / 8][4];
        multiply(scores, query_operand, keys, 0);
        multiply(gradients, d_out_operand, values, 0);
        const Band band = {first_position + warp_row - key, left, right, key_count - 1 - key};
        to_gradients(
            scores, gradients, a.scores, band, band.cuts(16, kKeys),
            [&](int, int e) { return lse[e / 2]; }, [&](int, int e) { return delta[e / 2]; });
        accumulate(sums, gradients, keys, 0);
    }
    __syncthreads();  // the memory is free
    const Tile<kWidth> stage = {memory + Tile<kWidth>::bytes(warp_row)};
    store_rows(sums, stage, a.d_q.at(query_row + warp_row, head), a.d_q.row, rows - warp_row,
               rules.width, [&](int, int) { return rules.scale; });
}

template <typename Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    attention_mma_bwd_kv_kernel(const __grid_constant__ Backward a) {
    constexpr int kThreads = Shape::kThreads, kKeys = Shape::kOwned, kQueries = Shape::kPassed;
    constexpr int kWidth = Shape::kWidth, kValueWidth = Shape::kValueWidth;
    const AttentionRules& rules = a.rules;
    const int slot = blockIdx.x;  // the first keys of a document are seen by most queries
    const int kv_head = blockIdx.y;
    if (!documents_hold(rules)) {
        spoil<kKeys>(a.d_k, slot, rules.key_rows, kv_head, rules.width);
        spoil<kKeys>(a.d_v, slot, rules.key_rows, kv_head, rules.value_width);
        return;
    }
    const DocumentTile document = find_tile<Side::kKeys>(rules, slot, kKeys);
    if (document.begin >= document.keys) return;
    const int rows = static_cast<int>(min(document.keys - document.begin, int64_t{kKeys}));
    const int first_position = static_cast<int>(document.begin - document.shift());
    const int left = static_cast<int>(rules.left), right = static_cast<int>(rules.right);
    const int query_count = static_cast<int>(document.queries);
    const int queries_from = max(first_position - right, 0) / kQueries * kQueries;
    const int queries_to = min(first_position + rows + left, query_count);
    const int key_row = static_cast<int>(document.first_key + document.begin);
    const int first_query = static_cast<int>(document.first_query);
    const int warp_row = warp() * 16;

    unsigned char* const memory = tile::shared_memory();
    const Tile<kWidth> keys = {memory};
    const Tile<kValueWidth> values = {memory + Tile<kWidth>::bytes(kKeys)};
    unsigned char* const stages = memory + Shape::kOwnedBytes;
    float* const statistics = reinterpret_cast<float*>(stages + 2 * Shape::kStageBytes);
    const auto copy_stage = [&](int head, int query, int stage) {
        unsigned char* const to = stages + stage * Shape::kStageBytes;
        copy_tile<kQueries, kThreads>(Tile<kWidth>{to}, a.q.at(first_query + query, head), a.q.row,
                                      query_count - query, rules.width);
        copy_tile<kQueries, kThreads>(Tile<kValueWidth>{to + Tile<kWidth>::bytes(kQueries)},
                                      a.d_out.at(first_query + query, head), a.d_out.row,
                                      query_count - query, rules.value_width);
        const int row = threadIdx.x % kQueries, which = threadIdx.x / kQueries;
        if (which < 2) {
            const int64_t at = first_query + query + row;
            tile::copy_async_filled<4>(statistics + (stage * 2 + which) * kQueries + row,
                                       which == 0 ? a.lse + head * a.lse_stride + at
                                                  : a.delta + head * rules.query_rows + at,
                                       query + row < query_count ? 4 : 0);
        }
        tile::copy_async_commit();
    };

    float k_sums[1][kWidth / 8][4], v_sums[1][kValueWidth / 8][4];
    clear(k_sums);
    clear(v_sums);
    if (queries_from < queries_to) {
        copy_tile<kKeys, kThreads>(keys, a.k.at(key_row, kv_head), a.k.row, rows, rules.width);
        copy_tile<kKeys, kThreads>(values, a.v.at(key_row, kv_head), a.v.row, rows,
                                   rules.value_width);
        int head = kv_head * rules.group, query = queries_from;
        const int heads_to = head + rules.group;
        copy_stage(head, query, 0);
        const Left<1, kWidth, false> key_operand(keys, warp_row);
        const Left<1, kValueWidth, false> value_operand(values, warp_row);
        for (int stage = 0; head < heads_to; stage ^= 1) {
            int next_head = head, next_query = query + kQueries;
            if (next_query >= queries_to) {
                next_query = queries_from;
                ++next_head;
            }
            tile::copy_async_wait<0>();
            __syncthreads();  // this stage is there, the other is free
            if (next_head < heads_to) copy_stage(next_head, next_query, stage ^ 1);
            unsigned char* const at = stages + stage * Shape::kStageBytes;
            const Tile<kWidth> queries = {at};
            const Tile<kValueWidth> d_outs = {at + Tile<kWidth>::bytes(kQueries)};
            const float* const lse = statistics + stage * 2 * kQueries + lane() % 4 * 2;
            float scores[1][kQueries / 8][4], gradients[1][kQueries / 8][4];
            multiply(scores, key_operand, queries, 0);
            multiply(gradients, value_operand, d_outs, 0);
            // Columns are queries: a key sees those from `right` before it to `left` behind it.
            const Band band = {first_position + warp_row - query, right, left,
                               query_count - 1 - query};
            to_gradients(
                scores, gradients, a.scores, band, band.cuts(16, kQueries),
                [&](int n, int e) { return weight_base(lse[n * 8 + e % 2]); },
                [&](int n, int e) { return lse[kQueries + n * 8 + e % 2]; });
            accumulate(v_sums, scores, d_outs, 0);
            accumulate(k_sums, gradients, queries, 0);
            head = next_head;
            query = next_query;
        }
    }
    // Each warp's rows of keys and values were read by itself alone.
    const Tile<kWidth> k_stage = {keys.data + Tile<kWidth>::bytes(warp_row)};
    const Tile<kValueWidth> v_stage = {values.data + Tile<kValueWidth>::bytes(warp_row)};
    store_rows(k_sums, k_stage, a.d_k.at(key_row + warp_row, kv_head), a.d_k.row, rows - warp_row,
               rules.width, [&](int, int) { return rules.scale; });
    store_rows(v_sums, v_stage, a.d_v.at(key_row + warp_row, kv_head), a.d_v.row, rows - warp_row,
               rules.value_width, [](int, int) { return 1.0f; });
}

template <typename QueryShape, typename KeyShape>
void run(tile::Launcher& launcher, const Backward& a) {
    const AttentionRules& rules = a.rules;
    const auto config = [&](int64_t rows, int step, int64_t heads, int threads, int64_t bytes) {
        const int64_t slots = attention_slots(rows, rules.documents, step);
        return tile::Config{dim3(static_cast<unsigned>(slots), static_cast<unsigned>(heads)),
                            dim3(static_cast<unsigned>(threads)), bytes, 1};
    };
    launcher.run(attention_mma_bwd_q_kernel<QueryShape>,
                 config(rules.query_rows, QueryShape::kOwned, rules.heads, QueryShape::kThreads,
                        QueryShape::query_bytes()),
                 a);
    launcher.run(attention_mma_bwd_kv_kernel<KeyShape>,
                 config(rules.key_rows, KeyShape::kOwned, rules.heads / rules.group,
                        KeyShape::kThreads, KeyShape::key_bytes()),
                 a);
}

}  // namespace

void attention_mma_backward(tile::Launcher& launcher, const caravan_attention_backward_args& args,
                            AttentionWidths widths) {
    Backward a = {};
    a.rules = attention_rules(args);
    a.scores = Scores(a.rules);
    a.q = heads_of<const bf16>(args.q);
    a.k = heads_of<const bf16>(args.k);
    a.v = heads_of<const bf16>(args.v);
    a.out = heads_of<const bf16>(args.out);
    a.d_out = heads_of<const bf16>(args.d_out);
    a.d_q = heads_of<bf16>(args.d_q);
    a.d_k = heads_of<bf16>(args.d_k);
    a.d_v = heads_of<bf16>(args.d_v);
    a.lse = data<float>(args.lse);
    a.lse_stride = row_stride(args.lse);
    a.delta = data<float>(args.workspace);
    switch (widths) {
        case AttentionWidths::k64:
            return run<BackwardShape<64, 64, 8, 64>, BackwardShape<64, 64, 8, 64>>(launcher, a);
        case AttentionWidths::k128:
            return run<BackwardShape<128, 128, 8, 64>, BackwardShape<128, 128, 8, 32>>(launcher, a);
    }
}

}  // namespace cuda
}  // namespace caravan
