// Scores, choices and weights of every token, with what the balance losses need; and back. A block
// of rows is one task's; each leaves its part of the statistics, added up in the order of blocks.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/blocks.h"
#include "core/experts.h"
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

// One row's probabilities, and what they were made from.
struct Scores {
    float lse;    // log of the sum of exp(logits)
    float total;  // sum of p; 1 for a soft-max
};

// p [n] = softmax(x), and the same numbers whatever p is.
float soft_max(const float* x, int64_t n, float* p) {
    Vec most = broadcast(-INFINITY);
    for_vectors(n, [&](int64_t i, auto part) {
        Vec value = load(x + i, part);
        if constexpr (std::is_same_v<decltype(part), Part>) {
            value = load_part(x + i, part.n, -INFINITY);
        }
        most = max(value, most);
    });
    const float shift = reduce_max(most);
    const float sum = sum_vectors(n, [&](int64_t i, auto part) {
        const Vec e = inside(exp(load(x + i, part) - shift), part);
        store(p + i, e, part);
        return e;
    });
    for_vectors(n, [&](int64_t i, auto part) { store(p + i, load(p + i, part) / sum, part); });
    return shift + std::log(sum);
}

Scores scores(const float* x, int64_t n, bool sigmoid, float* p) {
    Scores result = {soft_max(x, n, p), 1.0f};
    if (!sigmoid) return result;
    result.total = sum_vectors(n, [&](int64_t i, auto part) {
        const Vec s = inside(1.0f / (1.0f + exp(-load(x + i, part))), part);
        store(p + i, s, part);
        return s;
    });
    return result;
}

// The largest of x that is not taken yet, the first of equal ones; a NaN only when nothing else is.
int64_t best(const float* x, int64_t n, const uint8_t* taken) {
    int64_t found = -1, first = -1;
    for (int64_t e = 0; e < n; ++e) {
        if (taken[e] != 0) continue;
        if (first < 0) first = e;
        if (x[e] == x[e] && (found < 0 || x[e] > x[found])) found = e;
    }
    return found < 0 ? first : found;
}

// One token's choices and weights, counted in `stats`.
void route(const caravan_router_forward_args& args, int64_t t, float* p, uint8_t* taken,
           float* stats) {
    const int64_t n = args.logits.shape[1], choices = args.weights.shape[1];
    const float* x = row<float>(args.logits, t);
    float* weights = data<float>(args.weights) + t * choices;
    int32_t* experts = data<int32_t>(args.experts) + t * choices;
    const Scores s = scores(x, n, args.scoring == CARAVAN_SIGMOID, p);
    std::fill_n(taken, n, uint8_t{0});
    float chosen = 0;
    for (int64_t c = 0; c < choices; ++c) {
        const int64_t e = best(x, n, taken);
        taken[e] = 1;
        experts[c] = static_cast<int32_t>(e);
        weights[c] = p[e];
        chosen += p[e];
        stats[e] += 1;
    }
    const float scale = args.renormalise != 0 ? 1.0f / chosen : 1.0f;
    for (int64_t c = 0; c < choices; ++c) {
        weights[c] = s.lse != s.lse ? s.lse : weights[c] * scale;  // a NaN among the logits
    }
    stats[n + experts[0]] += 1;
    for_vectors(n, [&](int64_t e, auto part) {
        store(stats + 2 * n + e, load(stats + 2 * n + e, part) + load(p + e, part) / s.total, part);
    });
    stats[3 * n] += s.lse * s.lse;
    stats[3 * n + 1] += 1;
}

}  // namespace

