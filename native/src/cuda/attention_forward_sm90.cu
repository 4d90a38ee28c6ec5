// Forward attention for sm_90a, bf16: blocks, one for each multiprocessor, take one tile of queries
// of a head after the other, and go over the keys that they see, last tile first. One thread finds
// the tiles and keeps a ring of keys and values full by tensor copies, across the tiles' borders;
// each of two or three consumer warpgroups has 64 queries. A warpgroup starts the
// products with the next keys before those with the present values and takes the soft-max of the
// one while the other runs; the warpgroups start products in turn, so that one's soft-max lies
// beneath another's products. Weights stay in registers as the left operand. Where there is a bias,
// another warp beside the thread that copies lays it out for the tiles of keys to come.
// Sources: Shah et al. 2024, arXiv 2407.08608 (FlashAttention-3), sections 3.1 and 3.2; PTX ISA for
// the layouts.
#include "cuda/attention.h"
#include "cuda/attention_sm90.cuh"
#include "cuda/tile/fence.cuh"
#include "cuda/tile/named_barrier.cuh"
#include "cuda/tile/opaque.cuh"
#include "cuda/tile/registers.cuh"

namespace caravan {
namespace cuda {
namespace {

using namespace sm90;

// A tile of queries and its head; rows are -1 behind the last.
struct Task {
    Place place;
    int head;
};

// Behind the tiles in shared memory.
template <typename S>
struct Control {
    Task tasks[S::kQueryStages];
    // Have arrived; with queries their task.
    Mbarrier queries[S::kQueryStages], keys[S::kStages], values[S::kStages];
    // Have been read by all consumer warps; queries also as the place of results, and their task by
    // the warp that makes biases.
    Mbarrier free_queries[S::kQueryStages], free_keys[S::kStages], free_values[S::kStages];
    BiasRing<S::kQueries, S::kKeys, S::kStages> biases;
};

#if CARAVAN_SM90A

template <typename S>
struct Memory {
    unsigned char *queries, *keys, *values;  // rings
    Control<S>* control;
    unsigned char* biases;

