// Scores, choices and weights of every token, with what the balance losses need; and back. A warp
// takes a token, its logits in registers. A block of tokens leaves its part of the statistics;
// these are added in the order of blocks. Bytes: logits once; the statistics of blocks out of L2.
#include "core/blocks.h"
#include "core/experts.h"
#include "cuda/kernels.h"
#include "cuda/tensors.h"
#include "cuda/tile/reduce.cuh"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * tile::kWarp;
constexpr int kSumThreads = 128;
constexpr int kAtOnce = 8;  // partial sums that are loaded before the first is added

// A row over the lanes of a warp: element i is number i / 32 of lane i % 32.
template <int kEach>
struct Row {
    float at[kEach];

    __device__ __forceinline__ static int index(int i) {
        return i * tile::kWarp + static_cast<int>(threadIdx.x) % tile::kWarp;
    }
    template <typename Body>
    __device__ __forceinline__ static void each(int32_t n, const Body& body) {
#pragma unroll
        for (int i = 0; i < kEach; ++i) {
            if (index(i) < n) body(i, index(i));
        }
    }
};

// One row's probabilities, and what they were made from.
template <int kEach>
struct Scores {
    Row<kEach> p;
    float lse;    // log of the sum of exp(logits)
    float total;  // sum of p; 1 for a soft-max
};

template <int kEach>
__device__ __forceinline__ Scores<kEach> scores(const float* logits, int32_t n, bool sigmoid) {
    Scores<kEach> s;
    Row<kEach> x;
    // A NaN leaves the others' order as it is, and is seen in lse.
    float most = -INFINITY;
    bool bad = false;
    Row<kEach>::each(n, [&](int i, int e) {
        x.at[i] = logits[e];
        bad |= x.at[i] != x.at[i];
        most = fmaxf(most, x.at[i]);
    });
    bad = __any_sync(tile::kFullMask, bad);
    most = tile::warp_max(most);
    float sum = 0;
    Row<kEach>::each(n, [&](int i, int) {
        s.p.at[i] = expf(x.at[i] - most);
        sum += x.at[i] == x.at[i] ? s.p.at[i] : 0.0f;
    });
    sum = tile::warp_sum(sum);
    s.lse = bad ? NAN : most + logf(sum);
    s.total = 1;
    if (!sigmoid) {
        Row<kEach>::each(n, [&](int i, int) { s.p.at[i] /= sum; });
        return s;
    }
    float total = 0;
    Row<kEach>::each(n, [&](int i, int) {
        s.p.at[i] = 1.0f / (1.0f + expf(-x.at[i]));
        total += s.p.at[i];
    });
    s.total = tile::warp_sum(total);
    return s;
}

// The largest p of an expert that is not taken, the first of equal ones; a NaN only when nothing
// else is left.
struct Best {
    float key;
    int32_t expert;

    __device__ __forceinline__ void or_better(float other, int32_t at) {
        if (other > key || (other == key && at < expert)) {
            key = other;
            expert = at;
        }
    }
};

constexpr float kTaken = -2, kNaN = -1;  // below every probability

template <int kEach>
__device__ __forceinline__ Best best(const Row<kEach>& p, const bool (&taken)[kEach], int32_t n) {
    Best found = {kTaken, INT32_MAX};
    Row<kEach>::each(n, [&](int i, int e) {
        const float key = taken[i] ? kTaken : p.at[i] != p.at[i] ? kNaN : p.at[i];
        found.or_better(key, e);
    });
#pragma unroll
    for (int distance = tile::kWarp / 2; distance > 0; distance /= 2) {
        const float key = __shfl_xor_sync(tile::kFullMask, found.key, distance);
        const int32_t expert = __shfl_xor_sync(tile::kFullMask, found.expert, distance);
        found.or_better(key, expert);
    }
    return found;
}

// Used rows; none where the number is out of range.
__device__ __forceinline__ int64_t used_rows(const int32_t* rows, int64_t tokens) {
    if (rows == nullptr) return tokens;
    return *rows < 0 || *rows > tokens ? -1 : *rows;
}

struct Forward {
    const float* logits;
    const int32_t* rows;
    float* weights;
    int32_t* experts;
    float* partials;  // [blocks, router_stats]
    int64_t tokens, block_tokens;
    int32_t n, choices;
    bool sigmoid, renormalise;
};