void router_forward(Pool& pool, const caravan_router_forward_args& args) {
    const int64_t tokens = args.logits.shape[0], n = args.logits.shape[1];
    const int64_t choices = args.weights.shape[1], width = router_stats(n);
    const int64_t used = args.rows.data == nullptr ? tokens : *data<int32_t>(args.rows);
    const Blocks blocks = partial_blocks(CARAVAN_CPU, tokens);
    auto* const partials = data<float>(args.workspace);
    pool.run(blocks.count, [&](int64_t block, int thread) {
        auto* const p = static_cast<float*>(pool.scratch(thread));
        auto* const taken = reinterpret_cast<uint8_t*>(p + CARAVAN_MAX_EXPERTS);
        float* const stats = partials + block * width;
        std::fill_n(stats, width, 0.0f);
        for (int64_t t = blocks.begin(block); t < blocks.end(block); ++t) {
            if (t < used) {
                route(args, t, p, taken, stats);
            } else {
                std::fill_n(data<int32_t>(args.experts) + t * choices, choices, -1);
                std::fill_n(data<float>(args.weights) + t * choices, choices, 0.0f);
            }
        }
    });
    for (int64_t i = 0; i < width; ++i) {
        double sum = 0;
        for (int64_t b = 0; b < blocks.count; ++b) {
            sum += static_cast<double>(partials[b * width + i]);
        }
        data<float>(args.stats)[i] = static_cast<float>(sum);
    }
}

namespace {

// One token's gradient. g becomes the gradient of p, from its weights and the balance loss.
void route_back(const caravan_router_backward_args& args, int64_t t, float* p, float* g) {
    const int64_t n = args.logits.shape[1], choices = args.weights.shape[1];
    const float* x = row<float>(args.logits, t);
    const float* weights = data<float>(args.weights) + t * choices;
    const int32_t* experts = data<int32_t>(args.experts) + t * choices;
    const int32_t* slots = data<int32_t>(args.slots) + t * choices;
    const float* factors = data<float>(args.factors);
    float* out = row<float>(args.d_logits, t);
    const bool sigmoid = args.scoring == CARAVAN_SIGMOID;

    const Scores s = scores(x, n, sigmoid, p);
    // What the balance loss takes is p / total: its gradient, less what a common factor changes.
    float mean = 0;
    if (factors != nullptr && sigmoid) {
        mean =
            sum_vectors(n, [&](int64_t e,
                               auto part) { return load(factors + e, part) * load(p + e, part); }) /
            s.total;
    }
    for_vectors(n, [&](int64_t e, auto part) {
        const Vec a = factors == nullptr ? Vec{} : load(factors + e, part);
        store(g + e, (a - mean) / s.total, part);
    });
    float chosen = 0, shared = 0;
    const auto slope = [&](int64_t c) {
        return slots[c] < 0 ? 0.0f : data<float>(args.d_weights)[slots[c]];
    };
    for (int64_t c = 0; c < choices; ++c) {
        chosen += p[experts[c]];
        shared += slope(c) * weights[c];
    }
    for (int64_t c = 0; c < choices; ++c) {
        g[experts[c]] += args.renormalise != 0 ? (slope(c) - shared) / chosen : slope(c);
    }
    const float z = factors == nullptr ? 0.0f : 2 * factors[n] * s.lse;
    if (sigmoid) {
        for_vectors(n, [&](int64_t e, auto part) {
            const Vec value = load(p + e, part);
            const Vec around = z == 0 ? Vec{} : z * exp(load(x + e, part) - s.lse);
            store(out + e, value * (1.0f - value) * load(g + e, part) + around, part);
        });
        return;
    }
    const float inner =
        sum_vectors(n, [&](int64_t e, auto part) { return load(p + e, part) * load(g + e, part); });
    for_vectors(n, [&](int64_t e, auto part) {
        store(out + e, load(p + e, part) * (load(g + e, part) - inner + z), part);
    });
}

}  // namespace

void router_backward(Pool& pool, const caravan_router_backward_args& args) {
    const int64_t tokens = args.logits.shape[0], n = args.logits.shape[1];
    const int64_t used = args.rows.data == nullptr ? tokens : *data<int32_t>(args.rows);
    const Blocks blocks = row_blocks(tokens, n);
    pool.run(blocks.count, [&](int64_t block, int thread) {
        auto* const p = static_cast<float*>(pool.scratch(thread));
        for (int64_t t = blocks.begin(block); t < blocks.end(block); ++t) {
            if (t < used) {
                route_back(args, t, p, p + CARAVAN_MAX_EXPERTS);
            } else {
                std::fill_n(row<float>(args.d_logits, t), n, 0.0f);
            }
        }
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