    __device__ __forceinline__ explicit Memory(unsigned char* from)
        : queries(from),
          keys(from + S::kQueryStages * S::kQueryBytes),
          values(keys + S::kStages * S::kKeyBytes),
          control(reinterpret_cast<Control<S>*>(from + S::kBytes)),
          biases(reinterpret_cast<unsigned char*>(control + 1)) {}
};

// Number i of the tiles, from `row` on, into a ring, once what was there has been read.
template <typename S, int kWidth>
__device__ __forceinline__ void load_tile(unsigned char* ring, Mbarrier* arrived, Mbarrier* free,
                                          int i, const tile::TensorMap& map, int head, int row) {
    constexpr int kBytes = S::kKeys * kWidth * 2;
    const Turn<S::kStages> turn(i);
    tile::mbarrier_wait(free + turn.stage, turn.parity ^ 1);
    tile::mbarrier_arrive_expect(arrived + turn.stage, kBytes);
    load_rows<kWidth>(ring + turn.stage * kBytes, S::kKeys, map, head, row, arrived + turn.stage);
}

// One thread.
template <typename S>
__device__ __forceinline__ void produce(const AttentionRules& rules, const AttentionOrder& order,
                                        const Memory<S>& memory, const tile::TensorMap& q,
                                        const tile::TensorMap& k, const tile::TensorMap& v) {
    auto* const control = memory.control;
    int number = 0;  // of the task
    int i = 0;       // of the ring's tile
    each_tile(order, [&](int slot, int head) {
        const DocumentTile document = find_tile<Side::kQueries>(rules, slot, S::kQueries);
        if (document.begin >= document.queries) return;
        const Turn<S::kQueryStages> turn(number++);
        Task* const task = control->tasks + turn.stage;
        Mbarrier* const arrived = control->queries + turn.stage;
        tile::mbarrier_wait(control->free_queries + turn.stage, turn.parity ^ 1);
        place_queries<S::kQueries, S::kKeys>(rules, document, &task->place);
        task->head = head;
        const Place place = task->place;
        if (place.keys_from >= place.keys_to) return tile::mbarrier_arrive(arrived);
        tile::mbarrier_arrive_expect(arrived, S::kQueryBytes);
        for (int group = 0; group < S::kGroups; ++group) {
            load_rows<S::kWidth>(
                memory.queries + turn.stage * S::kQueryBytes + group * S::kGroupBytes, 64, q, head,
                place.query_row + group * 64, arrived);
        }
        const int kv_head = head / rules.group;
        const auto load_keys = [&](int i, int key) {
            load_tile<S, S::kWidth>(memory.keys, control->keys, control->free_keys, i, k, kv_head,
                                    place.first_key + key);
        };
        const auto load_values = [&](int i, int key) {
            load_tile<S, S::kValueWidth>(memory.values, control->values, control->free_values, i, v,
                                         kv_head, place.first_key + key);
        };
        // Keys go ahead of values by one tile, as they do in the products.
        int key = (place.keys_to - 1) / S::kKeys * S::kKeys;
        load_keys(i, key);
        for (; key - S::kKeys >= place.keys_from; key -= S::kKeys, ++i) {
            load_keys(i + 1, key - S::kKeys);
            load_values(i, key);
        }
        load_values(i++, key);
    });
    const Turn<S::kQueryStages> turn(number);
    tile::mbarrier_wait(control->free_queries + turn.stage, turn.parity ^ 1);
    control->tasks[turn.stage].place.rows = -1;
    tile::mbarrier_arrive(control->queries + turn.stage);
}

// One warp: the biases of a task's tiles, once its queries have arrived.
template <typename S>
__device__ __forceinline__ void produce_biases(const BiasedForward& a, const Memory<S>& memory) {
    auto* const control = memory.control;
    int i = 0;  // of the ring's tile
    for (int number = 0;; ++number) {
        const Turn<S::kQueryStages> turn(number);
        tile::mbarrier_wait(control->queries + turn.stage, turn.parity);
        const Task& task = control->tasks[turn.stage];
        const Place& place = task.place;
        if (place.rows < 0) return;
        if (place.keys_from < place.keys_to) {
            int key = (place.keys_to - 1) / S::kKeys * S::kKeys;
            for (; key >= place.keys_from; key -= S::kKeys) {
                control->biases.fill(a.bias, memory.biases, i++, task.head, key - place.position,
                                     1);
            }
        }
        __syncwarp();
        if (lane() == 0) tile::mbarrier_arrive(control->free_queries + turn.stage);
    }
}

// Makes 0 of the rows of values from `valid` on, which belong to another document or to none: their
// weights are 0, but what they hold may not be a number. All consumers call.
template <typename S>
__device__ __forceinline__ void clear_values(unsigned char* values, int valid) {
    const tile::Vector<uint32_t, 4> zeros = {};
    const int chunks = (S::kKeys - valid) * (kLine / 16);
    for (int i = threadIdx.x - kGroup; i < chunks * (S::kValueWidth / kPanel); i += S::kConsumers) {
        tile::store(reinterpret_cast<uint32_t*>(values + (i / chunks * S::kKeys + valid) * kLine +
                                                i % chunks * 16),
                    zeros);
    }
    tile::fence_async_shared();
    tile::barrier_sync(S::kGroups + 1, S::kConsumers);
}

// Starts scores = queries keys^T.
template <typename S>
__device__ __forceinline__ void start_scores(float (&scores)[1][S::kKeys / 8][4],
                                             const unsigned char* queries,
                                             const unsigned char* keys) {
    const uint64_t a = tile::wgmma_k_major(queries), b = tile::wgmma_k_major(keys);
    tile::wgmma_fence();
#pragma unroll
    for (int step = 0; step < S::kWidth / 16; ++step) {
        const int panel = step / 4, inside = step % 4 * 32;
        tile::wgmma<S::kKeys, Major::kK, Major::kK>(
            flat(scores), tile::wgmma_advance(a, panel * 64 * kLine + inside),
            tile::wgmma_advance(b, panel * S::kKeys * kLine + inside), step > 0);
    }
    tile::wgmma_commit();
}

// Starts sums += weights values.
template <typename S>
__device__ __forceinline__ void start_sums(float (&sums)[1][S::kValueWidth / 8][4],
                                           const uint32_t (&weights)[S::kKeys / 16][1][4],
                                           const unsigned char* values) {
    const uint64_t b = tile::wgmma_mn_major(values, S::kKeys * kLine);
    tile::wgmma_fence();
#pragma unroll
    for (int step = 0; step < S::kKeys / 16; ++step) {
        tile::wgmma<S::kValueWidth, Major::kMN>(flat(sums), weights[step][0],
                                                tile::wgmma_advance(b, step * 16 * kLine), true);
    }
    tile::wgmma_commit();
}

// Of a thread's two rows: what is subtracted from scores, the sum of weights in its columns, and by
// what sums before the last scores are to be multiplied.
struct Rows {
    float base[1][2], total[1][2];
    float shrink[2];
};

// Turns products into weights. True when sums are to be shrunk, for all lanes of the warp.
template <int kN>
__device__ __forceinline__ bool weigh(float (&scores)[1][kN][4], const Scores& to_score,
                                      const Band& band, Rows& rows) {
    if (to_score.cap > 0) {
#pragma unroll
        for (int n = 0; n < kN; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                scores[0][n][e] = to_score.cap * tile::tanh_of_cap(scores[0][n][e] * to_score.bend);
            }
        }
    }
    if (band.cuts(16, kN * 8)) band.apply(scores);
    float highest[2];
    bool grown = false;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float& high = highest[half];
        high = fmaxf(scores[0][0][half * 2], scores[0][0][half * 2 + 1]);
#pragma unroll
        for (int n = 1; n < kN; ++n) {
            high = fmaxf(high, fmaxf(scores[0][n][half * 2], scores[0][n][half * 2 + 1]));
        }
        grown |= high * to_score.scale > rows.base[0][half] + kSlack;
    }
    grown = __any_sync(tile::kFullMask, grown);
    if (grown) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float high = highest[half];
            high = fmaxf(high, __shfl_xor_sync(tile::kFullMask, high, 1));
            high = fmaxf(high, __shfl_xor_sync(tile::kFullMask, high, 2));
            float& base = rows.base[0][half];
            const float next = fmaxf(base, high * to_score.scale);
            // 1 as long as there are no keys, for -infinity has no difference.
            rows.shrink[half] = next == base ? 1.0f : tile::exp2_flushed(base - next);
            base = next;
            rows.total[0][half] *= rows.shrink[half];
        }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const float subtracted = rows.base[0][half] == -INFINITY ? 0.0f : rows.base[0][half];
        float sum = 0;
#pragma unroll
        for (int n = 0; n < kN; ++n) {
#pragma unroll
            for (int e = half * 2; e < half * 2 + 2; ++e) {
                scores[0][n][e] = tile::exp2_flushed(scores[0][n][e] * to_score.scale - subtracted);
                sum += scores[0][n][e];
            }
        }
        rows.total[0][half] += sum;
    }
    return grown;
}

