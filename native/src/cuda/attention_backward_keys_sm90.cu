// Gradients of keys and values for sm_90a, bf16: a block for each tile of keys and key/value head
// goes over the queries that see them, of every head that shares them, on transposed scores. Of
// heads up to 128 without a bias it adds to d_q too (attention_query_sums.cuh). Sums of d_k and of
// d_v that do not fit a warpgroup's registers together come from a kernel each: heads of 256 take
// eight products. A warp beside the thread that copies lays out statistics and biases.
#include "cuda/attention_backward_sm90.cuh"
#include "cuda/attention_query_sums.cuh"

namespace caravan {
namespace cuda {
namespace {

using namespace sm90;

#if CARAVAN_SM90A

// Calls body(i, head, query) for each tile of queries that passes, the last first, of each head that
// shares the keys; returns their number. Blocks of neighbouring keys then stay a tile apart if they
// begin together.
template <typename S, typename Body>
__device__ __forceinline__ int each_queries(const Owner& owner, int heads_from, int heads,
                                            const Body& body) {
    int i = 0;
    const int last = owner.from + (owner.to - 1 - owner.from) / S::kPassed * S::kPassed;
    for (int query = last; query >= owner.from; query -= S::kPassed) {
        for (int head = heads_from; head < heads_from + heads; ++head) body(i++, head, query);
    }
    return i;
}

// One warp: the statistics of every tile's queries, and their biases.
template <typename S>
__device__ __forceinline__ void load_statistics(const Backward& a, const Memory<S>& memory,
                                                const Owner& owner, int i, int head, int query) {
    const Turn<S::kStages> turn(i);
    tile::mbarrier_wait(memory.control->free + turn.stage, turn.parity ^ 1);
    float* const to = memory.statistics + turn.stage * 2 * S::kPassed;
#pragma unroll 1
    for (int row = lane(); row < S::kPassed; row += tile::kWarp) {
        // Rows behind the document's are masked by their column.
        const bool there = query + row < owner.rest;
        const int64_t at = owner.first + query + row;
        to[row] = there ? weight_base(a.lse[head * a.lse_stride + at]) : 0.0f;
        to[S::kPassed + row] = there ? a.delta[head * a.rules.query_rows + at] : 0.0f;
    }
    if (S::kBiased && a.bias.table != nullptr) {
        memory.biases(turn.stage)
            .fill(a.bias, head, owner.position - query, -1, memory.control->single + turn.stage);
    }
    __syncwarp();
    if (lane() == 0) tile::mbarrier_arrive(memory.control->arrived + turn.stage);
}

// A warpgroup: number `group` of the consumers.
template <typename S>
__device__ __forceinline__ void consume_queries(const Backward& a, const Memory<S>& memory,
                                                int kv_head, int group) {
    auto* const control = memory.control;
    const Owner& owner = control->owner;  // read anew: sums take the registers
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
        if constexpr (S::kOfQueries) {
            if (owner.rows < S::kOwned) {  // d_q has a part of every row
                clear_owned<S::kWidth>(keys, min(max(owner.rows - group * 64, 0), 64));
            }
            clear_scores(memory);
            wait_scores(memory, 0);
        }
        int before_row = 0;  // of the first query of the tile before
        const int heads = a.rules.group;
        const int tiles = each_queries<S>(owner, kv_head * heads, heads, [&](int i, int,
                                                                            int query) {
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
            const auto add_bias = [&] {
                memory.biases(turn.stage)
                    .add(scores, a.scores.unbiased, warp_row, control->single[turn.stage]);
            };
            to_gradients(
                scores, gradients, a.scores, band, band.cuts(16, S::kPassed),
                S::kBiased && a.bias.table != nullptr, add_bias,
                [&](int n, int e) { return of[n * 8 + e % 2]; },
                [&](int n, int e) { return of[S::kPassed + n * 8 + e % 2]; });
            if (S::kOfQueries && owner.rows < S::kOwned) {
                clear_rows(gradients, owner.rows - warp_row);
            }
            if constexpr (S::kOfValues) round_left(weights, scores);
            if constexpr (S::kOfKeys) round_left(operand, gradients);
            float query_sums[1][S::kOfQueries ? kSumColumns / 8 : 1][4];
            if constexpr (S::kOfQueries) {
                store_scores(memory, i + 1, warp_row, operand);
                wait_scores(memory, i);
                tile::wgmma_fence();
                start_query_sums(query_sums, memory, i, group);
                tile::wgmma_commit();
            }
            tile::wgmma_fence();
            if constexpr (S::kOfValues) start_sums<S, S::kValueWidth>(v_sums, weights, d_outs);
            if constexpr (S::kOfKeys) start_sums<S, S::kWidth>(k_sums, operand, queries);
            tile::wgmma_commit();
            if constexpr (S::kOfQueries) {
                tile::wgmma_wait<1>(flat(query_sums));
                release_scores(memory, i);
                if (i > 0) store_query_sums(query_sums, memory, i - 1, before_row, group);
                before_row = owner.first + query;
            }
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
        if constexpr (S::kOfQueries) {
            float query_sums[1][kSumColumns / 8][4];
            wait_scores(memory, tiles);
            tile::wgmma_fence();
            start_query_sums(query_sums, memory, tiles, group);
            tile::wgmma_commit();
            tile::wgmma_wait<0>(flat(query_sums));
            store_query_sums(query_sums, memory, tiles - 1, before_row, group);
        }
    }
    // The warpgroup has read its keys and values, with d_q the other one too.
    tile::barrier_sync(S::kOfQueries ? 1 : 2 + group, S::kOfQueries ? S::kConsumers : kGroup);
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
    const Memory<S> memory(tile::shared_memory());
    int slot = blockIdx.x, kv_head = blockIdx.y;  // the first keys are seen by most queries
    if constexpr (S::kOfQueries) {
        // All heads of a slot before the next.
        const int number = take_number<S>(a, memory.control), kv_heads = gridDim.y;
        slot = number / kv_heads;
        kv_head = number % kv_heads;
    }
    if (!documents_hold(rules)) {
        if (S::kOfKeys) spoil<S::kOwned>(a.d_k, slot, rules.key_rows, kv_head, rules.width);
        if (S::kOfValues) spoil<S::kOwned>(a.d_v, slot, rules.key_rows, kv_head, rules.value_width);
        return;
    }
    const DocumentTile document = find_tile<Side::kKeys>(rules, slot, S::kOwned);
    if (document.begin >= document.keys) return;
    if (threadIdx.x == 0) {
        const int rows = static_cast<int>(min(document.keys - document.begin, int64_t{S::kOwned}));
        const int position = static_cast<int>(document.begin - document.shift());
        const int queries = static_cast<int>(document.queries);
        const AttentionQueries passed =
            attention_queries(position, rows, static_cast<int>(rules.left),
                              static_cast<int>(rules.right), queries, S::kPassed);
        begin(memory,
              {static_cast<int>(document.first_key + document.begin), rows, position,
               static_cast<int>(document.first_query), queries, passed.from, passed.to,
               static_cast<int>(document.begin),
               static_cast<int>(document.first_query / S::kPassed + document.number)},
              2);
    }
    __syncthreads();
    const int group = uniform(threadIdx.x / kGroup);
    if (group == 0) {
        tile::registers_release<S::kProducerRegisters>();
        const Owner& owner = memory.control->owner;
        const auto each = [&](const auto& body) {
            each_queries<S>(owner, kv_head * rules.group, rules.group, body);
        };
        if (sees(owner) && threadIdx.x == 0) {
            load_owned(memory, owner, k, v, kv_head);
            each([&](int i, int head, int query) {
                load_passed(memory, owner, q, d_out, head, i, query);
            });
        } else if (sees(owner) && warp() == 1) {
            each([&](int i, int head, int query) {
                load_statistics(a, memory, owner, i, head, query);
            });
        } else if (S::kOfQueries && sees(owner) && warp() >= 2 && lane() == 0) {
            if constexpr (S::kOfQueries) {
                each([&](int i, int head, int query) {
                    add_query_sums(a, memory, owner, i, head, query, warp() - 2);
                });
                tile::tma_wait<0>();
            }
        }
        __syncwarp();
    } else {
        tile::registers_claim<S::kConsumerRegisters>();
        consume_queries(a, memory, kv_head, group - 1);
    }
#endif
}

template <typename S>
void run_keys(tile::Launcher& launcher, const caravan_attention_backward_args& args,
              const Backward& a) {
    static_assert(S::kBytes + int64_t{sizeof(Control<S>)} + key_bytes<S>(S::kBiased) <= 227 * 1024,
                  "a block has so much shared memory");
    tile::TensorMap q, d_out, k, v;
    if (!map_rows(args.q, S::kPassed, &q) || !map_rows(args.d_out, S::kPassed, &d_out) ||
        !map_rows(args.k, 64, &k) || !map_rows(args.v, 64, &v)) {
        return refuse_maps(launcher);
    }
    launcher.run(attention_bwd_kv_sm90_kernel<S>,
                 config(attention_slots(a.rules.key_rows, a.rules.documents, S::kOwned),
                        a.rules.heads / a.rules.group, S::kThreads,
                        S::kBytes + int64_t{sizeof(Control<S>)} +
                            key_bytes<S>(S::kBiased && a.bias.table != nullptr)),
                 a, q, d_out, k, v);
}

}  // namespace

void attention_backward_keys_sm90(tile::Launcher& launcher,
                                  const caravan_attention_backward_args& args,
                                  AttentionWidths widths) {
    const Backward a = backward_of(args);
    with_widths(widths, [&](auto chosen) {
        constexpr AttentionWidths kWidths = decltype(chosen)::value;
        if constexpr (kWidths == AttentionWidths::k256) {
            run_keys<ShapeOf<AttentionPass::kKeys, kWidths, Part::kKeys>>(launcher, args, a);
            run_keys<ShapeOf<AttentionPass::kValues, kWidths, Part::kValues>>(launcher, args, a);
        } else if constexpr (kWidths == AttentionWidths::k192) {
            run_keys<ShapeOf<AttentionPass::kKeysAndValues, kWidths>>(launcher, args, a);
        } else if (a.query_sums != nullptr) {
            run_keys<ShapeOf<AttentionPass::kAll, kWidths, Part::kAll>>(launcher, args, a);
        } else {
            run_keys<ShapeOf<AttentionPass::kKeysAndValues, kWidths>>(launcher, args, a);
        }
    });
}

}  // namespace cuda
}  // namespace caravan
