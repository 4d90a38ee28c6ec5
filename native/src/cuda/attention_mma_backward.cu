// Backward attention by mma.sync, bf16, in two kernels that own what they write, so that no sum
// depends on the order of blocks: the five products become seven, as both compute scores and their
// gradients.
//
// d_q: a block for each tile of queries and head goes over the keys that they see; it leaves
// delta = sum of d_out * out of each row for the second kernel, and the bias's gradient summed over
// its tiles. d_k and d_v: a block for each tile of keys and key/value head goes over the queries
// that see them, of every head that shares them, on transposed scores; for wide heads, whose sums
// do not fit a block's registers, d_k and d_v are blocks of their own. In all, weights and
// gradients of scores stay in registers as the left operand of the next product, while the next
// tiles are copied. Sources: Dao 2023, arXiv 2307.08691 (FlashAttention-2), algorithm 2; PTX ISA
// for the layouts.
#include "cuda/attention.h"
#include "cuda/attention_backward.cuh"
#include "cuda/attention_mma.cuh"
#include "cuda/attention_tiles.h"

namespace caravan {
namespace cuda {
namespace {

using namespace mma;

// What is in a block of either kernel. Owned rows: those whose gradients the block computes; passed
// rows: of a tile that it goes over. kStages: tiles of passed rows in shared memory.
template <int kWidth_, int kValueWidth_, int kWarps_, int kPassed_, int kStages_>
struct BackwardShape {
    static constexpr int kWidth = kWidth_, kValueWidth = kValueWidth_;
    static constexpr int kWarps = kWarps_, kThreads = kWarps * tile::kWarp;
    static constexpr int kOwned = kWarps * 16, kPassed = kPassed_, kStages = kStages_;
    // Heads whose queries do not fit registers beside the sums of d_q, nor those of d_k beside d_v.
    static constexpr bool kWide = kWidth > 128;
    static constexpr int kStageBytes =
        static_cast<int>(Tile<kWidth>::bytes(kPassed) + Tile<kValueWidth>::bytes(kPassed));
    static constexpr int kOwnedBytes =
        static_cast<int>(Tile<kWidth>::bytes(kOwned) + Tile<kValueWidth>::bytes(kOwned));
};

// Of the kernel of d_q. Owned rows either move to registers before the first tile passes through
// the same memory, or stay in front of it.
template <typename Shape>
struct QueryMemory {
    static constexpr int kStages = Shape::kWide ? Shape::kOwnedBytes : 0;
    static constexpr int kTiles = kStages + Shape::kStages * Shape::kStageBytes > Shape::kOwnedBytes
                                      ? kStages + Shape::kStages* Shape::kStageBytes
                                      : Shape::kOwnedBytes;
    using Biases = BiasTile<Shape::kOwned, Shape::kPassed>;
    using Sums = BiasSums<Shape::kOwned, Shape::kPassed>;

    // Behind the tiles: biases of the tile at hand, sums by bucket of each warp, and what they are
    // made in; where there is no room, that lies in the values, which have been multiplied by then.
    static constexpr bool kSkewedInValues = Shape::kStages == 1;
    static_assert(!kSkewedInValues || Shape::kWarps * Sums::kSkewedBytes <=
                                          Tile<Shape::kValueWidth>::bytes(Shape::kPassed),
                  "the values have room");
    static int64_t bytes(int64_t buckets) {
        if (buckets == 0) return kTiles;
        return kTiles + Biases::bytes(true) + Shape::kWarps * buckets * 4 +
               (kSkewedInValues ? 0 : Shape::kWarps * Sums::kSkewedBytes);
    }
};

// Of the kernel of d_k and d_v: tiles, statistics of passed rows, biases.
template <typename Shape>
struct KeyMemory {
    static constexpr int kTiles = Shape::kOwnedBytes + Shape::kStages * Shape::kStageBytes;
    using Biases = BiasTile<Shape::kOwned, Shape::kPassed>;