template <int kSteps, int kN>
__device__ __forceinline__ void round_weights(uint32_t (&weights)[kSteps][1][4],
                                              const float (&scores)[1][kN][4]) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) to_left(weights[step], scores, step);
}

// A task of a warpgroup, number `group` of the consumers. i: tiles of keys that were before it, and
// then behind it.
template <typename S>
__device__ __forceinline__ void consume_tile(const BiasedForward& a, const Memory<S>& memory,
                                             const Task& task, unsigned char* queries, int group,
                                             int& i) {
    auto* const control = memory.control;
    const Place place = task.place;
    const int left = static_cast<int>(a.rules.left), right = static_cast<int>(a.rules.right);
    const int warp_row = group * 64 + warp() % 4 * 16;
    const auto band_at = [&](int key) {
        return Band{place.position + warp_row - key, left, right, place.keys - 1 - key};
    };
    const auto release = [&](Mbarrier* barrier) {
        if (lane() == 0) tile::mbarrier_arrive(barrier);
    };
    float sums[1][S::kValueWidth / 8][4];
    clear(sums);
    Rows rows = {{{-INFINITY, -INFINITY}}, {{0, 0}}, {1, 1}};
    // Rows behind the document's, another's queries, are taken for great already: they raise
    // nothing.
    for (int half = 0; half < 2; ++half) {
        if (warp_row + half * 8 + lane() / 4 >= place.rows) rows.base[0][half] = INFINITY;
    }
    if (place.keys_from < place.keys_to) {
        // The barrier of each warpgroup's turn to start products.
        const int own_turn = 1 + group, next_turn = 1 + (group + 1) % S::kGroups;
        float scores[1][S::kKeys / 8][4];
        uint32_t weights[S::kKeys / 16][1][4];
        int key = (place.keys_to - 1) / S::kKeys * S::kKeys;
        const auto add_bias = [&](int i) {
            if constexpr (S::kBiased) {
                if (a.bias.table == nullptr) return;
                control->biases.add(scores, a.scores.unbiased, memory.biases, i, warp_row);
            }
        };

        const Turn<S::kStages> first(i);
        tile::mbarrier_wait(control->keys + first.stage, first.parity);
        start_scores<S>(scores, queries, memory.keys + first.stage * S::kKeyBytes);
        tile::wgmma_wait<0>(flat(scores));
        release(control->free_keys + first.stage);
        add_bias(i);
        weigh(scores, a.scores, band_at(key), rows);
        round_weights(weights, scores);
        if (place.keys - key < S::kKeys) {
            tile::mbarrier_wait(control->values + first.stage, first.parity);
            clear_values<S>(memory.values + first.stage * S::kValueBytes, place.keys - key);
        }
        // Waits for tile number i of keys, `key` on, if there is one.
        const auto wait_keys = [&](int i, int key) {
            const Turn<S::kStages> turn(i);
            if (key < place.keys_from) return;
            tile::mbarrier_wait(control->keys + turn.stage, turn.parity);
        };
        ++i;  // the ring's tile of keys; that of values is the one before
        key -= S::kKeys;
        if (group == S::kGroups - 1 && key >= place.keys_from) {
            tile::barrier_arrive(next_turn, 2 * kGroup);  // the first turn
        }
        wait_keys(i, key);
        for (; key >= place.keys_from; key -= S::kKeys, ++i) {
            const Turn<S::kStages> now(i), before(i - 1);
            tile::barrier_sync(own_turn, 2 * kGroup);
            start_scores<S>(scores, queries, memory.keys + now.stage * S::kKeyBytes);
            tile::mbarrier_wait(control->values + before.stage, before.parity);
            start_sums<S>(sums, weights, memory.values + before.stage * S::kValueBytes);
            // The last turn of all is nobody's.
            if (group < S::kGroups - 1 || key - S::kKeys >= place.keys_from) {
                tile::barrier_arrive(next_turn, 2 * kGroup);
            }
            tile::wgmma_wait<1>(flat(scores));
            release(control->free_keys + now.stage);
            add_bias(i);
            const bool shrunk = weigh(scores, a.scores, band_at(key), rows);
            tile::computed(flat(scores));
            // Here, because the compiler puts no weights off beyond a wait that loops.
            wait_keys(i + 1, key - S::kKeys);
            tile::wgmma_wait<0>(flat(sums));
            tile::wgmma_keep(weights);
            release(control->free_values + before.stage);
            if (shrunk) {
#pragma unroll
                for (int n = 0; n < S::kValueWidth / 8; ++n) {
#pragma unroll
                    for (int e = 0; e < 4; ++e) sums[0][n][e] *= rows.shrink[e / 2];
                }
            }
            round_weights(weights, scores);
        }
        const Turn<S::kStages> last(i - 1);
        tile::mbarrier_wait(control->values + last.stage, last.parity);
        start_sums<S>(sums, weights, memory.values + last.stage * S::kValueBytes);
        tile::wgmma_wait<0>(flat(sums));
        tile::wgmma_keep(weights);
        release(control->free_values + last.stage);
    }
    tile::barrier_sync(S::kGroups + 2 + group, kGroup);  // the warpgroup has read its queries
    const Tile<S::kValueWidth> stage = {queries + warp() % 4 * 16 * S::kValueWidth * 2};
    store_forward(a, place, task.head, warp_row, sums, rows.base, rows.total, stage);
}

