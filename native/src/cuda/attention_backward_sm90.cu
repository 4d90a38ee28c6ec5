// Backward attention for sm_90a, bf16, in two kernels that own what they write, so that no sum
// depends on the order of blocks and none passes through memory: the five products become seven.
//
// d_q: a block for each tile of queries and head goes over the keys that they see; it leaves
// delta = sum of d_out * out of each row for the second kernel. d_k and d_v: a block for each tile
// of keys and key/value head goes over the queries that see them, of every head that shares them,
// on transposed scores. In both one warpgroup fetches, by tensor copies, and two have 64 owned rows
// each: they take scores and gradients of weights from products of shared memory, turn these into
// weights and gradients of scores in registers, and multiply them from there. While one does that,
// the other's products run. Sums of d_k and of d_v that do not fit a warpgroup's registers together
// come from a kernel each: heads of 256 take eight products.
// Sources: Dao 2023, arXiv 2307.08691 (FlashAttention-2), algorithm 2; PTX ISA for the layouts.
#include "cuda/attention.h"
#include "cuda/attention_backward.cuh"
#include "cuda/attention_sm90.cuh"
#include "cuda/tile/fence.cuh"
#include "cuda/tile/named_barrier.cuh"
#include "cuda/tile/opaque.cuh"
#include "cuda/tile/registers.cuh"

namespace caravan {
namespace cuda {
namespace {

using namespace sm90;

// What is in a block of either kernel. Owned rows: those whose gradients the block computes, by
// warpgroups, [groups][panels][64][128 bytes]; passed rows: of a tile that it goes over. Each in
// two widths, that of queries and keys and that of values and d_out.
template <int kWidth_, int kValueWidth_, int kPassed_, int kStages_, Part kPart = Part::kBoth>
struct BackwardShape {
    static constexpr int kWidth = kWidth_, kValueWidth = kValueWidth_;
    static constexpr int kPassed = kPassed_, kStages = kStages_;
    static constexpr bool kOfKeys = kPart != Part::kValues, kOfValues = kPart != Part::kKeys;
    static constexpr int kGroups = 2, kOwned = kGroups * 64, kConsumers = kGroups * kGroup;
    static constexpr int kThreads = kConsumers + kGroup;
    static constexpr int kProducerRegisters =
        attention_sm90_registers(AttentionPass::kQueries, attention_widths(kWidth, kValueWidth))
            .producer;
    static constexpr int kConsumerRegisters =
        attention_sm90_registers(AttentionPass::kQueries, attention_widths(kWidth, kValueWidth))
            .consumer;
    static_assert(kGroup * kProducerRegisters + kConsumers * kConsumerRegisters <= 65536,
                  "a multiprocessor has so many registers");
    static constexpr int kOwnedBytes = kOwned * kWidth * 2;
    static constexpr int kOwnedValueBytes = kOfKeys ? kOwned * kValueWidth * 2 : 0;
    static constexpr int kPassedBytes = kPassed * kWidth * 2;
    static constexpr int kPassedValueBytes = kPassed * kValueWidth * 2;
    static constexpr int kStageBytes = kPassedBytes + kPassedValueBytes;
    static constexpr int kBytes = kOwnedBytes + kOwnedValueBytes + kStages * kStageBytes;
    static_assert(kPassedBytes % 1024 == 0 && kPassedValueBytes % 1024 == 0,
                  "tiles begin with the pattern");
    static_assert(kOfKeys || (kOfValues && kValueWidth <= kWidth), "staged where the keys were");
};

// Where a block's owned rows are, and what it passes.
struct Owner {
    int row, rows;    // first of all rows, and how many
    int position;     // of its first row among the document's passed rows
    int first, rest;  // the document's passed rows: the first of all, and how many
    int from, to;     // those that it goes over, from a tile's border on
};

// Behind the tiles in shared memory.
template <typename S>
struct Control {
    Owner owner;
    Mbarrier owned;
    Mbarrier arrived[S::kStages];  // tiles of passed rows, with the statistics of queries
    Mbarrier free[S::kStages];     // have been read by all consumer warps
};

#if CARAVAN_SM90A

template <typename S>
struct Memory {
    unsigned char *owned, *owned_values, *stages;
    Control<S>* control;
    float* statistics;  // [stages][2][passed]: bases of weights and deltas of queries