    static int64_t bytes(bool biased) {
        return kTiles + 2 * Shape::kStages * Shape::kPassed * int64_t{sizeof(float)} +
               (biased ? Biases::bytes(false) : 0);
    }
};

template <typename Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    attention_mma_bwd_q_kernel(const __grid_constant__ Backward a) {
    constexpr int kThreads = Shape::kThreads, kQueries = Shape::kOwned, kKeys = Shape::kPassed;
    constexpr int kWidth = Shape::kWidth, kValueWidth = Shape::kValueWidth;
    constexpr int kStages = Shape::kStages;
    constexpr bool kKept = !Shape::kWide;
    using Memory = QueryMemory<Shape>;
    const AttentionRules& rules = a.rules;
    const int slot = gridDim.x - 1 - blockIdx.x;  // the last tiles of a document see most keys
    const int head = blockIdx.y;
    const bool biased = a.bias.table != nullptr;
    float* const bias_sums = a.bias_sums + (int64_t{slot} * rules.heads + head) * a.bias.buckets;
    const auto fill_bias_sums = [&](float value) {
        for (int b = threadIdx.x; b < a.bias.buckets; b += kThreads) bias_sums[b] = value;
    };
    if (!documents_hold(rules)) {
        spoil<kQueries>(a.d_q, slot, rules.query_rows, head, rules.width);
        return fill_bias_sums(NAN);
    }
    const DocumentTile document = find_tile<Side::kQueries>(rules, slot, kQueries);
    if (document.begin >= document.queries) return fill_bias_sums(0);
    const int rows = static_cast<int>(min(document.queries - document.begin, int64_t{kQueries}));
    const int first_position = static_cast<int>(document.begin + document.shift());
    const int left = static_cast<int>(rules.left), right = static_cast<int>(rules.right);
    const int key_count = static_cast<int>(document.keys);
    const int keys_from = max(first_position - left, 0) / kKeys * kKeys;
    const int keys_to = min(first_position + rows + right, key_count);
    const int query_row = static_cast<int>(document.first_query + document.begin);
    const int first_key = static_cast<int>(document.first_key);
    const int warp_row = warp() * 16;
    const bool all = reaches_last_quarter<kWidth>(rules.width);
    const bool all_values = reaches_last_quarter<kValueWidth>(rules.value_width);

    unsigned char* const memory = tile::shared_memory();
    unsigned char* const stages = memory + Memory::kStages;
    const auto copy_stage = [&](int key, int stage) {
        unsigned char* const to = stages + stage * Shape::kStageBytes;
        copy_tile<kKeys, kThreads>(Tile<kWidth>{to}, a.k.at(first_key + key, head / rules.group),
                                   a.k.row, key_count - key, rules.width);
        copy_tile<kKeys, kThreads>(Tile<kValueWidth>{to + Tile<kWidth>::bytes(kKeys)},
                                   a.v.at(first_key + key, head / rules.group), a.v.row,
                                   key_count - key, rules.value_width);
        tile::copy_async_commit();
    };

    const Tile<kWidth> queries = {memory};
    const Tile<kValueWidth> d_outs = {memory + Tile<kWidth>::bytes(kQueries)};
    copy_tile<kQueries, kThreads>(queries, a.q.at(query_row, head), a.q.row, rows, rules.width);
    copy_tile<kQueries, kThreads>(d_outs, a.d_out.at(query_row, head), a.d_out.row, rows,
                                  rules.value_width);
    tile::copy_async_commit();
    tile::copy_async_wait<0>();
    __syncthreads();
    Left<1, kWidth, kKept> query_operand(queries, warp_row);
    Left<1, kValueWidth, kKept> d_out_operand(d_outs, warp_row);
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
            uint32_t d_out[4];
            if constexpr (kKept) {
#pragma unroll
                for (int e = 0; e < 4; ++e) d_out[e] = d_out_operand.kept[step][0][e];
            } else {
                load_left(d_out, d_outs, d_out_operand.down, 0, 2 * step);
            }
#pragma unroll
            for (int high = 0; high < 2; ++high) {
                const int column = step * 16 + high * 8 + lane() % 4 * 2;
                if (!there || column >= rules.value_width) continue;
                const auto pair = tile::to_floats(tile::load<2>(out + column));
                const uint32_t d_pair = d_out[high * 2 + half];
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
    if constexpr (kKept) __syncthreads();  // the memory is free

    const auto bias = Memory::Biases::in(memory + Memory::kTiles, true);
    float* const all_bias_sums =
        reinterpret_cast<float*>(memory + Memory::kTiles + Memory::Biases::bytes(true));
    const auto bias_gradient = [&] {
        unsigned char* const skewed =
            Memory::kSkewedInValues
                ? stages + Tile<kWidth>::bytes(kKeys)
                : reinterpret_cast<unsigned char*>(all_bias_sums + Shape::kWarps * a.bias.buckets);
        return typename Memory::Sums{
            all_bias_sums + warp() * a.bias.buckets,
            reinterpret_cast<float*>(skewed + warp() * Memory::Sums::kSkewedBytes)};
    };
    bias_gradient().clear(a.bias.buckets);
    float sums[1][kWidth / 8][4];
    clear(sums);
    if (keys_from < keys_to) copy_stage(keys_from, 0);
    for (int key = keys_from, stage = 0; key < keys_to; key += kKeys, stage ^= kStages - 1) {
        // Before the barrier, and behind that of the tile before.
        if (kStages == 1 && key > keys_from) {
            __syncthreads();  // this stage is free
            copy_stage(key, 0);
        }
        tile::copy_async_wait<0>();
        __syncthreads();  // this stage is there, the other is free
        if (kStages > 1 && key + kKeys < keys_to) copy_stage(key + kKeys, stage ^ 1);
        unsigned char* const at = stages + stage * Shape::kStageBytes;
        const Tile<kWidth> keys = {at};
        const Tile<kValueWidth> values = {at + Tile<kWidth>::bytes(kKeys)};
        float scores[1][kKeys / 8][4], gradients[1][kKeys / 8][4];
        // So that no addresses made of it are kept in registers from tile to tile.
        const int zero = kWidth == 128 ? tile::opaque(0) : 0;
        int bucket = -1;
        if (biased) bucket = bias.prepare(a.bias, head, key - first_position, 1);
        multiply(scores, query_operand, keys, zero, all);
        multiply(gradients, d_out_operand, values, zero, all_values);
        const auto add_bias = [&] {
            __syncthreads();  // the biases are there
            if (bucket >= 0) {
                scale_and_add(scores, a.scores.unbiased, a.bias.value(bucket, head));
            } else {
                bias.add(scores, a.scores.unbiased, warp_row);
            }
        };
        const Band band = {first_position + warp_row - key, left, right, key_count - 1 - key};
        to_gradients(
            scores, gradients, a.scores, band, band.cuts(16, kKeys), biased, add_bias,
            [&](int, int e) { return lse[e / 2]; }, [&](int, int e) { return delta[e / 2]; });
        if (biased && bucket >= 0) bias_gradient().add_one(gradients, bucket);
        if (biased && bucket < 0) {
            if constexpr (Memory::kSkewedInValues) __syncthreads();  // the values are free
            bias_gradient().add(gradients, bias, warp_row, a.bias.buckets);
        }
        accumulate(sums, gradients, keys, zero, all);
    }
    __syncthreads();  // the memory is free, the sums by bucket there
    for (int b = threadIdx.x; b < a.bias.buckets; b += kThreads) {
        float sum = 0;
        for (int w = 0; w < Shape::kWarps; ++w) sum += all_bias_sums[w * a.bias.buckets + b];
        bias_sums[b] = sum;
    }
    const Tile<kWidth> stage = {memory + Tile<kWidth>::bytes(warp_row)};
    store_rows(sums, stage, a.d_q.at(query_row + warp_row, head), a.d_q.row, rows - warp_row,
               rules.width, [&](int, int) { return rules.scale; });
}

template <typename Shape, Part kPart>
__device__ __forceinline__ void backward_keys(const Backward& a) {
    constexpr int kThreads = Shape::kThreads, kKeys = Shape::kOwned, kQueries = Shape::kPassed;
    constexpr int kWidth = Shape::kWidth, kValueWidth = Shape::kValueWidth;
    constexpr int kStages = Shape::kStages;
    constexpr bool kOfKeys = kPart != Part::kValues, kOfValues = kPart != Part::kKeys;
    const AttentionRules& rules = a.rules;
    const int slot = blockIdx.x;  // the first keys of a document are seen by most queries
    const int kv_head = blockIdx.y;
    if (!documents_hold(rules)) {
        if (kOfKeys) spoil<kKeys>(a.d_k, slot, rules.key_rows, kv_head, rules.width);
        if (kOfValues) spoil<kKeys>(a.d_v, slot, rules.key_rows, kv_head, rules.value_width);
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
    const bool biased = a.bias.table != nullptr;
    const bool all = reaches_last_quarter<kWidth>(rules.width);
    const bool all_values = reaches_last_quarter<kValueWidth>(rules.value_width);

    unsigned char* const memory = tile::shared_memory();
    const Tile<kWidth> keys = {memory};
    const Tile<kValueWidth> values = {memory + Tile<kWidth>::bytes(kKeys)};
    unsigned char* const stages = memory + Shape::kOwnedBytes;
    float* const statistics = reinterpret_cast<float*>(memory + KeyMemory<Shape>::kTiles);
    const auto bias = KeyMemory<Shape>::Biases::in(
        reinterpret_cast<unsigned char*>(statistics + 2 * kStages * kQueries), false);
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

    float k_sums[1][kOfKeys ? kWidth / 8 : 1][4], v_sums[1][kOfValues ? kValueWidth / 8 : 1][4];
    clear(k_sums);
    clear(v_sums);
    if (queries_from < queries_to) {
        copy_tile<kKeys, kThreads>(keys, a.k.at(key_row, kv_head), a.k.row, rows, rules.width);
        if constexpr (kOfKeys) {
            copy_tile<kKeys, kThreads>(values, a.v.at(key_row, kv_head), a.v.row, rows,
                                       rules.value_width);
        }
        int head = kv_head * rules.group, query = queries_from;
        const int heads_to = head + rules.group;
        copy_stage(head, query, 0);
        const Left<1, kWidth, false> key_operand(keys, warp_row);
        const Left<1, kValueWidth, false> value_operand(values, warp_row);
        for (int stage = 0; head < heads_to; stage ^= kStages - 1) {
            int next_head = head, next_query = query + kQueries;
            if (next_query >= queries_to) {
                next_query = queries_from;
                ++next_head;
            }
            tile::copy_async_wait<0>();
            __syncthreads();  // this stage is there, the other is free
            if (kStages > 1 && next_head < heads_to) copy_stage(next_head, next_query, stage ^ 1);
            unsigned char* const at = stages + stage * Shape::kStageBytes;
            const Tile<kWidth> queries = {at};
            const Tile<kValueWidth> d_outs = {at + Tile<kWidth>::bytes(kQueries)};
            const float* const lse = statistics + stage * 2 * kQueries + lane() % 4 * 2;
            float scores[1][kQueries / 8][4], gradients[1][kQueries / 8][4];
            int bucket = -1;
            if (biased) bucket = bias.prepare(a.bias, head, first_position - query, -1);
            multiply(scores, key_operand, queries, 0, all);
            if constexpr (kOfKeys) multiply(gradients, value_operand, d_outs, 0, all_values);
            if constexpr (!kOfKeys) clear(gradients);
            const auto add_bias = [&] {
                __syncthreads();  // the biases are there
                if (bucket >= 0) {
                    scale_and_add(scores, a.scores.unbiased, a.bias.value(bucket, head));
                } else {
                    bias.add(scores, a.scores.unbiased, warp_row);
                }
            };
            // Columns are queries: a key sees those from `right` before it to `left` behind it.
            const Band band = {first_position + warp_row - query, right, left,
                               query_count - 1 - query};
            to_gradients(
                scores, gradients, a.scores, band, band.cuts(16, kQueries), biased, add_bias,
                [&](int n, int e) { return weight_base(lse[n * 8 + e % 2]); },
                [&](int n, int e) { return lse[kQueries + n * 8 + e % 2]; });
            if constexpr (kOfValues) accumulate(v_sums, scores, d_outs, 0, all_values);
            if constexpr (kOfKeys) accumulate(k_sums, gradients, queries, 0, all);
            if (kStages == 1 && next_head < heads_to) {
                __syncthreads();  // the stage is free
                copy_stage(next_head, next_query, 0);
            }
            head = next_head;
            query = next_query;
        }
    }
    // Each warp's rows of keys and values were read by itself alone.
    const Tile<kWidth> k_stage = {keys.data + Tile<kWidth>::bytes(warp_row)};
    const Tile<kValueWidth> v_stage = {values.data + Tile<kValueWidth>::bytes(warp_row)};
    if constexpr (kOfKeys) {
        store_rows(k_sums, k_stage, a.d_k.at(key_row + warp_row, kv_head), a.d_k.row,
                   rows - warp_row, rules.width, [&](int, int) { return rules.scale; });
    }
    if constexpr (kOfValues) {
        store_rows(v_sums, v_stage, a.d_v.at(key_row + warp_row, kv_head), a.d_v.row,
                   rows - warp_row, rules.value_width, [](int, int) { return 1.0f; });
    }
}

template <typename Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    attention_mma_bwd_kv_kernel(const __grid_constant__ Backward a) {
    if constexpr (!Shape::kWide) {
        backward_keys<Shape, Part::kBoth>(a);
    } else if (blockIdx.z == 0) {
        backward_keys<Shape, Part::kKeys>(a);
    } else {
        backward_keys<Shape, Part::kValues>(a);
    }
}

template <AttentionPass kPass, AttentionWidths kWidths>
struct ShapeOf {
    static constexpr AttentionTiles kTiles = attention_mma_tiles(kPass, kWidths);
    using Shape =
        BackwardShape<kTiles.width, kTiles.value_width, kTiles.warps, kTiles.passed, kTiles.stages>;
    static_assert(Shape::kOwned == kTiles.owned, "16 rows a warp");
};

// Returns the slots of queries.
template <typename QueryShape, typename KeyShape>
int64_t run(tile::Launcher& launcher, const Backward& a) {
    const AttentionRules& rules = a.rules;
    const int64_t query_slots =
        attention_slots(rules.query_rows, rules.documents, QueryShape::kOwned);
    const int64_t key_slots = attention_slots(rules.key_rows, rules.documents, KeyShape::kOwned);
    launcher.run(attention_mma_bwd_q_kernel<QueryShape>,
                 {dim3(static_cast<unsigned>(query_slots), static_cast<unsigned>(rules.heads)),
                  dim3(QueryShape::kThreads), QueryMemory<QueryShape>::bytes(a.bias.buckets), 1},
                 a);
    launcher.run(attention_mma_bwd_kv_kernel<KeyShape>,
                 {dim3(static_cast<unsigned>(key_slots),
                       static_cast<unsigned>(rules.heads / rules.group), KeyShape::kWide ? 2 : 1),
                  dim3(KeyShape::kThreads), KeyMemory<KeyShape>::bytes(a.bias.table != nullptr), 1},
                 a);
    return query_slots;
}

}  // namespace

AttentionLeft attention_mma_backward(tile::Launcher& launcher,
                                     const caravan_attention_backward_args& args,
                                     AttentionWidths widths) {
    const Backward a = backward_of(args);
    AttentionLeft left = {};
    with_widths(widths, [&](auto chosen) {
        constexpr AttentionWidths kWidths = decltype(chosen)::value;
        left.bias_slots =
            run<typename ShapeOf<AttentionPass::kQueries, kWidths>::Shape,
                typename ShapeOf<AttentionPass::kKeysAndValues, kWidths>::Shape>(launcher, a);
    });
    return left;
}

}  // namespace cuda
}  // namespace caravan