// A warpgroup.
template <typename S>
__device__ __forceinline__ void consume(const BiasedForward& a, const Memory<S>& memory,
                                        int group) {
    auto* const control = memory.control;
    int i = 0;
    for (int number = 0;; ++number) {
        const Turn<S::kQueryStages> turn(number);
        tile::mbarrier_wait(control->queries + turn.stage, turn.parity);
        const Task& task = control->tasks[turn.stage];
        if (task.place.rows < 0) return;
        consume_tile(a, memory, task,
                     memory.queries + turn.stage * S::kQueryBytes + group * S::kGroupBytes, group,
                     i);
        tile::fence_async_shared();  // results were where the next queries are copied to
        __syncwarp();
        if (lane() == 0) tile::mbarrier_arrive(control->free_queries + turn.stage);
    }
}

#endif  // CARAVAN_SM90A

template <typename S>
__global__ void __launch_bounds__(S::kThreads, 1)
    attention_fwd_sm90_kernel(const __grid_constant__ BiasedForward a, const AttentionOrder order,
                              const __grid_constant__ tile::TensorMap q,
                              const __grid_constant__ tile::TensorMap k,
                              const __grid_constant__ tile::TensorMap v) {
#if CARAVAN_SM90A
    if (!documents_hold(a.rules)) {
        return each_tile(order,
                         [&](int slot, int head) { spoil_forward<S::kQueries>(a, slot, head); });
    }
    const Memory<S> memory(tile::shared_memory());
    auto* const control = memory.control;
    const bool biased = S::kBiased && a.bias.table != nullptr;
    if (threadIdx.x == 0) {
        constexpr int kWarps = S::kConsumers / tile::kWarp;
        for (int stage = 0; stage < S::kQueryStages; ++stage) {
            tile::mbarrier_init(control->queries + stage, 1);
            tile::mbarrier_init(control->free_queries + stage, kWarps + (biased ? 1 : 0));
        }
        for (int stage = 0; stage < S::kStages; ++stage) {
            tile::mbarrier_init(control->keys + stage, 1);
            tile::mbarrier_init(control->values + stage, 1);
            tile::mbarrier_init(control->free_keys + stage, kWarps);
            tile::mbarrier_init(control->free_values + stage, kWarps);
        }
        control->biases.begin(kWarps);
        tile::mbarrier_init_fence();
    }
    __syncthreads();
    const int group = uniform(threadIdx.x / kGroup);
    if (group == 0) {
        tile::registers_release<S::kProducerRegisters>();
        if (threadIdx.x == 0) {
            produce(a.rules, order, memory, q, k, v);
        } else if (warp() == 1 && biased) {
            if constexpr (S::kBiased) produce_biases(a, memory);
        }
        __syncwarp();
    } else {
        tile::registers_claim<S::kConsumerRegisters>();
        consume(a, memory, group - 1);
    }
#endif
}