    __device__ __forceinline__ explicit Memory(unsigned char* from)
        : owned(from),
          owned_values(from + S::kOwnedBytes),
          stages(owned_values + S::kOwnedValueBytes),
          control(reinterpret_cast<Control<S>*>(from + S::kBytes)),
          statistics(reinterpret_cast<float*>(control + 1)) {}

    __device__ __forceinline__ unsigned char* passed(int stage) const {
        return stages + stage * S::kStageBytes;
    }
    __device__ __forceinline__ unsigned char* passed_values(int stage) const {
        return passed(stage) + S::kPassedBytes;
    }
};

template <typename S>
__device__ __forceinline__ void begin(const Memory<S>& memory, const Owner& owner,
                                      uint32_t arrivals) {
    auto* const control = memory.control;
    control->owner = owner;
    tile::mbarrier_init(&control->owned, 1);
    for (int stage = 0; stage < S::kStages; ++stage) {
        tile::mbarrier_init(control->arrived + stage, arrivals);
        tile::mbarrier_init(control->free + stage, S::kConsumers / tile::kWarp);
    }
    tile::mbarrier_init_fence();
}

__device__ __forceinline__ bool sees(const Owner& owner) { return owner.from < owner.to; }

// One thread.
template <typename S>
__device__ __forceinline__ void load_owned(const Memory<S>& memory, const Owner& owner,
                                           const tile::TensorMap& map,
                                           const tile::TensorMap& value_map, int head) {
    auto* const control = memory.control;
    tile::mbarrier_arrive_expect(&control->owned, S::kOwnedBytes + S::kOwnedValueBytes);
    for (int group = 0; group < S::kGroups; ++group) {
        const int row = owner.row + group * 64;
        load_rows<S::kWidth>(memory.owned + group * (S::kOwnedBytes / S::kGroups), 64, map, head,
                             row, &control->owned);
        if (S::kOwnedValueBytes == 0) continue;
        load_rows<S::kValueWidth>(memory.owned_values + group * (S::kOwnedValueBytes / S::kGroups),
                                  64, value_map, head, row, &control->owned);
    }
}

// Number i of the tiles, from the document's row `at` on, once what was there has been read. One
// thread.
template <typename S>
__device__ __forceinline__ void load_passed(const Memory<S>& memory, const Owner& owner,
                                            const tile::TensorMap& map,
                                            const tile::TensorMap& value_map, int head, int i,
                                            int at) {
    const Turn<S::kStages> turn(i);
    Mbarrier* const arrived = memory.control->arrived + turn.stage;
    tile::mbarrier_wait(memory.control->free + turn.stage, turn.parity ^ 1);
    tile::mbarrier_arrive_expect(arrived, S::kStageBytes);
    load_rows<S::kWidth>(memory.passed(turn.stage), S::kPassed, map, head, owner.first + at,
                         arrived);
    load_rows<S::kValueWidth>(memory.passed_values(turn.stage), S::kPassed, value_map, head,
                              owner.first + at, arrived);
}

// Makes 0 of a stage's rows from `valid` on, which belong to another document or to none: what is
// multiplied with them is 0, but what they hold may not be a number. All consumers call.
template <typename S>
__device__ __forceinline__ void clear_passed(unsigned char* stage, int valid) {
    const tile::Vector<uint32_t, 4> zeros = {};
    const int chunks = (S::kPassed - valid) * (kLine / 16);
    constexpr int kPanels = (S::kWidth + S::kValueWidth) / kPanel;
    for (int i = threadIdx.x - kGroup; i < chunks * kPanels; i += S::kConsumers) {
        tile::store(reinterpret_cast<uint32_t*>(stage + (i / chunks * S::kPassed + valid) * kLine +
                                                i % chunks * 16),
                    zeros);
    }
    tile::fence_async_shared();
    tile::barrier_sync(1, S::kConsumers);
}

// Starts sums = owned passed^T over kWidth, 64 rows by a stage's.
template <typename S, int kWidth>
__device__ __forceinline__ void start_scores(float (&sums)[1][S::kPassed / 8][4],
                                             const unsigned char* owned,
                                             const unsigned char* passed) {
    const uint64_t a = tile::wgmma_k_major(owned), b = tile::wgmma_k_major(passed);
#pragma unroll
    for (int step = 0; step < kWidth / 16; ++step) {
        const int panel = step / 4, inside = step % 4 * 32;
        tile::wgmma<S::kPassed, Major::kK, Major::kK>(
            flat(sums), tile::wgmma_advance(a, panel * 64 * kLine + inside),
            tile::wgmma_advance(b, panel * S::kPassed * kLine + inside), step > 0);
    }
}

// Starts sums += left passed, kWidth wide.
template <typename S, int kWidth>
__device__ __forceinline__ void start_sums(float (&sums)[1][kWidth / 8][4],
                                           const uint32_t (&left)[S::kPassed / 16][1][4],
                                           const unsigned char* passed) {
    const uint64_t b = tile::wgmma_mn_major(passed, S::kPassed * kLine);
#pragma unroll
    for (int step = 0; step < S::kPassed / 16; ++step) {
        tile::wgmma<kWidth, Major::kMN>(flat(sums), left[step][0],
                                        tile::wgmma_advance(b, step * 16 * kLine), true);
    }
}

template <int kSteps, int kN>
__device__ __forceinline__ void round_left(uint32_t (&left)[kSteps][1][4],
                                           const float (&sums)[1][kN][4]) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) to_left(left[step], sums, step);
}

__device__ __forceinline__ void release(Mbarrier* barrier) {
    if (lane() == 0) tile::mbarrier_arrive(barrier);
}

// Rounds a warpgroup's sums, times factor, and stores them through its owned tile, once all of its
// warps have read that.
template <typename S, int kWidth>
__device__ __forceinline__ void store_owned(const float (&sums)[1][kWidth / 8][4],
                                            unsigned char* owned, const Heads<bf16>& to,
                                            const Owner& owner, int head, int group, int width,
                                            float factor) {
    const int warp_row = group * 64 + warp() % 4 * 16;
    const Tile<kWidth> stage = {owned + warp() % 4 * 16 * kWidth * 2};
    store_rows(sums, stage, to.at(owner.row + warp_row, head), to.row, owner.rows - warp_row, width,
               [&](int, int) { return factor; });
}

// ------------------------------------------------------------------------------- d_q

// A warpgroup: number `group` of the consumers.
template <typename S>
__device__ __forceinline__ void consume_keys(const Backward& a, const Memory<S>& memory, int head,
                                             int group) {
    auto* const control = memory.control;
    const Owner owner = control->owner;
    const int left = static_cast<int>(a.rules.left), right = static_cast<int>(a.rules.right);
    const int warp_row = group * 64 + warp() % 4 * 16;
    unsigned char* const queries = memory.owned + group * (S::kOwnedBytes / S::kGroups);
    const unsigned char* const d_outs =
        memory.owned_values + group * (S::kOwnedValueBytes / S::kGroups);

    float lse[2], delta[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int row = warp_row + half * 8 + lane() / 4;
        const bool there = row < owner.rows;
        float sum = 0;
        for (int column = lane() % 4 * kChunk; there && column < a.rules.value_width;
             column += 4 * kChunk) {
            const auto out =
                tile::to_floats(tile::load<kChunk>(a.out.at(owner.row + row, head) + column));
            const auto d_out =
                tile::to_floats(tile::load<kChunk>(a.d_out.at(owner.row + row, head) + column));
#pragma unroll
            for (int j = 0; j < kChunk; ++j) sum += out[j] * d_out[j];
        }
        sum += __shfl_xor_sync(tile::kFullMask, sum, 1);
        sum += __shfl_xor_sync(tile::kFullMask, sum, 2);
        delta[half] = sum;
        lse[half] = INFINITY;
        if (there) {
            lse[half] = weight_base(a.lse[head * a.lse_stride + owner.row + row]);
            if (lane() % 4 == 0) a.delta[head * a.rules.query_rows + owner.row + row] = sum;
        }
    }

    float sums[1][S::kWidth / 8][4];
    clear(sums);
    if (sees(owner)) {
        float scores[1][S::kPassed / 8][4], gradients[1][S::kPassed / 8][4];
        uint32_t operand[S::kPassed / 16][1][4];
        tile::mbarrier_wait(&control->owned, 0);
        int i = 0;
        for (int key = owner.from; key < owner.to; key += S::kPassed, ++i) {
            const Turn<S::kStages> now(i), before(i - 1);
            tile::mbarrier_wait(control->arrived + now.stage, now.parity);
            if (owner.rest - key < S::kPassed) {
                clear_passed<S>(memory.passed(now.stage), owner.rest - key);
            }
            tile::wgmma_fence();
            start_scores<S, S::kWidth>(scores, queries, memory.passed(now.stage));
            start_scores<S, S::kValueWidth>(gradients, d_outs, memory.passed_values(now.stage));
            tile::wgmma_commit();
            if (i > 0) {
                tile::wgmma_wait<1>(flat(sums));
                tile::wgmma_keep(operand);
                release(control->free + before.stage);
            }
            tile::wgmma_wait<0>(flat(scores), flat(gradients));
            const Band band = {owner.position + warp_row - key, left, right, owner.rest - 1 - key};
            to_gradients(
                scores, gradients, a.scores, band, band.cuts(16, S::kPassed), false, [] {},
                [&](int, int e) { return lse[e / 2]; }, [&](int, int e) { return delta[e / 2]; });
            round_left(operand, gradients);
            tile::wgmma_fence();
            start_sums<S, S::kWidth>(sums, operand, memory.passed(now.stage));
            tile::wgmma_commit();
        }
        tile::wgmma_wait<0>(flat(sums));
        tile::wgmma_keep(operand);
    }
    tile::barrier_sync(2 + group, kGroup);  // the warpgroup has read its queries
    store_owned<S, S::kWidth>(sums, queries, a.d_q, owner, head, group, a.rules.width,
                              a.rules.scale);
}

#endif  // CARAVAN_SM90A

// Owned: queries and d_out; passed: keys and values.
template <typename S>
__global__ void __launch_bounds__(S::kThreads, 1)
    attention_bwd_q_sm90_kernel(const __grid_constant__ Backward a,
                                const __grid_constant__ tile::TensorMap q,
                                const __grid_constant__ tile::TensorMap d_out,
                                const __grid_constant__ tile::TensorMap k,
                                const __grid_constant__ tile::TensorMap v) {
#if CARAVAN_SM90A
    const AttentionRules& rules = a.rules;
    const int slot = gridDim.x - 1 - blockIdx.x;  // the last tiles of a document see most keys
    const int head = blockIdx.y;
    if (!documents_hold(rules)) {
        return spoil<S::kOwned>(a.d_q, slot, rules.query_rows, head, rules.width);
    }
    const DocumentTile document = find_tile<Side::kQueries>(rules, slot, S::kOwned);
    if (document.begin >= document.queries) return;
    const Memory<S> memory(tile::shared_memory());
    if (threadIdx.x == 0) {
        Place place;
        place_queries<S::kOwned, S::kPassed>(rules, document, &place);
        begin(memory,
              {place.query_row, place.rows, place.position, place.first_key, place.keys,
               place.keys_from, place.keys_to},
              1);
    }
    __syncthreads();
    const int group = uniform(threadIdx.x / kGroup);
    if (group == 0) {
        tile::registers_release<S::kProducerRegisters>();
        const Owner owner = memory.control->owner;
        if (threadIdx.x == 0 && sees(owner)) {
            load_owned(memory, owner, q, d_out, head);
            int i = 0;
            for (int key = owner.from; key < owner.to; key += S::kPassed) {
                load_passed(memory, owner, k, v, head / rules.group, i++, key);
            }
        }
        __syncwarp();
    } else {
        tile::registers_claim<S::kConsumerRegisters>();
        consume_keys(a, memory, head, group - 1);
    }
#endif
}

// ------------------------------------------------------------------------------- d_k and d_v

#if CARAVAN_SM90A

// Calls body(i, head, query) for each tile of queries that passes, of each head that shares the
// keys.
template <typename S, typename Body>
__device__ __forceinline__ void each_queries(const Owner& owner, int heads_from, int heads,
                                             const Body& body) {
    int i = 0;
    for (int head = heads_from; head < heads_from + heads; ++head) {
        for (int query = owner.from; query < owner.to; query += S::kPassed) {
            body(i++, head, query);
        }
    }
}

// One warp: the statistics of every tile's queries.
template <typename S>
__device__ __forceinline__ void load_statistics(const Backward& a, const Memory<S>& memory,
                                                const Owner& owner, int i, int head, int query) {
    const Turn<S::kStages> turn(i);
    tile::mbarrier_wait(memory.control->free + turn.stage, turn.parity ^ 1);
    float* const to = memory.statistics + turn.stage * 2 * S::kPassed;
    for (int row = lane(); row < S::kPassed; row += tile::kWarp) {
        // Rows behind the document's are masked by their column.
        const bool there = query + row < owner.rest;
        const int64_t at = owner.first + query + row;
        to[row] = there ? weight_base(a.lse[head * a.lse_stride + at]) : 0.0f;
        to[S::kPassed + row] = there ? a.delta[head * a.rules.query_rows + at] : 0.0f;
    }
    __syncwarp();
    if (lane() == 0) tile::mbarrier_arrive(memory.control->arrived + turn.stage);
}

// A warpgroup: number `group` of the consumers.
template <typename S>
__device__ __forceinline__ void consume_queries(const Backward& a, const Memory<S>& memory,
                                                int kv_head, int group) {
    auto* const control = memory.control;
    const Owner owner = control->owner;
    const int left = static_cast<int>(a.rules.left), right = static_cast<int>(a.rules.right);
    const int warp_row = group * 64 + warp() % 4 * 16;
    unsigned char* const keys = memory.owned + group * (S::kOwnedBytes / S::kGroups);
    unsigned char* const values = memory.owned_values + group * (S::kOwnedValueBytes / S::kGroups);
    float k_sums[1][S::kOfKeys ? S::kWidth / 8 : 1][4];
    float v_sums[1][S::kOfValues ? S::kValueWidth / 8 : 1][4];
    clear(k_sums);
    clear(v_sums);
    tile::computed(flat(k_sums));
    tile::computed(flat(v_sums));
    if (sees(owner)) {
        float scores[1][S::kPassed / 8][4], gradients[1][S::kPassed / 8][4];
        uint32_t weights[S::kPassed / 16][1][4], operand[S::kPassed / 16][1][4];
        tile::mbarrier_wait(&control->owned, 0);
        const int heads = a.rules.group;
        each_queries<S>(owner, kv_head * heads, heads, [&](int i, int, int query) {
            const Turn<S::kStages> turn(i);
            unsigned char* const queries = memory.passed(turn.stage);
            unsigned char* const d_outs = memory.passed_values(turn.stage);
            tile::mbarrier_wait(control->arrived + turn.stage, turn.parity);
            if (owner.rest - query < S::kPassed) clear_passed<S>(queries, owner.rest - query);
            // Columns are queries: a key sees those from `right` before it to `left` behind it.
            const Band band = {owner.position + warp_row - query, right, left,
                               owner.rest - 1 - query};
            const float* const of =
                memory.statistics + turn.stage * 2 * S::kPassed + lane() % 4 * 2;
            tile::wgmma_fence();
            start_scores<S, S::kWidth>(scores, keys, queries);
            if constexpr (S::kOfKeys) {
                start_scores<S, S::kValueWidth>(gradients, values, d_outs);
                tile::wgmma_commit();
                tile::wgmma_wait<0>(flat(scores), flat(gradients));
            } else {
                tile::wgmma_commit();
                clear(gradients);
                tile::wgmma_wait<0>(flat(scores));
            }
            to_gradients(
                scores, gradients, a.scores, band, band.cuts(16, S::kPassed), false, [] {},
                [&](int n, int e) { return of[n * 8 + e % 2]; },
                [&](int n, int e) { return of[S::kPassed + n * 8 + e % 2]; });
            if constexpr (S::kOfValues) round_left(weights, scores);
            if constexpr (S::kOfKeys) round_left(operand, gradients);
            tile::wgmma_fence();
            if constexpr (S::kOfValues) start_sums<S, S::kValueWidth>(v_sums, weights, d_outs);
            if constexpr (S::kOfKeys) start_sums<S, S::kWidth>(k_sums, operand, queries);
            tile::wgmma_commit();
            if constexpr (S::kOfKeys && S::kOfValues) {
                tile::wgmma_wait<0>(flat(v_sums), flat(k_sums));
                tile::wgmma_keep(weights, operand);
            } else if constexpr (S::kOfKeys) {
                tile::wgmma_wait<0>(flat(k_sums));
                tile::wgmma_keep(operand);
            } else {
                tile::wgmma_wait<0>(flat(v_sums));
                tile::wgmma_keep(weights);
            }
            release(control->free + turn.stage);
        });
    }
    tile::barrier_sync(2 + group, kGroup);  // the warpgroup has read its keys and values
    if constexpr (S::kOfKeys) {
        store_owned<S, S::kWidth>(k_sums, keys, a.d_k, owner, kv_head, group, a.rules.width,
                                  a.rules.scale);
    }
    if constexpr (S::kOfValues) {
        store_owned<S, S::kValueWidth>(v_sums, S::kOfKeys ? values : keys, a.d_v, owner, kv_head,
                                       group, a.rules.value_width, 1.0f);
    }
}

#endif  // CARAVAN_SM90A

// Owned: keys and values; passed: queries and d_out.
template <typename S>
__global__ void __launch_bounds__(S::kThreads, 1)
    attention_bwd_kv_sm90_kernel(const __grid_constant__ Backward a,
                                 const __grid_constant__ tile::TensorMap q,
                                 const __grid_constant__ tile::TensorMap d_out,
                                 const __grid_constant__ tile::TensorMap k,
                                 const __grid_constant__ tile::TensorMap v) {
#if CARAVAN_SM90A
    const AttentionRules& rules = a.rules;
    const int slot = blockIdx.x;  // the first keys of a document are seen by most queries
    const int kv_head = blockIdx.y;
    if (!documents_hold(rules)) {
        if (S::kOfKeys) spoil<S::kOwned>(a.d_k, slot, rules.key_rows, kv_head, rules.width);
        if (S::kOfValues) spoil<S::kOwned>(a.d_v, slot, rules.key_rows, kv_head, rules.value_width);
        return;
    }
    const DocumentTile document = find_tile<Side::kKeys>(rules, slot, S::kOwned);
    if (document.begin >= document.keys) return;
    const Memory<S> memory(tile::shared_memory());
    if (threadIdx.x == 0) {
        const int rows = static_cast<int>(min(document.keys - document.begin, int64_t{S::kOwned}));
        const int position = static_cast<int>(document.begin - document.shift());
        const int queries = static_cast<int>(document.queries);
        const int left = static_cast<int>(rules.left), right = static_cast<int>(rules.right);
        begin(memory,
              {static_cast<int>(document.first_key + document.begin), rows, position,
               static_cast<int>(document.first_query), queries,
               max(position - right, 0) / S::kPassed * S::kPassed,
               min(position + rows + left, queries)},
              2);
    }
    __syncthreads();
    const int group = uniform(threadIdx.x / kGroup);
    if (group == 0) {
        tile::registers_release<S::kProducerRegisters>();
        const Owner owner = memory.control->owner;
        if (sees(owner) && threadIdx.x == 0) {
            load_owned(memory, owner, k, v, kv_head);
            each_queries<S>(owner, kv_head * rules.group, rules.group,
                            [&](int i, int head, int query) {
                                load_passed(memory, owner, q, d_out, head, i, query);
                            });
        } else if (sees(owner) && warp() == 1) {
            each_queries<S>(owner, kv_head * rules.group, rules.group,
                            [&](int i, int head, int query) {
                                load_statistics(a, memory, owner, i, head, query);
                            });
        }
        __syncwarp();
    } else {
        tile::registers_claim<S::kConsumerRegisters>();
        consume_queries(a, memory, kv_head, group - 1);
    }
#endif
}

// ------------------------------------------------------------------------------- launches

tile::Config config(int64_t slots, int64_t heads, int threads, int64_t bytes) {
    return {dim3(static_cast<unsigned>(slots), static_cast<unsigned>(heads)),
            dim3(static_cast<unsigned>(threads)), bytes, 1};
}

void refuse_maps(tile::Launcher& launcher) {
    launcher.refuse("attention_backward: needs a driver that makes tensor maps");
}

template <typename S>
void run_queries(tile::Launcher& launcher, const caravan_attention_backward_args& args,
                 const Backward& a) {
    tile::TensorMap q, d_out, k, v;
    if (!map_rows(args.q, 64, &q) || !map_rows(args.d_out, 64, &d_out) ||
        !map_rows(args.k, S::kPassed, &k) || !map_rows(args.v, S::kPassed, &v)) {
        return refuse_maps(launcher);
    }
    launcher.run(attention_bwd_q_sm90_kernel<S>,
                 config(attention_slots(a.rules.query_rows, a.rules.documents, S::kOwned),
                        a.rules.heads, S::kThreads, S::kBytes + int64_t{sizeof(Control<S>)}),
                 a, q, d_out, k, v);
}

template <typename S>
void run_keys(tile::Launcher& launcher, const caravan_attention_backward_args& args,
              const Backward& a) {
    tile::TensorMap q, d_out, k, v;
    if (!map_rows(args.q, S::kPassed, &q) || !map_rows(args.d_out, S::kPassed, &d_out) ||
        !map_rows(args.k, 64, &k) || !map_rows(args.v, 64, &v)) {
        return refuse_maps(launcher);
    }
    launcher.run(attention_bwd_kv_sm90_kernel<S>,
                 config(attention_slots(a.rules.key_rows, a.rules.documents, S::kOwned),
                        a.rules.heads / a.rules.group, S::kThreads,
                        S::kBytes + int64_t{sizeof(Control<S>)} +
                            int64_t{sizeof(float)} * S::kStages * 2 * S::kPassed),
                 a, q, d_out, k, v);
}

template <AttentionPass kPass, AttentionWidths kWidths>
inline constexpr AttentionTiles kTilesOf = attention_sm90_tiles(kPass, kWidths);

template <AttentionPass kPass, AttentionWidths kWidths, Part kPart = Part::kBoth>
using ShapeOf =
    BackwardShape<kTilesOf<kPass, kWidths>.width, kTilesOf<kPass, kWidths>.value_width,
                  kTilesOf<kPass, kWidths>.passed, kTilesOf<kPass, kWidths>.stages, kPart>;

template <typename QueryShape, typename... KeyShapes>
void run(tile::Launcher& launcher, const caravan_attention_backward_args& args) {
    const Backward a = backward_of(args);
    run_queries<QueryShape>(launcher, args, a);
    (run_keys<KeyShapes>(launcher, args, a), ...);
}

}  // namespace

void attention_backward_sm90(tile::Launcher& launcher, const caravan_attention_backward_args& args,
                             AttentionWidths widths) {
    with_widths(widths, [&](auto chosen) {
        constexpr AttentionWidths kWidths = decltype(chosen)::value;
        using Queries = ShapeOf<AttentionPass::kQueries, kWidths>;
        if constexpr (kWidths == AttentionWidths::k256) {
            run<Queries, ShapeOf<AttentionPass::kKeys, kWidths, Part::kKeys>,
                ShapeOf<AttentionPass::kValues, kWidths, Part::kValues>>(launcher, args);
        } else {
            run<Queries, ShapeOf<AttentionPass::kKeysAndValues, kWidths>>(launcher, args);
        }
    });
}

}  // namespace cuda
}  // namespace caravan
