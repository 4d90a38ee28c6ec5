// A backward pass of attention, and the step from scores to their gradients, as the kernels on
// tensor cores take them.
#pragma once

#include "cuda/attention_bias.cuh"
#include "cuda/attention_tensor.cuh"

namespace caravan {
namespace cuda {
namespace tensor {

struct Backward {
    AttentionRules rules;
    Scores scores;
    Bias bias;
    Heads<const bf16> q, k, v, out, d_out;
    Heads<bf16> d_q, d_k, d_v;
    const float* lse;
    int64_t lse_stride;
    float* delta;      // [heads, query rows]
    float* bias_sums;  // [slots, heads, buckets]
    // Where d_q is added up in memory, else null: over scale, in panels of 64 columns, [heads,
    // panels, query rows, 64]; the next tile of keys that a block takes; and how many tiles of keys
    // have added to each part of a tile of queries, [slots, heads, parts].
    float* query_sums;
    uint32_t *next_tile, *turns;
    bool any_order;  // in whatever order the tiles come
};

// Gradients that a block of keys computes; without d_k it needs no values. kAll: of queries too.
enum class Part { kBoth, kValues, kKeys, kAll };

inline constexpr int kSumColumns = 64;  // of a panel of query_sums

// Where the four columns `chunk` of a row are among a panel's: so that neighbouring rows, stored by
// a warp in pairs of columns, meet in no bank of shared memory.
__device__ __forceinline__ int sum_chunk(int row, int chunk) { return chunk ^ (row % 4 * 2); }

inline Backward backward_of(const caravan_attention_backward_args& args) {
    Backward a = {};
    a.rules = attention_rules(args);
    a.scores = Scores(a.rules);
    a.bias = bias_of(a.rules);
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
    const auto plan = plan_cuda_attention_backward(args);
    a.delta = data<float>(args.workspace);
    a.bias_sums = a.delta + plan.deltas;
    if (plan.query_sums > 0) {
        a.query_sums = a.bias_sums + plan.bias_sums;
        a.next_tile = reinterpret_cast<uint32_t*>(a.query_sums + plan.query_sums);
        a.turns = a.next_tile + 1;
        a.any_order = args.any_order != 0;
    }
    return a;
}

// A log-sum-exp with log2(e); of a row that sees no key one that makes all weights 0.
__device__ __forceinline__ float weight_base(float lse) {
    return lse == -INFINITY ? INFINITY : lse * kLog2E;
}

// Replaces products of queries and keys by weights, and the gradients of weights by those of scores
// over scale. lse(n, e) with log2(e) and delta(n, e) are those of the element's query; bias() makes
// scores of products where there is one.
template <int kN, typename AddBias, typename Lse, typename Delta>
__device__ __forceinline__ void to_gradients(float (&scores)[1][kN][4],
                                             float (&gradients)[1][kN][4], const Scores& to_score,
                                             const Band& band, bool cut, bool biased,
                                             const AddBias& add_bias, const Lse& lse,
                                             const Delta& delta) {
    if (biased) add_bias();
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

}  // namespace tensor
}  // namespace cuda
}  // namespace caravan