template <typename S>
void run(tile::Launcher& launcher, const caravan_attention_forward_args& args) {
    BiasedForward a = {};
    static_cast<Forward&>(a) = forward_of(args);
    a.bias = bias_of(a.rules);
    tile::TensorMap q, k, v;
    if (!map_rows(args.q, 64, &q) || !map_rows(args.k, S::kKeys, &k) ||
        !map_rows(args.v, S::kKeys, &v)) {
        launcher.refuse("attention_forward: needs a driver that makes tensor maps");
        return;
    }
    const AttentionOrder order = attention_order(args, S::kQueries);
    const int64_t blocks = std::min<int64_t>(int64_t{order.slots} * order.heads,
                                             std::max(launcher.target().multiprocessors, 1));
    const int64_t bias_bytes = a.bias.table != nullptr ? decltype(Control<S>::biases)::kBytes : 0;
    launcher.run(
        attention_fwd_sm90_kernel<S>,
        tile::config(blocks, S::kThreads, S::kBytes + int64_t{sizeof(Control<S>)} + bias_bytes), a,
        order, q, k, v);
}

}  // namespace

void attention_forward_sm90(tile::Launcher& launcher, const caravan_attention_forward_args& args,
                            AttentionWidths widths) {
    with_widths(widths, [&](auto chosen) {
        constexpr AttentionTiles kTiles =
            attention_sm90_tiles(AttentionPass::kForward, decltype(chosen)::value);
        static_assert(kTiles.stages == 2, "the shape's rings");
        run<ForwardShape<kTiles.width, kTiles.value_width, kTiles.warps / 4, kTiles.passed,
                         kTiles.owned_stages>>(launcher, args);
    });
}

}  // namespace cuda
}  // namespace caravan