template <int kEach>
__global__ void __launch_bounds__(kThreads) router_fwd_kernel(const Forward a) {
    tile::Shared shared;
    auto* const counts = shared.take<int32_t>(2 * int64_t{a.n});  // of choices, of first choices
    auto* const sums = shared.take<float>(int64_t{kWarps} * (a.n + 2));
    for (int i = threadIdx.x; i < 2 * a.n; i += kThreads) counts[i] = 0;
    __syncthreads();
    const int warp = threadIdx.x / tile::kWarp, lane = threadIdx.x % tile::kWarp;
    const int64_t used = used_rows(a.rows, a.tokens);
    const int64_t begin = static_cast<int64_t>(blockIdx.x) * a.block_tokens;
    const int64_t end = min(begin + a.block_tokens, a.tokens);
    Row<kEach> shares = {};
    float squares = 0, routed = 0;
    for (int64_t t = begin + warp; t < end; t += kWarps) {
        float* const weights = a.weights + t * a.choices;
        int32_t* const experts = a.experts + t * a.choices;
        if (t >= used) {
            const float nothing = used < 0 ? NAN : 0.0f;
            for (int c = lane; c < a.choices; c += tile::kWarp) {
                experts[c] = -1;
                weights[c] = nothing;
            }
            continue;
        }
        const auto s = scores<kEach>(a.logits + t * a.n, a.n, a.sigmoid);
        bool taken[kEach] = {};
        float chosen = 0;
        for (int c = 0; c < a.choices; ++c) {
            const Best found = best(s.p, taken, a.n);
            float weight = 0;
            Row<kEach>::each(a.n, [&](int i, int e) {
                if (e != found.expert) return;
                taken[i] = true;
                weight = s.p.at[i];
                experts[c] = e;
                weights[c] = weight;
                atomicAdd(counts + e, 1);
                if (c == 0) atomicAdd(counts + a.n + e, 1);
            });
            chosen += __shfl_sync(tile::kFullMask, weight, found.expert % tile::kWarp);
        }
        __syncwarp();  // the weights are written
        const float scale = a.renormalise ? 1.0f / chosen : 1.0f;
        for (int c = lane; c < a.choices; c += tile::kWarp) {
            weights[c] = s.lse != s.lse ? s.lse : weights[c] * scale;  // a NaN among the logits
        }
        Row<kEach>::each(a.n, [&](int i, int) { shares.at[i] += s.p.at[i] / s.total; });
        squares += s.lse * s.lse;
        routed += 1;
    }
    float* const own = sums + warp * (a.n + 2);
    Row<kEach>::each(a.n, [&](int i, int e) { own[e] = shares.at[i]; });
    if (lane == 0) {
        own[a.n] = squares;
        own[a.n + 1] = routed;
    }
    __syncthreads();
    float* const to = a.partials + static_cast<int64_t>(blockIdx.x) * CARAVAN_ROUTER_STATS(a.n);
    for (int i = threadIdx.x; i < 2 * a.n; i += kThreads) to[i] = static_cast<float>(counts[i]);
    for (int i = threadIdx.x; i < a.n + 2; i += kThreads) {
        float sum = 0;
        for (int w = 0; w < kWarps; ++w) sum += sums[w * (a.n + 2) + i];
        to[2 * a.n + i] = sum;
    }
}

// stats = the sum of the blocks' parts; NaN where the number of rows is out of range.
__global__ void __launch_bounds__(kSumThreads)
    router_sum_kernel(const float* partials, int32_t count, int64_t width, const int32_t* rows,
                      int64_t tokens, float* stats) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kSumThreads + threadIdx.x;
    if (i >= width) return;
    double sum = 0;
    for (int32_t block = 0; block < count; block += kAtOnce) {
        float part[kAtOnce];
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
            part[j] = block + j < count ? partials[(block + j) * width + i] : 0.0f;
        }
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) sum += static_cast<double>(part[j]);
    }
    stats[i] = used_rows(rows, tokens) < 0 ? NAN : static_cast<float>(sum);
}

struct Backward {
    const float* logits;
    const int32_t* rows;
    const float* weights;
    const int32_t* experts;
    const float* d_weights;
    const int32_t* slots;
    const float* factors;  // null where there is no balance loss
    float* d_logits;
    int64_t tokens, assignments;
    int32_t n, choices;
    bool sigmoid, renormalise;
};

