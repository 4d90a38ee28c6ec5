// Forward attention by mma.sync, bf16: a block for each tile of queries and head goes over the keys
// that they see, last tile first. Weights are powers of 2 of scores with log2(e) folded into the
// scale, and stay in registers as the left operand of the second product; keys of the next tile and
// values of this one are copied while the products run.
// Sources: Dao 2023, arXiv 2307.08691 (FlashAttention-2); PTX ISA for the layouts.
#include "cuda/attention.h"
#include "cuda/attention_bias.cuh"
#include "cuda/attention_mma.cuh"
#include "cuda/attention_tiles.h"

namespace caravan {
namespace cuda {
namespace {

using namespace mma;

// Shapes of the kernel: what is in a block. kRowTiles: of 16 queries, of a warp.
template <int kWidth_, int kValueWidth_, int kRowTiles_, int kWarps_, int kKeys_,
          bool kKeepQueries_, int kBlocks_>
struct ForwardShape {
    static constexpr int kWidth = kWidth_, kValueWidth = kValueWidth_;
    static constexpr int kRowTiles = kRowTiles_, kWarps = kWarps_;
    static constexpr bool kKeepQueries = kKeepQueries_;
    static constexpr int kBlocks = kBlocks_;  // of a multiprocessor, for the compiler
    static constexpr int kKeys = kKeys_;
    static constexpr int kThreads = kWarps * tile::kWarp;
    static constexpr int kWarpQueries = kRowTiles * 16;
    static constexpr int kQueries = kWarps * kWarpQueries;
    static_assert(kValueWidth <= kWidth, "results are staged where the queries were");

    static constexpr int64_t bytes(bool biased) {
        return Tile<kWidth>::bytes(kQueries) + Tile<kWidth>::bytes(kKeys) +
               Tile<kValueWidth>::bytes(kKeys) + int64_t{sizeof(Place)} +
               (biased ? BiasTile<kQueries, kKeys>::bytes(false) : 0);
    }
};

template <typename Shape>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks)
    attention_mma_fwd_kernel(const __grid_constant__ BiasedForward a) {
    constexpr int kM = Shape::kRowTiles, kKeys = Shape::kKeys, kScoreTiles = kKeys / 8;
    constexpr int kThreads = Shape::kThreads;
    const AttentionRules& rules = a.rules;
    const int slot = gridDim.x - 1 - blockIdx.x;  // the last tiles of a document see most keys
    const int head = blockIdx.y;
    if (!documents_hold(rules)) return spoil_forward<Shape::kQueries>(a, slot, head);
    const DocumentTile document = find_tile<Side::kQueries>(rules, slot, Shape::kQueries);
    if (document.begin >= document.queries) return;
    unsigned char* const memory = tile::shared_memory();
    const Tile<Shape::kWidth> queries = {memory};
    const Tile<Shape::kWidth> keys = {queries.data + Tile<Shape::kWidth>::bytes(Shape::kQueries)};
    const Tile<Shape::kValueWidth> values = {keys.data + Tile<Shape::kWidth>::bytes(kKeys)};
    Place* const place =
        reinterpret_cast<Place*>(values.data + Tile<Shape::kValueWidth>::bytes(kKeys));
    if (threadIdx.x == 0) place_queries<Shape::kQueries, kKeys>(rules, document, place);
    __syncthreads();
    const int left = static_cast<int>(rules.left), right = static_cast<int>(rules.right);
    const int warp_row = warp() * Shape::kWarpQueries;
    const bool all = reaches_last_quarter<Shape::kWidth>(rules.width);
    const bool all_values = reaches_last_quarter<Shape::kValueWidth>(rules.value_width);
    const auto bias =
        BiasTile<Shape::kQueries, kKeys>::in(reinterpret_cast<unsigned char*>(place + 1), false);

    float sums[kM][Shape::kValueWidth / 8][4];
    clear(sums);
    // Of each row: what is subtracted from scores, and the sum of weights in this lane's columns.
    float base[kM][2], total[kM][2];
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            base[m][half] = -INFINITY;
            total[m][half] = 0;
        }
    }
    if (place->keys_from < place->keys_to) {
        copy_tile<Shape::kQueries, kThreads>(queries, a.q.at(place->query_row, head), a.q.row,
                                             place->rows, rules.width);
        int key = (place->keys_to - 1) / kKeys * kKeys;
        // This thread's parts of the next tiles, which come one before the other.
        const bf16* next_keys =
            CopyLane().part(a.k.at(place->first_key + key, head / rules.group), a.k.row);
        const bf16* next_values =
            CopyLane().part(a.v.at(place->first_key + key, head / rules.group), a.v.row);
        const auto copy_keys = [&](int from) {
            copy_part<kKeys, kThreads>(keys, CopyLane(), next_keys, a.k.row, place->keys - from,
                                       rules.width);
            next_keys -= kKeys * a.k.row;
        };
        copy_keys(key);
        tile::copy_async_commit();
        tile::copy_async_wait<0>();
        __syncthreads();
        Left<kM, Shape::kWidth, Shape::kKeepQueries> left_operand(queries, warp_row);
        left_operand.keep();
        for (;;) {
            copy_part<kKeys, kThreads>(values, CopyLane(), next_values, a.v.row, place->keys - key,
                                       rules.value_width);
            next_values -= kKeys * a.v.row;
            tile::copy_async_commit();
            float scores[kM][kScoreTiles][4];
            const int zero = place->zero;
            int bucket = -1;
            if (a.bias.table != nullptr) {
                bucket = bias.prepare(a.bias, head, key - place->position, 1);
            }
            multiply(scores, left_operand, keys, zero, all);
            __syncthreads();  // the keys are free, the biases there
            if (key > place->keys_from) copy_keys(key - kKeys);
            tile::copy_async_commit();

            if (a.scores.cap > 0) {
#pragma unroll
                for (int m = 0; m < kM; ++m) {
#pragma unroll
                    for (int n = 0; n < kScoreTiles; ++n) {
#pragma unroll
                        for (int e = 0; e < 4; ++e) {
                            scores[m][n][e] =
                                a.scores.cap * tile::tanh_of_cap(scores[m][n][e] * a.scores.bend);
                        }
                    }
                }
            }
            if (a.bias.table != nullptr) {
                if (bucket >= 0) {
                    scale_and_add(scores, a.scores.unbiased, a.bias.value(bucket, head));
                } else {
                    bias.add(scores, a.scores.unbiased, warp_row);
                }
            }
            const Band band = {place->position + warp_row - key, left, right,
                               place->keys - 1 - key};
            if (band.cuts(Shape::kWarpQueries, kKeys)) band.apply(scores);
            float highest[kM][2];
            bool grown = false;
#pragma unroll
            for (int m = 0; m < kM; ++m) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    float& high = highest[m][half];
                    high = fmaxf(scores[m][0][half * 2], scores[m][0][half * 2 + 1]);
#pragma unroll
                    for (int n = 1; n < kScoreTiles; ++n) {
                        high =
                            fmaxf(high, fmaxf(scores[m][n][half * 2], scores[m][n][half * 2 + 1]));
                    }
                    grown |= high * a.scores.scale > base[m][half] + kSlack;
                }
            }
            if (__any_sync(tile::kFullMask, grown)) {
#pragma unroll
                for (int m = 0; m < kM; ++m) {
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        float high = highest[m][half];
                        high = fmaxf(high, __shfl_xor_sync(tile::kFullMask, high, 1));
                        high = fmaxf(high, __shfl_xor_sync(tile::kFullMask, high, 2));
                        const float next = fmaxf(base[m][half], high * a.scores.scale);
                        // 1 as long as there are no keys, for -infinity has no difference.
                        const float shrink =
                            next == base[m][half] ? 1.0f : tile::exp2_flushed(base[m][half] - next);
                        base[m][half] = next;
                        total[m][half] *= shrink;
#pragma unroll
                        for (int n = 0; n < Shape::kValueWidth / 8; ++n) {
                            sums[m][n][half * 2] *= shrink;
                            sums[m][n][half * 2 + 1] *= shrink;
                        }
                    }
                }
            }
            float subtracted[kM][2];
