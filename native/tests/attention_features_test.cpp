// attention's features against the double reference: the tiles and widths of matrix instructions,
// biases, soft-caps, windows, sinks, few queries over many keys, and keys in pages.
#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "tests/attention_check.h"
#include "tests/harness.h"

namespace {

using test::AttentionProblem;
using test::check;
using test::documents;
using test::shape;
using test::Stream;
using test::Tensor;

constexpr int32_t F32 = CARAVAN_F32, BF16 = CARAVAN_BF16;

// Widths, storage and alignment that the tensor-core kernels of a device take, over tiles that end
// within and at the ends of documents, whole and cut by masks.
void matrix_tiles(Stream& stream) {
    struct Case {
        std::vector<std::pair<int, int>> lengths;
        int64_t heads, kv_heads, width, value_width;
        bool causal;
        int64_t left, right;
        double soft_cap;
    };
    const Case cases[] = {
        {{{129, 129}, {1, 1}, {0, 0}, {63, 65}}, 2, 1, 64, 64, true, -1, -1, 0},
        {{{130, 200}, {0, 5}, {3, 0}, {9, 70}}, 2, 1, 128, 128, false, -1, -1, 0},
        {{{200, 130}}, 2, 2, 64, 64, true, -1, -1, 0},
        {{{150, 150}, {20, 33}}, 4, 2, 40, 96, true, 33, -1, 20},
        {{{150, 150}, {20, 33}}, 1, 1, 128, 64, false, 33, 10, 0},
        {{{260, 260}}, 3, 1, 128, 128, true, 100, -1, 0},
        {{{1, 600}, {2, 3}}, 1, 1, 72, 8, true, -1, -1, 5},
        {{{70, 70}, {1, 40}}, 2, 1, 256, 256, true, -1, -1, 0},
        {{{65, 80}, {0, 5}, {3, 0}}, 2, 1, 192, 128, true, 40, -1, 0},
        {{{40, 70}}, 1, 1, 96, 96, false, -1, -1, 0},
        {{{33, 33}}, 1, 1, 192, 192, true, -1, -1, 30},
        {{{20, 50}}, 2, 1, 136, 248, false, 9, 20, 0},
        {{{40, 220}}, 1, 1, 256, 256, true, 190, -1, 15},
        {{{40, 250}}, 1, 1, 192, 128, false, -1, -1, 0},
    };
    uint64_t seed = 1100;
    for (const Case& c : cases) {
        reference::Attention how =
            documents(c.lengths, c.heads, c.kv_heads, c.width, c.value_width);
        how.causal = c.causal;
        how.window_left = c.left;
        how.window_right = c.right;
        how.soft_cap = c.soft_cap;
        how.scale = 1 / std::sqrt(static_cast<double>(c.width));
        check(how, BF16, 0, ++seed, stream);
    }
    reference::Attention how = shape({{140, 140}, {3, 20}}, 2, 1, 128);
    how.causal = true;
    how.scale = 0.1;
    const auto bits = [&] {
        AttentionProblem p(how, BF16, 0, 1200);
        p.forward(stream);
        p.backward(stream, 0);
        return p.out.bits() + p.lse.bits() + p.d_q.bits() + p.d_k.bits() + p.d_v.bits();
    };
    const std::string first = bits();
    for (int repeat = 0; repeat < (test::emulated() ? 1 : 20); ++repeat) CHECK(bits() == first);
}

// Biases by the tensor-core kernels: tiles of one bucket, of some and of all, before and behind the
// query, over documents in which positions begin anew.
void matrix_biases(Stream& stream) {
    struct Case {
        std::vector<std::pair<int, int>> lengths;
        int64_t heads, kv_heads, width, value_width, buckets, max_distance;
        bool causal, bidirectional;
        int64_t left;
        bool sinks;
    };
    const Case cases[] = {
        {{{200, 200}, {1, 1}, {70, 70}}, 2, 2, 64, 64, 32, 128, true, false, -1, false},
        {{{140, 300}, {0, 4}, {4, 0}}, 2, 1, 64, 64, 12, 20, false, true, -1, true},
        {{{130, 170}}, 2, 2, 128, 128, 64, 1000, false, true, 60, false},
        {{{70, 190}}, 4, 2, 128, 96, 2, 5, true, false, -1, false},
        {{{80, 100}}, 1, 1, 192, 128, 32, 40, true, false, -1, false},
        {{{70, 150}}, 2, 1, 256, 256, 32, 30, false, true, -1, false},
        // More tiles than there are stages, of keys and of the heads' queries.
        {{{40, 460}}, 5, 1, 64, 64, 32, 128, true, false, -1, false},
    };
    uint64_t seed = 1500;
    for (const Case& c : cases) {
        ++seed;
        reference::Attention how =
            documents(c.lengths, c.heads, c.kv_heads, c.width, c.value_width);
        how.causal = c.causal;
        how.buckets = c.buckets;
        how.max_distance = c.max_distance;
        how.bidirectional = c.bidirectional;
        how.window_left = c.left;
        how.scale = c.width == 64 ? 1 : 0.1;  // T5 has no scale
        if (c.sinks) how.sinks.assign(static_cast<size_t>(c.heads), 3);
        check(how, BF16, 0, seed, stream);
    }
    reference::Attention how = shape({{140, 140}, {3, 200}}, 2, 2, 64);
    how.buckets = 32;
    how.max_distance = 128;
    how.sinks = {1, -1};
    const auto bits = [&] {
        AttentionProblem p(how, BF16, 0, 1600);
        p.forward(stream);
        p.backward(stream, 0);
        return p.out.bits() + p.d_q.bits() + p.d_k.bits() + p.d_bias.bits() + p.d_sinks.bits();
    };
    const std::string first = bits();
    for (int repeat = 0; repeat < (test::emulated() ? 1 : 20); ++repeat) CHECK(bits() == first);
}

// Heads of keys that share their memory, and rows of queries, by a stride of 0.
void shared_memory(Stream& stream) {
    reference::Attention how = shape({{70, 70}, {20, 33}}, 4, 2, 64);
    how.causal = true;
    how.scale = 0.125;
    AttentionProblem apart(how, BF16, 0, 1250), together(how, BF16, 0, 1250);
    const auto repeat = [](Tensor& tensor, int64_t width) {
        for (int64_t i = 0; i < tensor.count(); ++i) {
            if (i / width % 2 == 1) tensor.set(i, tensor.get(i - width));
        }
    };
    for (AttentionProblem* p : {&apart, &together}) {
        repeat(p->k, 64);
        repeat(p->v, 64);
        for (int64_t i = 256; i < p->d_out.count(); ++i) p->d_out.set(i, p->d_out.get(i - 256));
    }
    apart.forward(stream);
    apart.backward(stream, 0);
    auto forward = together.forward_args();
    forward.k.stride[1] = forward.v.stride[1] = 0;
    CHECK_OK(caravan_attention_forward(stream, &forward));
    auto backward = together.backward_args();
    backward.k = forward.k;
    backward.v = forward.v;
    backward.d_out.stride[0] = 0;
    CHECK_OK(caravan_attention_backward(stream, &backward));
    const auto near = [](const Tensor& got, const Tensor& expected) {
        const auto values = expected.values();
        const double unit = 0x1p-7 * test::largest(values);
        for (int64_t i = 0; i < got.count(); ++i) {
            CHECK_NEAR(got.get(i), values[static_cast<size_t>(i)], unit);
        }
    };
    near(together.out, apart.out);
    near(together.d_q, apart.d_q);
    near(together.d_k, apart.d_k);
    near(together.d_v, apart.d_v);
}

// What only the plain kernels of a device serve in bf16: a scale by which the largest product has
// the smallest score, more buckets than fit shared memory.
void plain_features(Stream& stream) {
    reference::Attention how = shape({{70, 90}, {3, 20}}, 4, 2, 64);
    how.causal = true;
    how.scale = -0.2;
    check(how, BF16, 0, 1260, stream);
    how.scale = 0.2;
    how.buckets = 80;
    how.max_distance = 85;
    how.bidirectional = true;
    how.causal = false;
    check(how, BF16, 0, 1261, stream);
}

// Soft-cap, bias and windows together, with few queries and many.
void features(Stream& stream) {
    uint64_t seed = 200;
    for (int which = 0; which < 24; which += test::emulated() ? 7 : 1) {
        for (const auto& lengths : {std::vector<std::pair<int, int>>{{130, 130}, {40, 75}},
                                    std::vector<std::pair<int, int>>{{3, 400}, {1, 20}}}) {
            if (test::emulated() && lengths[0].first == 3) continue;
            reference::Attention how = shape(lengths, 4, (which & 1) != 0 ? 2 : 4, 32);
            how.scale = 0.3;
            how.soft_cap = which % 3 == 0 ? 0 : which % 3 == 1 ? 2 : 30;
            if ((which & 2) != 0) {
                how.buckets = (which & 8) != 0 ? 32 : 12;
                how.bidirectional = (which & 4) != 0;
                how.max_distance = (which & 8) != 0 ? 128 : 40;
            }
            how.causal = (which & 4) == 0;
            how.window_left = which >= 12 ? 33 : -1;
            how.window_right = which >= 18 ? 7 : -1;
            check(how, which % 5 == 4 ? BF16 : F32, 0, ++seed, stream);
        }
    }
}

// Sinks of every size beside the scores, with few queries and many, rows that see no key, and what
// else changes scores; a sink of -infinity is none.
void sinks(Stream& stream) {
    uint64_t seed = 1300;
    const std::vector<std::pair<int, int>> packs[] = {
        {{70, 70}, {1, 1}, {0, 3}, {9, 0}, {20, 5}}, {{130, 130}}, {{2, 150}, {1, 20}}};
    for (int which = 0; which < 8; ++which) {
        if (test::emulated() && which % 3 != 0) continue;
        reference::Attention how =
            shape(packs[which % 3], 4, which % 2 == 0 ? 2 : 4, which < 4 ? 64 : 128);
        how.sinks = {0.7, -3, which == 5 ? 40.0 : 6.0, which == 6 ? -60.0 : 1.5};
        how.causal = which != 1;
        how.scale = 0.3;
        how.soft_cap = which == 4 ? 5 : 0;
        how.window_left = which == 7 ? 20 : -1;
        if (which == 2) {
            how.buckets = 12;
            how.max_distance = 40;
        }
        check(how, which == 3 && !test::emulated() ? F32 : BF16, 0, ++seed, stream);
        if (which < 6) check(how, F32, which == 5 ? 3 : 0, ++seed, stream);
    }
    reference::Attention how = shape(packs[0], 4, 2, 64);
    how.causal = true;
    AttentionProblem without(how, BF16, 0, 1400);
    how.sinks.assign(4, -INFINITY);
    AttentionProblem with(how, BF16, 0, 1400);
    for (AttentionProblem* p : {&without, &with}) {
        p->forward(stream);
        p->backward(stream, 2);
    }
    CHECK(with.out.bits() == without.out.bits() && with.lse.bits() == without.lse.bits());
    CHECK(with.d_q.bits() == without.d_q.bits() && with.d_k.bits() == without.d_k.bits());
    for (double value : with.d_sinks.values()) CHECK(value == 2);
}

// Few queries of each of several documents give what they give alone: of so few keys that these
// are one split whatever lies beside them.
void few_packed(Stream& stream) {
    const std::vector<std::pair<int, int>> lengths = {{1, 20}, {2, 61}, {0, 9}, {1, 1}, {2, 200}};
    const auto described = [](const std::vector<std::pair<int, int>>& of) {
        reference::Attention how = shape(of, 4, 2, 64);
        how.causal = true;
        how.window_left = 50;
        how.buckets = 12;
        how.max_distance = 40;
        how.sinks = {0.5, -1, 2, 0};
        return how;
    };
    AttentionProblem all(described(lengths), BF16, 0, 1740);
    all.forward(stream);
    for (size_t s = 0; s < lengths.size(); ++s) {
        AttentionProblem alone(described({lengths[s]}), BF16, 0, 1740);
        const auto take = [](Tensor& to, const Tensor& from, int64_t row) {
            for (int64_t i = 0; i < to.count(); ++i) to.set(i, from.get(row + i));
        };
        const int64_t q = all.how.cu_q[s] * 256, k = all.how.cu_k[s] * 128;
        take(alone.q, all.q, q);
        take(alone.k, all.k, k);
        take(alone.v, all.v, k);
        alone.bias.set(all.bias.values());
        alone.forward(stream);
        for (int64_t i = 0; i < alone.out.count(); ++i) {
            CHECK_EQUAL(alone.out.get(i), all.out.get(q + i));
        }
    }
}

// Few queries over many keys: several of a document, groups that fill a tile of rows and that do
// not, widths, masks, biases and sinks, one split and many, documents without keys.
void few_queries(Stream& stream) {
    struct Case {
        std::vector<std::pair<int, int>> lengths;
        int64_t heads, kv_heads, width, value_width;
        int64_t left, right;
        bool causal;
        double soft_cap;
        int64_t buckets;
        bool sinks;
    };
    const Case cases[] = {
        {{{1, 700}}, 8, 1, 128, 128, -1, -1, true, 0, 0, false},
        {{{1, 20}, {1, 0}, {1, 300}, {0, 9}}, 4, 2, 64, 64, -1, -1, true, 0, 0, true},
        {{{3, 600}, {2, 1}}, 6, 2, 64, 64, 300, -1, true, 20, 0, false},
        {{{9, 530}}, 6, 1, 96, 40, -1, -1, true, 0, 32, false},
        {{{2, 270}}, 3, 3, 192, 128, -1, 5, false, 0, 0, true},
        {{{1, 515}}, 20, 1, 256, 256, -1, -1, true, 0, 0, false},
        {{{16, 16}}, 2, 1, 128, 128, 4, -1, true, 0, 0, false},
        // Splits that a window leaves without keys, rows that see none, nothing at all to read.
        {{{1, 1200}, {3, 2}}, 4, 1, 64, 64, 20, -1, true, 0, 12, true},
        {{{1, 0}, {2, 0}}, 4, 2, 64, 64, -1, -1, true, 0, 12, true},
        {{{0, 600}}, 2, 1, 64, 64, -1, -1, true, 0, 0, true},
    };
    uint64_t seed = 1700;
    for (const Case& c : cases) {
        ++seed;
        reference::Attention how =
            documents(c.lengths, c.heads, c.kv_heads, c.width, c.value_width);
        how.causal = c.causal;
        how.window_left = c.left;
        how.window_right = c.right;
        how.soft_cap = c.soft_cap;
        how.buckets = c.buckets;
        how.max_distance = 128;
        how.scale = 1 / std::sqrt(static_cast<double>(c.width));
        for (int64_t h = 0; c.sinks && h < c.heads; ++h) {
            how.sinks.push_back(static_cast<double>(h) - 1);
        }
        check(how, BF16, seed % 2 == 0 ? 8 : 0, seed, stream);
    }
    few_packed(stream);
    // Without a log-sum-exp, by one split and by several.
    for (const int keys : {40, 700}) {
        AttentionProblem with(shape({{1, keys}}, 2, 1, 64), BF16, 0, 1750);
        AttentionProblem without(with.how, BF16, 0, 1750);
        with.forward(stream);
        auto args = without.forward_args();
        args.lse = {};
        CHECK_OK(caravan_attention_forward(stream, &args));
        CHECK(without.out.bits() == with.out.bits());
    }
}

// Shapes, masks and features drawn at random.
void random_shapes(Stream& stream) {
    test::Random random(2000);
    const int64_t widths[] = {8, 40, 64, 72, 96, 128, 192, 256};
    for (uint64_t i = 0; i < (test::emulated() ? 3u : 40u); ++i) {
        const int longest = test::emulated() ? 90 : 200;
        std::vector<std::pair<int, int>> lengths;
        for (int64_t s = random.below(4); s >= 0; --s) {
            const auto length = [&] {
                return random.below(6) == 0 ? 0 : static_cast<int>(random.below(longest));
            };
            const int queries = length();
            lengths.emplace_back(queries, random.below(2) == 0 ? queries : length());
        }
        const int64_t kv_heads = 1 + random.below(2), group = 1 + random.below(3);
        const int64_t width = widths[random.below(8)];
        reference::Attention how =
            documents(lengths, kv_heads * group, kv_heads, width,
                      random.below(2) == 0 ? width : widths[random.below(8)]);
        how.scale = 1 / std::sqrt(static_cast<double>(width));
        how.causal = random.below(2) == 0;
        how.window_left = random.below(3) == 0 ? random.below(100) : -1;
        how.window_right = random.below(3) == 0 ? random.below(100) : -1;
        how.soft_cap = random.below(4) == 0 ? 10 : 0;
        if (random.below(3) == 0) {
            how.bidirectional = !how.causal;
            how.buckets = 4 + 2 * random.below(20);
            how.max_distance = how.buckets + random.below(200);
        }
        for (int64_t h = 0; i % 3 == 0 && h < how.heads; ++h) how.sinks.push_back(random.normal());
        check(how, i % 4 == 3 ? F32 : BF16, i % 8 == 6 ? 3 : 0, 2000 + i, stream);
    }
}

// The same forward pass with its keys and values in pages, in any order, between pages that belong
// to nobody and hold no numbers.
struct Paged {
    Paged(AttentionProblem& problem, int64_t rows_, int64_t spare, uint64_t seed) : rows(rows_) {
        const reference::Attention& how = problem.how;
        const auto documents = static_cast<int64_t>(how.cu_q.size()) - 1;
        int64_t listed = 1, used = 0;
        for (int64_t s = 0; s < documents; ++s) {
            const auto at = static_cast<size_t>(s);
            const int64_t own = (how.cu_k[at + 1] - how.cu_k[at] + rows - 1) / rows;
            listed = std::max(listed, own);
            used += own;
        }
        std::vector<int64_t> order(static_cast<size_t>(used + spare));
        std::iota(order.begin(), order.end(), 0);
        test::Random random(seed);
        for (size_t i = order.size(); i > 1; --i) {
            std::swap(order[i - 1],
                      order[static_cast<size_t>(random.below(static_cast<int64_t>(i)))]);
        }
        const int64_t all = static_cast<int64_t>(order.size()) * rows;
        std::vector<double> table(static_cast<size_t>(documents * listed), -7);
        k = std::make_unique<Tensor>(problem.dtype,
                                     std::vector<int64_t>{all, how.kv_heads, how.width});
        v = std::make_unique<Tensor>(problem.dtype,
                                     std::vector<int64_t>{all, how.kv_heads, how.value_width});
        size_t next = 0;
        for (int64_t s = 0; s < documents; ++s) {
            const auto at = static_cast<size_t>(s);
            const int64_t keys = how.cu_k[at + 1] - how.cu_k[at];
            for (int64_t j = 0; j < keys; ++j) {
                if (j % rows == 0) {
                    table[static_cast<size_t>(s * listed + j / rows)] =
                        static_cast<double>(order[next++]);
                }
                const auto page =
                    static_cast<int64_t>(table[static_cast<size_t>(s * listed + j / rows)]);
                const int64_t to = page * rows + j % rows, from = how.cu_k[at] + j;
                const auto copy = [&](Tensor& target, const Tensor& source, int64_t width) {
                    const int64_t each = how.kv_heads * width;
                    for (int64_t i = 0; i < each; ++i) {
                        target.set(to * each + i, source.get(from * each + i));
                    }
                };
                copy(*k, problem.k, how.width);
                copy(*v, problem.v, how.value_width);
            }
        }
        pages = std::make_unique<Tensor>(CARAVAN_I32, std::vector<int64_t>{documents, listed});
        pages->set(table);
    }