template <int kEach>
__global__ void __launch_bounds__(kThreads) router_bwd_kernel(const Backward a) {
    const int lane = threadIdx.x % tile::kWarp;
    const int64_t t = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / tile::kWarp;
    if (t >= a.tokens) return;
    const int64_t used = used_rows(a.rows, a.tokens);
    float* const out = a.d_logits + t * a.n;
    if (t >= used) {
        const float nothing = used < 0 ? NAN : 0.0f;
        for (int e = lane; e < a.n; e += tile::kWarp) out[e] = nothing;
        return;
    }
    const float* const weights = a.weights + t * a.choices;
    const int32_t* const experts = a.experts + t * a.choices;
    const int32_t* const slots = a.slots + t * a.choices;
    const auto s = scores<kEach>(a.logits + t * a.n, a.n, a.sigmoid);
    // What the balance loss takes is p / total: its gradient, less what a common factor changes.
    Row<kEach> g = {};
    float mean = 0;
    if (a.factors != nullptr && a.sigmoid) {
        Row<kEach>::each(a.n, [&](int i, int e) { mean += a.factors[e] * s.p.at[i]; });
        mean = tile::warp_sum(mean) / s.total;
    }
    Row<kEach>::each(a.n, [&](int i, int e) {
        g.at[i] = ((a.factors == nullptr ? 0.0f : a.factors[e]) - mean) / s.total;
    });
    const auto slope = [&](int c) {
        const int32_t slot = slots[c];
        return slot < 0 ? 0.0f : slot < a.assignments ? a.d_weights[slot] : NAN;
    };
    float chosen = 0, shared = 0;
    for (int c = 0; c < a.choices; ++c) {
        const int32_t expert = experts[c];
        Row<kEach>::each(a.n, [&](int i, int e) { chosen += e == expert ? s.p.at[i] : 0.0f; });
        shared += slope(c) * weights[c];
    }
    chosen = tile::warp_sum(chosen);
    for (int c = 0; c < a.choices; ++c) {
        const int32_t expert = experts[c];
        const float to = a.renormalise ? (slope(c) - shared) / chosen : slope(c);
        Row<kEach>::each(a.n, [&](int i, int e) { g.at[i] += e == expert ? to : 0.0f; });
    }
    const float z = a.factors == nullptr ? 0.0f : 2 * a.factors[a.n] * s.lse;
    if (a.sigmoid) {
        Row<kEach>::each(a.n, [&](int i, int e) {
            const float p = s.p.at[i];
            const float around = z == 0 ? 0.0f : z * expf(a.logits[t * a.n + e] - s.lse);
            out[e] = p * (1.0f - p) * g.at[i] + around;
        });
        return;
    }
    float inner = 0;
    Row<kEach>::each(a.n, [&](int i, int) { inner += s.p.at[i] * g.at[i]; });
    inner = tile::warp_sum(inner);
    Row<kEach>::each(a.n, [&](int i, int e) { out[e] = s.p.at[i] * (g.at[i] - inner + z); });
}

// Calls body(each): how many of n experts a lane holds at most, as a constant.
template <typename Body>
void with_each(int64_t n, Body&& body) {
    if (n <= 2 * tile::kWarp) return body(std::integral_constant<int, 2>{});
    if (n <= 8 * tile::kWarp) return body(std::integral_constant<int, 8>{});
    static_assert(CARAVAN_MAX_EXPERTS <= 32 * tile::kWarp, "a lane holds 32");
    body(std::integral_constant<int, 32>{});
}

}  // namespace

void router_forward(tile::Launcher& launcher, const caravan_router_forward_args& args) {
    const int64_t tokens = args.logits.shape[0], n = args.logits.shape[1];
    const Blocks blocks = partial_blocks(CARAVAN_CUDA, tokens);
    const int64_t width = router_stats(n);
    auto* const partials = data<float>(args.workspace);
    const Forward a = {data<float>(args.logits),
                       data<int32_t>(args.rows),
                       data<float>(args.weights),
                       data<int32_t>(args.experts),
                       partials,
                       tokens,
                       blocks.size,
                       static_cast<int32_t>(n),
                       static_cast<int32_t>(args.weights.shape[1]),
                       args.scoring == CARAVAN_SIGMOID,
                       args.renormalise != 0};
    if (tokens > 0) {
        with_each(n, [&](auto each) {
            tile::Config config = tile::config(blocks.count, kThreads);
            config.shared_bytes =
                tile::SharedLayout().take<int32_t>(2 * n).take<float>(kWarps * (n + 2)).bytes();
            launcher.run(router_fwd_kernel<decltype(each)::value>, config, a);
        });
    }
    launcher.run(router_sum_kernel,
                 tile::config((width + kSumThreads - 1) / kSumThreads, kSumThreads), partials,
                 static_cast<int32_t>(blocks.count), width, a.rows, tokens,
                 data<float>(args.stats));
}

void router_backward(tile::Launcher& launcher, const caravan_router_backward_args& args) {
    const int64_t tokens = args.logits.shape[0], n = args.logits.shape[1];
    if (tokens == 0) return;
    const Backward a = {data<float>(args.logits),
                        data<int32_t>(args.rows),
                        data<float>(args.weights),
                        data<int32_t>(args.experts),
                        data<float>(args.d_weights),
                        data<int32_t>(args.slots),
                        data<float>(args.factors),
                        data<float>(args.d_logits),
                        tokens,
                        args.d_weights.shape[0],
                        static_cast<int32_t>(n),
                        static_cast<int32_t>(args.weights.shape[1]),
                        args.scoring == CARAVAN_SIGMOID,
                        args.renormalise != 0};
    with_each(n, [&](auto each) {
        launcher.run(router_bwd_kernel<decltype(each)::value>,
                     tile::config((tokens + kWarps - 1) / kWarps, kThreads), a);
    });
}

}  // namespace cuda
}  // namespace caravan
