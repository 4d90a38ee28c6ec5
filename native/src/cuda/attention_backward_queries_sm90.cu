// Gradients of queries for sm_90a, bf16: a block for each tile of queries and head goes over the
// keys that they see. It leaves delta = sum of d_out * out of each row for
// attention_backward_keys_sm90.cu. Where there is a bias, another warp beside the thread that
// copies lays it out for the tiles to come, and its gradient is summed by warp and bucket as tiles
// pass.
#include "cuda/attention_backward_sm90.cuh"

namespace caravan {
namespace cuda {
namespace {

using namespace sm90;

#if CARAVAN_SM90A

// The gradient of the bias that a tile of queries and head leaves, by bucket.
__device__ __forceinline__ float* bias_sums_of(const Backward& a, int slot, int head) {
    return a.bias_sums + (int64_t{slot} * a.rules.heads + head) * a.bias.buckets;
}

// One warp: the biases of every tile's keys.
template <typename S>
__device__ __forceinline__ void load_biases(const Backward& a, const Memory<S>& memory,
                                            const Owner& owner, int head) {
    int i = 0;
    for (int key = owner.from; key < owner.to; key += S::kPassed, ++i) {
        const Turn<S::kStages> turn(i);
        tile::mbarrier_wait(memory.control->free + turn.stage, turn.parity ^ 1);
        memory.query_biases(turn.stage)
            .fill(a.bias, head, key - owner.position, 1, memory.control->single + turn.stage);
        __syncwarp();
        if (lane() == 0) tile::mbarrier_arrive(memory.control->arrived + turn.stage);
    }
}

// A warpgroup: number `group` of the consumers.
template <typename S>
__device__ __forceinline__ void consume_keys(const Backward& a, const Memory<S>& memory, int slot,
                                             int head, int group) {
    auto* const control = memory.control;
    const Owner owner = control->owner;
    const int left = static_cast<int>(a.rules.left), right = static_cast<int>(a.rules.right);
    const int warp_row = group * 64 + warp() % 4 * 16;
    unsigned char* const queries = memory.owned + group * (S::kOwnedBytes / S::kGroups);
    unsigned char* const d_outs =
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

    const bool biased = S::kBiased && a.bias.table != nullptr;
    const auto bias_sums = [&] { return memory.bias_sums(a.bias.buckets, group * 4 + warp() % 4); };
    if (biased) bias_sums().clear(a.bias.buckets);
    float sums[1][S::kWidth / 8][4];
    clear(sums);
    if (sees(owner)) {
        float scores[1][S::kPassed / 8][4], gradients[1][S::kPassed / 8][4];
        uint32_t operand[S::kPassed / 16][1][4];
        tile::mbarrier_wait(&control->owned, 0);
        const int own_rows = max(owner.rows - group * 64, 0);
        if (biased && own_rows < 64) {  // no row of d_q has part in them, but the bias's gradient has
            clear_owned<S::kWidth>(queries, own_rows);
            clear_owned<S::kValueWidth>(d_outs, own_rows);
            tile::fence_async_shared();
            tile::barrier_sync(2 + group, kGroup);
        }
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
            const auto add_bias = [&] {
                memory.query_biases(now.stage).add(scores, a.scores.unbiased, warp_row,
                                                   control->single[now.stage]);
            };
            to_gradients(
                scores, gradients, a.scores, band, band.cuts(16, S::kPassed), biased, add_bias,
                [&](int, int e) { return lse[e / 2]; }, [&](int, int e) { return delta[e / 2]; });
            if (biased) {
                const int bucket = control->single[now.stage];
                if (bucket >= 0) {
                    bias_sums().add_one(gradients, bucket);
                } else {
                    bias_sums().add(gradients, memory.query_biases(now.stage), warp_row,
                                    a.bias.buckets);
                }
            }
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
    if (!biased) return;
    tile::barrier_sync(1, S::kConsumers);  // the sums by bucket are there
    for (int b = threadIdx.x - kGroup; b < a.bias.buckets; b += S::kConsumers) {
        float sum = 0;
        for (int w = 0; w < S::kConsumers / tile::kWarp; ++w) {
            sum += memory.bucket_sums()[w * a.bias.buckets + b];
        }
        bias_sums_of(a, slot, head)[b] = sum;
    }
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
    const bool biased = S::kBiased && a.bias.table != nullptr;
    const auto fill_bias_sums = [&](float value) {
        for (int b = threadIdx.x; b < a.bias.buckets; b += S::kThreads) {
            bias_sums_of(a, slot, head)[b] = value;
        }
    };
    if (!documents_hold(rules)) {
        spoil<S::kOwned>(a.d_q, slot, rules.query_rows, head, rules.width);
        return fill_bias_sums(NAN);
    }
    const DocumentTile document = find_tile<Side::kQueries>(rules, slot, S::kOwned);
    if (document.begin >= document.queries) return fill_bias_sums(0);
    const Memory<S> memory(tile::shared_memory());
    if (threadIdx.x == 0) {
        Place place;
        place_queries<S::kOwned, S::kPassed>(rules, document, &place);
        begin(memory,
              {place.query_row, place.rows, place.position, place.first_key, place.keys,
               place.keys_from, place.keys_to, 0, 0},
              biased ? 2 : 1);
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
        } else if (biased && warp() == 1) {
            load_biases(a, memory, owner, head);
        }
        __syncwarp();
    } else {
        tile::registers_claim<S::kConsumerRegisters>();
        consume_keys(a, memory, slot, head, group - 1);
    }
#endif
}

template <typename S>
void run_queries(tile::Launcher& launcher, const caravan_attention_backward_args& args,
                 const Backward& a) {
    static_assert(
        !S::kBiased || S::kBytes + int64_t{sizeof(Control<S>)} + query_bytes<S>(kBiasBucketsMost) <=
                           227 * 1024,
        "a block has so much shared memory");
    tile::TensorMap q, d_out, k, v;
    if (!map_rows(args.q, 64, &q) || !map_rows(args.d_out, 64, &d_out) ||
        !map_rows(args.k, S::kPassed, &k) || !map_rows(args.v, S::kPassed, &v)) {
        return refuse_maps(launcher);
    }
    launcher.run(attention_bwd_q_sm90_kernel<S>,
                 config(attention_slots(a.rules.query_rows, a.rules.documents, S::kOwned),
                        a.rules.heads, S::kThreads,
                        S::kBytes + int64_t{sizeof(Control<S>)} + query_bytes<S>(a.bias.buckets)),
                 a, q, d_out, k, v);
}

}  // namespace

AttentionLeft attention_backward_queries_sm90(tile::Launcher& launcher,
                                              const caravan_attention_backward_args& args,
                                              AttentionWidths widths) {
    AttentionLeft left = {};
    with_widths(widths, [&](auto chosen) {
        using S = ShapeOf<AttentionPass::kQueries, decltype(chosen)::value>;
        const Backward a = backward_of(args);
        run_queries<S>(launcher, args, a);
        left.bias_slots = attention_slots(a.rules.query_rows, a.rules.documents, S::kOwned);
    });
    return left;
}

}  // namespace cuda
}  // namespace caravan