    caravan_attention_forward_args args(AttentionProblem& problem) {
        auto args = problem.forward_args();
        args.k = k->view();
        args.v = v->view();
        args.pages = pages->view();
        args.page_rows = static_cast<int32_t>(rows);
        int64_t bytes = 0;
        CHECK_OK(caravan_attention_forward_workspace(test::kind(), &args, &bytes));
        workspace = std::make_unique<test::Memory>(bytes);
        args.workspace = test::bytes_of(workspace->data(), bytes);
        return args;
    }

    int64_t rows;
    std::unique_ptr<Tensor> k, v, pages;
    std::unique_ptr<test::Memory> workspace;
};

void pages(Stream& stream) {
    struct Case {
        std::vector<std::pair<int, int>> lengths;
        int64_t heads, kv_heads, width, rows;
        int32_t dtype;
        int64_t left;
        double soft_cap;
        int64_t buckets;
        bool sinks;
    };
    const Case cases[] = {
        {{{1, 300}, {1, 17}, {0, 3}, {2, 64}}, 4, 2, 64, 16, BF16, -1, 0, 0, false},
        {{{1, 530}, {3, 40}}, 8, 2, 128, 48, BF16, 400, 0, 0, false},
        {{{20, 90}, {1, 1}}, 2, 1, 40, 32, BF16, -1, 0, 0, false},
        {{{40, 100}, {1, 70}}, 2, 1, 20, 16, F32, -1, 0, 0, false},
        {{{1, 700}, {2, 0}, {4, 33}}, 6, 2, 64, 16, BF16, 130, 0, 32, true},
        {{{3, 290}, {1, 5}}, 3, 3, 64, 64, BF16, -1, 15, 0, true},
        {{{3, 90}, {1, 5}}, 4, 2, 24, 16, F32, 30, 0, 32, true},
        // Several splits on the CPU too.
        {{{2, 2100}, {1, 1030}}, 4, 2, 24, 48, BF16, 1500, 15, 0, true},
        {{{3, 1100}, {2, 70}, {1, 0}}, 4, 1, 16, 16, F32, -1, 0, 12, true},
    };
    uint64_t seed = 1800;
    for (const Case& c : cases) {
        if (test::emulated() && c.lengths[0].second > 1000) continue;
        reference::Attention how = shape(c.lengths, c.heads, c.kv_heads, c.width);
        how.causal = true;
        how.scale = 1 / std::sqrt(static_cast<double>(c.width));
        how.window_left = c.left;
        how.soft_cap = c.soft_cap;
        how.buckets = c.buckets;
        how.max_distance = 128;
        for (int64_t h = 0; c.sinks && h < c.heads; ++h) {
            how.sinks.push_back(static_cast<double>(h) - 1);
        }
        AttentionProblem p(how, c.dtype, 0, ++seed);
        test::context() = "pages of " + std::to_string(c.rows) + ": " + p.name();
        const auto q = p.q.values(), k = p.k.values(), v = p.v.values(), bias = p.bias_values();
        const auto exact = reference::attention_forward<double>(p.how, q, k, v, bias);
        const auto keep = [&](float value) {
            if (test::kind() == CARAVAN_CPU) return value;
            return static_cast<float>(test::rounded(value, c.dtype));
        };
        const auto plain = reference::attention_forward<float>(p.how, q, k, v, bias, keep);
        Paged paged(p, c.rows, 2, seed);
        const auto args = paged.args(p);
        CHECK_OK(caravan_attention_forward(stream, &args));
        const double scores = std::fmax(1, test::largest(test::finite(exact.lse)));
        test::check_sums(p.out.values(), test::wide(plain.out, c.dtype), exact.out,
                         scores * test::largest(exact.out));
        CHECK_EQUAL(test::infinite(p.lse.values()), test::infinite(exact.lse));
        CHECK_ACCURACY(test::finite(p.lse.values()), test::finite(test::wide(plain.lse, F32)),
                       test::finite(exact.lse));
        const std::string first = p.out.bits() + p.lse.bits();
        CHECK_OK(caravan_attention_forward(stream, &args));
        CHECK(p.out.bits() + p.lse.bits() == first);
        test::context().clear();
    }
}

// Documents that begin alike may share pages, and give what they give without.
void shared_pages(Stream& stream) {
    for (const int32_t dtype : {BF16, F32}) {
        reference::Attention how = shape({{1, 300}, {1, 300}}, 4, 2, 64);
        how.causal = true;
        how.scale = 0.125;
        AttentionProblem p(how, dtype, 0, 1890);
        const auto same = [](Tensor& tensor) {
            const int64_t half = tensor.count() / 2;
            for (int64_t i = 0; i < half; ++i) tensor.set(half + i, tensor.get(i));
        };
        same(p.k);
        same(p.v);
        Paged paged(p, 16, 0, 1890);
        const auto args = paged.args(p);
        CHECK_OK(caravan_attention_forward(stream, &args));
        const std::string apart = p.out.bits() + p.lse.bits();
        // All but the last pages, which are full in part.
        const int64_t listed = paged.pages->count() / 2;
        for (int64_t i = 0; i + 1 < listed; ++i) {
            paged.pages->set(listed + i, paged.pages->get(i));
        }
        CHECK_OK(caravan_attention_forward(stream, &args));
        CHECK(p.out.bits() + p.lse.bits() == apart);
    }
}

// Pages that are none: refused by the CPU; a device makes what depends on them NaN.
void bad_pages(Stream& stream) {
    for (int which = 0; which < 4; ++which) {
        const int32_t dtype = which % 2 == 0 ? BF16 : F32;
        reference::Attention how = shape({{1, 40}, {1, 33}}, 2, 1, 64);
        how.causal = true;
        AttentionProblem p(how, dtype, 0, 1900);
        Paged paged(p, 16, 1, 1900);
        paged.pages->set(1, which < 2 ? 7 : -1);  // of the first document
        const auto args = paged.args(p);
        if (test::kind() == CARAVAN_CPU) {
            CHECK_REFUSED(caravan_attention_forward(stream, &args), "attention_forward",
                          which < 2 ? "pages: got 7 at 1 of document 0, needs 0 to 6"
                                    : "pages: got -1 at 1 of document 0, needs 0 to 6");
            continue;
        }
        CHECK_OK(caravan_attention_forward(stream, &args));
        for (int64_t i = 0; i < 128; ++i) CHECK(std::isnan(p.out.get(i)));
        for (int64_t i = 128; i < 256; ++i) CHECK(!std::isnan(p.out.get(i)));
    }
    // One behind a window is not read; one in a split among others is, sink or none.
    for (int which = 0; which < 4 && test::kind() != CARAVAN_CPU; ++which) {
        reference::Attention how = shape({{1, 700}, {1, 33}}, 2, 1, 64);
        how.window_left = which % 2 == 0 ? 100 : -1;
        if (which < 2) how.sinks = {1, 2};
        AttentionProblem p(how, BF16, 0, 1950);
        Paged paged(p, 16, 1, 1950);
        paged.pages->set(20, 2147483647);
        const auto args = paged.args(p);
        CHECK_OK(caravan_attention_forward(stream, &args));
        for (int64_t i = 0; i < 256; ++i) {
            CHECK(std::isnan(p.out.get(i)) == (which % 2 == 1 && i < 128));
        }
    }
    reference::Attention how = shape({{1, 40}, {1, 33}}, 2, 1, 64);
    AttentionProblem p(how, BF16, 0, 1901);
    Paged paged(p, 16, 1, 1901);
    auto args = paged.args(p);
    args.pages.shape[1] = 2;  // of which the first document needs three
    if (test::kind() == CARAVAN_CPU) {
        CHECK_REFUSED(caravan_attention_forward(stream, &args), "attention_forward",
                      "cu_k: got 40 keys of document 0, needs at most the 32");
    } else {
        CHECK_OK(caravan_attention_forward(stream, &args));
        for (double value : p.out.values()) CHECK(std::isnan(value));
    }
    const auto refused = [&](const char* part, auto change) {
        auto bad = paged.args(p);
        change(bad);
        CHECK_REFUSED(caravan_attention_forward(stream, &bad), "attention_forward", part);
    };
    using Args = caravan_attention_forward_args&;
    refused("pages: got shape [3", [](Args bad) { bad.pages.shape[0] = 3; });
    refused("pages: got dtype f32", [](Args bad) { bad.pages.dtype = F32; });
    refused("page_rows: got 24", [](Args bad) { bad.page_rows = 24; });
    refused("page_rows: got 0", [](Args bad) { bad.page_rows = 0; });
    refused("k: got 112 rows, needs whole pages of 32", [](Args bad) { bad.page_rows = 32; });
}

}  // namespace

int main() {
    Stream stream(2);
    matrix_tiles(stream);
    matrix_biases(stream);
    shared_memory(stream);
    plain_features(stream);
    features(stream);
    sinks(stream);
    few_queries(stream);
    random_shapes(stream);
    pages(stream);
    shared_pages(stream);
    bad_pages(stream);
    return test::finish();
}