#pragma unroll
            for (int m = 0; m < kM; ++m) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    subtracted[m][half] = base[m][half] == -INFINITY ? 0.0f : base[m][half];
                }
            }
            tile::copy_async_wait<1>();  // the values
            __syncthreads();
#pragma unroll
            for (int step = 0; step < kScoreTiles / 2; ++step) {
#pragma unroll
                for (int m = 0; m < kM; ++m) {
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        float sum = 0;
#pragma unroll
                        for (int i = 0; i < 4; ++i) {
                            float& weight = scores[m][2 * step + i / 2][half * 2 + i % 2];
                            weight =
                                tile::exp2_flushed(weight * a.scores.scale - subtracted[m][half]);
                            sum += weight;
                        }
                        total[m][half] += sum;
                    }
                }
                uint32_t weights[kM][4];
                to_left(weights, scores, step);
                accumulate(sums, weights, values, step, zero, all_values);
            }
            if (key <= place->keys_from) break;
            key -= kKeys;
            tile::copy_async_wait<0>();
            __syncthreads();  // the keys are there, the values are free
        }
    }
    const Tile<Shape::kValueWidth> stage = {queries.data + warp_row * int64_t{Shape::kWidth} * 2};
    store_forward(a, *place, head, warp_row, sums, base, total, stage);
}

template <typename Shape>
void run(tile::Launcher& launcher, const BiasedForward& a) {
    const int64_t slots = attention_slots(a.rules.query_rows, a.rules.documents, Shape::kQueries);
    launcher.run(attention_mma_fwd_kernel<Shape>,
                 {dim3(static_cast<unsigned>(slots), static_cast<unsigned>(a.rules.heads)),
                  dim3(Shape::kThreads), Shape::bytes(a.bias.table != nullptr), 1},
                 a);
}

}  // namespace

void attention_mma_forward(tile::Launcher& launcher, const caravan_attention_forward_args& args,
                           AttentionWidths widths) {
    BiasedForward a = {};
    static_cast<Forward&>(a) = forward_of(args);
    a.bias = bias_of(a.rules);
    with_widths(widths, [&](auto chosen) {
        constexpr AttentionTiles kTiles =
            attention_mma_tiles(AttentionPass::kForward, decltype(chosen)::value);
        constexpr bool kKeepQueries = kTiles.width == 64;  // else registers do not suffice
        run<ForwardShape<kTiles.width, kTiles.value_width, kTiles.owned / kTiles.warps / 16,
                         kTiles.warps, kTiles.passed, kKeepQueries, kTiles.blocks>>(launcher, a);
    });
}

}  // namespace cuda
}  // namespace caravan
