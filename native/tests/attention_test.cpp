// attention, forward and backward, against a double reference over documents, masks, head layouts,
// widths and storage (attention_features_test: what else it does); its gradients against finite
// differences; a packed buffer against its documents one by one; the same bits for any number of
// threads; refusals. On the emulation fewer shapes, which still cross each border of the tiles.
#include "tests/reference/attention.h"

#include <cmath>
#include <string>
#include <vector>

#include "tests/attention_check.h"
#include "tests/harness.h"

namespace {

using test::AttentionProblem;
using test::check;
using test::Random;
using test::shape;
using test::Stream;
using test::Tensor;

constexpr int32_t F32 = CARAVAN_F32, BF16 = CARAVAN_BF16;

// Lengths at the edges of tiles and of vectors, alone and packed, under every kind of mask.
void lengths(Stream& stream) {
    using Packs = std::vector<std::vector<std::pair<int, int>>>;
    const Packs few = {{{63, 65}, {1, 1}, {64, 64}},
                       {{0, 0}, {5, 5}, {0, 7}, {9, 0}, {30, 131}, {0, 0}},
                       {{130, 3}},
                       {}};
    const Packs many = {{{1, 1}},
                        {{3, 3}, {17, 17}, {1, 1}},
                        {{63, 63}, {64, 64}, {65, 65}},
                        {{1, 239}},
                        {{239, 1}},
                        {{799, 3}},
                        {{113, 203}},
                        {{203, 113}},
                        {{0, 0}, {5, 5}, {0, 0}, {0, 7}, {9, 0}, {30, 31}, {0, 0}},
                        {{128, 129}, {2, 70}},
                        {{8, 300}, {9, 300}, {16, 15}},
                        {{1, 0}},
                        {}};
    const int64_t windows[][3] = {{0, -1, -1}, {1, -1, -1}, {1, 20, -1},
                                  {0, 5, 9},   {0, 0, 0},   {0, -1, 70}};
    uint64_t seed = 1;
    for (const auto& pack : test::emulated() ? few : many) {
        for (const auto& w : windows) {
            reference::Attention how = shape(pack, 2, 1, 24);
            how.causal = w[0] != 0;
            how.window_left = w[1];
            how.window_right = w[2];
            how.scale = 0.2;
            check(how, F32, 0, ++seed, stream);
        }
    }
}

// Widths that fill vectors and that do not, values of another width, groups of heads.
void heads(Stream& stream) {
    uint64_t seed = 100;
    const int64_t widths[][2] = {{1, 1},   {8, 8},     {16, 16},   {48, 48},    {64, 64}, {17, 5},
                                 {80, 80}, {96, 40},   {128, 128}, {192, 128},  {5, 33},  {24, 64},
                                 {40, 96}, {256, 256}, {112, 112}, {1024, 1024}};
    for (const auto& w : widths) {
        for (int32_t dtype : {F32, BF16}) {
            reference::Attention how = shape({{70, 70}, {13, 20}}, 2, 2, w[0], w[1]);
            how.causal = (seed & 1) != 0;
            how.scale = 1 / std::sqrt(static_cast<double>(w[0]));
            ++seed;
            if (test::emulated() && w[0] != 1 && w[0] != 17 && w[0] != 40 && w[0] != 192) continue;
            check(how, dtype, seed % 3 == 0 ? 3 : 0, seed, stream);
        }
    }
    for (int64_t kv_heads : {8, 4, 2, 1}) {
        for (int32_t dtype : {F32, BF16}) {
            if (test::emulated() && (kv_heads != 2 || dtype == F32)) continue;
            reference::Attention how = shape({{66, 66}, {1, 100}, {4, 90}}, 8, kv_heads, 20);
            how.causal = true;
            how.scale = 0.25;
            check(how, dtype, 0, ++seed, stream);
        }
    }
}

// Documents longer than the run of keys that a task owns, and keys in several splits.
void long_documents(Stream& stream) {
    reference::Attention how = shape({{300, 300}, {20, 600}}, 2, 1, 16);
    how.causal = true;
    if (!test::emulated()) check(how, F32, 0, 300, stream);
    check(how, BF16, 0, 301, stream);
    how.buckets = 32;
    how.max_distance = 128;
    how.window_left = 150;
    check(how, F32, 0, 302, stream);
    if (test::emulated()) return;
    how = shape({{2, 2500}}, 4, 2, 16);
    how.causal = true;
    check(how, F32, 0, 303, stream);
    check(how, BF16, 0, 304, stream);
    how.window_left = 700;
    check(how, F32, 0, 305, stream);
    how = shape({{1, 1}, {3, 1100}, {0, 1030}}, 2, 2, 8);
    check(how, F32, 0, 306, stream);
}

// The shapes by which races between blocks are looked for elsewhere: many tiles of queries and of
// keys, the last ones whole, short by one or half empty.
void many_tiles(Stream& stream) {
    if (test::emulated()) return;
    for (const auto& lengths :
         {std::pair<int, int>{1023, 1024}, std::pair<int, int>{2000, 4000}, {4224, 4224}}) {
        reference::Attention how = shape({lengths}, 1, 1, 64);
        how.scale = 0.125;
        how.causal = lengths.first != 2000;
        check(how, BF16, 0, 350 + static_cast<uint64_t>(lengths.first), stream);
    }
}

// q, k and v as slices of one buffer [T, H + 2 K, N].
void fused(Stream& stream) {
    reference::Attention how = shape({{50, 50}, {21, 21}}, 4, 2, 16);
    how.causal = true;
    AttentionProblem apart(how, F32, 0, 400), together(how, F32, 0, 400);
    apart.forward(stream);
    apart.backward(stream, 0);

    Tensor all(F32, {how.tq, 8, 16}), d_all(F32, {how.tq, 8, 16});
    const auto slice = [&](Tensor& buffer, int64_t first, const caravan_tensor& like) {
        caravan_tensor view = like;
        view.data = buffer.as<float>() + first * 16;
        view.bytes = buffer.view().bytes - first * 16 * 4;
        view.stride[0] = 8 * 16;
        return view;
    };
    for (int64_t t = 0; t < how.tq; ++t) {
        for (int64_t i = 0; i < 64; ++i) all.set(t * 128 + i, apart.q.get(t * 64 + i));
        for (int64_t i = 0; i < 32; ++i) {
            all.set(t * 128 + 64 + i, apart.k.get(t * 32 + i));
            all.set(t * 128 + 96 + i, apart.v.get(t * 32 + i));
        }
    }
    auto forward = together.forward_args();
    forward.q = slice(all, 0, forward.q);
    forward.k = slice(all, 4, forward.k);
    forward.v = slice(all, 6, forward.v);
    CHECK_OK(caravan_attention_forward(stream, &forward));
    CHECK(together.out.bits() == apart.out.bits());
    auto backward = together.backward_args();
    backward.q = forward.q;
    backward.k = forward.k;
    backward.v = forward.v;
    backward.d_q = slice(d_all, 0, backward.d_q);
    backward.d_k = slice(d_all, 4, backward.d_k);
    backward.d_v = slice(d_all, 6, backward.d_v);
    CHECK_OK(caravan_attention_backward(stream, &backward));
    for (int64_t t = 0; t < how.tq; ++t) {
        for (int64_t i = 0; i < 64; ++i) CHECK(d_all.get(t * 128 + i) == apart.d_q.get(t * 64 + i));
        for (int64_t i = 0; i < 32; ++i) {
            CHECK(d_all.get(t * 128 + 64 + i) == apart.d_k.get(t * 32 + i));
            CHECK(d_all.get(t * 128 + 96 + i) == apart.d_v.get(t * 32 + i));
        }
    }
}

// The reference's gradients are those of its own forward pass.
void finite_differences() {
    for (int which = 0; which < 4; ++which) {
        reference::Attention how = shape({{4, 4}, {2, 5}, {3, 2}}, 4, 2, 3, 2);
        how.scale = 0.7;
        how.causal = (which & 1) != 0;
        how.window_left = which == 2 ? 2 : -1;
        how.soft_cap = which >= 1 ? 1.5 : 0;
        how.buckets = which >= 2 ? 8 : 0;
        how.bidirectional = which == 2;
        how.max_distance = 6;
        if (which % 2 == 1) how.sinks = {0.5, -1, 2, 0};
        AttentionProblem p(how, F32, 0, 500 + static_cast<uint64_t>(which));
        const auto q = p.q.values(), k = p.k.values(), v = p.v.values(), d_out = p.d_out.values();
        const auto bias = p.bias_values();
        const auto forward = reference::attention_forward<double>(how, q, k, v, bias);
        const auto g = reference::attention_backward<double>(how, q, k, v, bias, forward.out,
                                                             forward.lse, d_out);
        const auto loss = [&](const auto& q_, const auto& k_, const auto& v_, const auto& bias_) {
            return test::dot(reference::attention_forward<double>(how, q_, k_, v_, bias_).out,
                             d_out);
        };
        using Values = std::vector<double>;
        CHECK_GRADIENT(q, g.d_q, [&](const Values& x) { return loss(x, k, v, bias); });
        CHECK_GRADIENT(k, g.d_k, [&](const Values& x) { return loss(q, x, v, bias); });
        CHECK_GRADIENT(v, g.d_v, [&](const Values& x) { return loss(q, k, x, bias); });
        CHECK_GRADIENT(bias, g.d_bias, [&](const Values& x) { return loss(q, k, v, x); });
        CHECK_GRADIENT(how.sinks, g.d_sinks, [&](const Values& x) {
            reference::Attention moved = how;
            moved.sinks = x;
            return test::dot(reference::attention_forward<double>(moved, q, k, v, bias).out, d_out);
        });
    }
}

// What is done with documents in packed(), lengths aside.
struct Packed {
    int32_t dtype;
    int64_t width, value_width, buckets, left;
    double soft_cap;
    bool sinks;

    reference::Attention of(const std::vector<std::pair<int, int>>& lengths) const {
        reference::Attention how = shape(lengths, 4, 2, width, value_width);
        how.causal = true;
        how.scale = 1 / std::sqrt(static_cast<double>(width));
        how.buckets = buckets;
        how.max_distance = 40;
        how.window_left = left;
        how.soft_cap = soft_cap;
        if (sinks) how.sinks = {0.5, -1, 2, 0};
        return how;
    }
};

// A packed buffer gives every document what it gets alone, and what lies outside documents is
// neither read nor left as it was. With a bias, whose positions begin anew in each document, too.
void packed(const Packed& c, Stream& stream) {
    const std::vector<std::pair<int, int>> lengths = {
        {40, 40}, {0, 0}, {100, 100}, {1, 1}, {23, 60}, {70, 64}};
    reference::Attention how = c.of(lengths);
    how.tq += 7;
    how.tk += 9;
    how.cu_q.push_back(how.cu_q.back());
    how.cu_k.push_back(how.cu_k.back());
    AttentionProblem all(how, c.dtype, 0, 600);
    test::context() = "packed: " + all.name();
    for (Tensor* tensor : {&all.q, &all.k, &all.v, &all.d_out}) {
        const bool of_queries = tensor == &all.q || tensor == &all.d_out;
        const int64_t rows = of_queries ? how.tq : how.tk;
        const int64_t used = of_queries ? how.cu_q.back() : how.cu_k.back();
        for (int64_t i = used * (tensor->count() / rows); i < tensor->count(); ++i) {
            tensor->set(i, NAN);
        }
    }
    all.forward(stream);
    all.backward(stream, 0);
    const int64_t q = 4 * c.width, k = 2 * c.width, v = 2 * c.value_width, o = 4 * c.value_width;
    const auto rows_of = [](Tensor& tensor, int64_t width, int64_t from, int64_t to) {
        const auto values = tensor.values();
        return std::vector<double>(values.begin() + from * width, values.begin() + to * width);
    };
    auto bias_sums = std::vector<double>(static_cast<size_t>(all.d_bias.count()), 0);
    auto sink_sums = std::vector<double>(static_cast<size_t>(all.d_sinks.count()), 0);
    const auto add = [](std::vector<double>& sums, const Tensor& tensor) {
        for (size_t i = 0; i < sums.size(); ++i) sums[i] += tensor.get(static_cast<int64_t>(i));
    };
    for (size_t s = 0; s < lengths.size(); ++s) {
        AttentionProblem alone(c.of({lengths[s]}), c.dtype, 0, 0);
        alone.bias.set(all.bias.values());
        const int64_t q0 = how.cu_q[s], q1 = how.cu_q[s + 1], k0 = how.cu_k[s],
                      k1 = how.cu_k[s + 1];
        alone.q.set(rows_of(all.q, q, q0, q1));
        alone.k.set(rows_of(all.k, k, k0, k1));
        alone.v.set(rows_of(all.v, v, k0, k1));
        alone.d_out.set(rows_of(all.d_out, o, q0, q1));
        alone.forward(stream);
        if (q1 - q0 == 1) {
            // Alone it is decoded, by another kernel, which rounds a sink's share otherwise.
            CHECK(rows_of(all.out, o, q0, q1) == alone.out.values() || c.sinks);
        } else {
            CHECK(alone.out.values() == rows_of(all.out, o, q0, q1));
        }
        alone.out.set(rows_of(all.out, o, q0, q1));
        for (int64_t h = 0; h < 4; ++h) {
            for (int64_t i = 0; i < q1 - q0; ++i) {
                alone.lse.set(h * (q1 - q0) + i, all.lse.get(h * how.tq + q0 + i));
            }
        }
        alone.backward(stream, 0);
        CHECK(alone.d_q.values() == rows_of(all.d_q, q, q0, q1));
        CHECK(alone.d_k.values() == rows_of(all.d_k, k, k0, k1));
        CHECK(alone.d_v.values() == rows_of(all.d_v, v, k0, k1));
        add(bias_sums, alone.d_bias);
        add(sink_sums, alone.d_sinks);
    }
    const auto near = [](const Tensor& got, const std::vector<double>& sums) {
        double most = 0;
        for (double sum : sums) most = std::fmax(most, std::fabs(sum));
        for (size_t i = 0; i < sums.size(); ++i) {
            CHECK_NEAR(got.get(static_cast<int64_t>(i)), sums[i], 1e-5 * most);
        }
    };
    if (c.buckets > 0) near(all.d_bias, bias_sums);
    if (c.sinks) near(all.d_sinks, sink_sums);
    const auto zero = [&](Tensor& tensor, int64_t width, int64_t from, int64_t to) {
        for (double value : rows_of(tensor, width, from, to)) CHECK(value == 0);
    };
    zero(all.out, o, how.cu_q.back(), how.tq);
    zero(all.d_q, q, how.cu_q.back(), how.tq);
    zero(all.d_k, k, how.cu_k.back(), how.tk);
    zero(all.d_v, v, how.cu_k.back(), how.tk);
    for (int64_t h = 0; h < 4; ++h) {
        CHECK(all.lse.get(h * how.tq + how.tq - 1) == -INFINITY);
    }
    test::context().clear();
}

// On every route of a device and for each pair of widths that it has kernels for.
void packed(Stream& stream) {
    const Packed cases[] = {{F32, 16, 16, 0, -1, 0, false},    {BF16, 16, 16, 0, -1, 0, false},
                            {BF16, 16, 16, 32, -1, 0, false},  {F32, 24, 8, 12, 30, 0, true},
                            {BF16, 64, 64, 0, 30, 5, true},    {BF16, 128, 128, 12, 50, 0, true},
                            {BF16, 192, 128, 0, -1, 0, false}, {BF16, 256, 256, 0, 45, 0, true},
                            {BF16, 48, 48, 12, 30, 5, true}};
    for (const Packed& c : cases) packed(c, stream);
}

void threads() {
    for (int which = 0; which < 6; ++which) {
        if (test::emulated() && which != 2 && which != 4) continue;
        reference::Attention how =
            which == 5 ? shape({{2, 3000}}, 4, 1, 32)
                       : shape({{150, 150}, {1, 90}, {64, 300}, {5, 5}}, 4, which < 3 ? 2 : 1, 32);
        how.causal = which != 1;
        if (which == 2) {
            how.buckets = 16;
            how.max_distance = 50;
        }
        if (which == 2 || which == 4) how.sinks = {0.5, -1, 2, 0};
        AttentionProblem first(how, which == 4 ? BF16 : F32, 0, 700);
        test::context() = first.name();
        test::same_bits_for_threads([&](caravan_stream stream) {
            std::string bits;
            for (int repeat = 0; repeat < (test::emulated() ? 1 : 3); ++repeat) {
                AttentionProblem p(how, which == 4 ? BF16 : F32, 0, 700);
                p.forward(stream);
                p.backward(stream, 0);
                const std::string now = p.out.bits() + p.lse.bits() + p.d_q.bits() + p.d_k.bits() +
                                        p.d_v.bits() + p.d_bias.bits() + p.d_sinks.bits();
                CHECK(repeat == 0 || now == bits);
                bits = now;
            }
            return bits;
        });
        test::context().clear();
    }
}

// A value that is no number in q, k or v reaches the outputs that depend on it.
void not_a_number(Stream& stream) {
    for (const auto& lengths : {std::pair<int, int>{70, 70}, std::pair<int, int>{2, 70}}) {
        for (int which = 0; which < 3; ++which) {
            AttentionProblem p(shape({lengths}, 1, 1, 16), F32, 0, 800);
            (which == 0 ? p.q : which == 1 ? p.k : p.v).set(16, NAN);
            p.forward(stream);
            CHECK(std::isnan(p.out.get(16)));
        }
    }
}

// Offsets that are no documents: the CPU refuses them; a device, which finds them when it is too
// late for that, makes all results NaN and touches nothing else.
void bad_offsets(Stream& stream) {
    const std::pair<std::vector<double>, const char*> borders[] = {
        {{1, 4, 7}, "got 1 at 0, needs 0"},
        {{0, 4, 3}, "got 3 behind 4 at 2"},
        {{0, -1, 7}, "got -1 behind 0 at 1"},
        {{0, 2147483647, 7}, "got 7 behind 2147483647 at 2"},
        {{0, 4, 8}, "got 8 at the end, needs at most 7"}};
    for (const auto& [values, message] : borders) {
        for (const std::string name : {"cu_q", "cu_k", "cu_q of bf16", "cu_k of bf16",
                                       "cu_q of bf16, biased", "cu_k of bf16, biased"}) {
            const bool single = name.size() == 4, biased = single || name.size() > 12;
            reference::Attention how = shape({{4, 4}, {3, 3}}, 4, 2, 8);
            how.buckets = biased ? 8 : 0;
            how.max_distance = 20;
            how.sinks = {1, 2, 3, 4};
            AttentionProblem p(how, single ? F32 : BF16, 0, 1000);
            (name[3] == 'q' ? p.cu_q : p.cu_k).set(values);
            const auto forward = p.forward_args();
            const auto backward = p.backward_args();
            const auto fill = [](Tensor& tensor) {
                tensor.set(std::vector<double>(static_cast<size_t>(tensor.count()), 1));
            };
            const auto all = [](const Tensor& tensor, bool bad) {
                for (double value : tensor.values()) CHECK(bad ? std::isnan(value) : value == 1);
            };
            const auto outputs = {&p.out, &p.lse, &p.d_q, &p.d_k, &p.d_v, &p.d_bias, &p.d_sinks};
            for (Tensor* tensor : outputs) fill(*tensor);
            test::context() = name + ": " + message;
            if (test::kind() == CARAVAN_CPU) {
                const std::string part = name.substr(0, 4) + ": " + message;
                CHECK_REFUSED(caravan_attention_forward(stream, &forward), "attention_forward",
                              part.c_str());
                CHECK_REFUSED(caravan_attention_backward(stream, &backward), "attention_backward",
                              part.c_str());
                for (Tensor* tensor : outputs) all(*tensor, false);
            } else {
                CHECK_OK(caravan_attention_forward(stream, &forward));
                CHECK_OK(caravan_attention_backward(stream, &backward));
                for (Tensor* tensor : outputs) all(*tensor, biased || tensor != &p.d_bias);
            }
            test::context().clear();
        }
    }
}

// A device's grid is as wide as so many heads.
void many_heads(Stream& stream) {
    if (test::kind() == CARAVAN_CPU) return;
    AttentionProblem p(shape({{1, 1}}, 65536, 1, 1), F32, 0, 950);
    const auto forward = p.forward_args();
    const auto backward = p.backward_args();
    CHECK_UNSUPPORTED(caravan_attention_forward(stream, &forward),
                      "got 65536 heads, needs at most 65535");
    CHECK_UNSUPPORTED(caravan_attention_backward(stream, &backward),
                      "got 65536 heads, needs at most 65535");
}

void refusals(Stream& stream) {
    using Forward = caravan_attention_forward_args&;
    using Backward = caravan_attention_backward_args&;
    reference::Attention how = shape({{4, 4}, {3, 3}}, 4, 2, 8);
    how.buckets = 8;
    how.max_distance = 20;
    how.sinks = {1, 2, 3, 4};
    const auto forward = [&](const char* part, auto change) {
        AttentionProblem p(how, F32, 0, 900);
        auto args = p.forward_args();
        change(args);
        test::context() = part;
        CHECK_REFUSED(caravan_attention_forward(stream, &args), "attention_forward", part);
        for (double value : p.out.values()) CHECK(std::isnan(value));
        test::context().clear();
    };
    const auto backward = [&](const char* part, auto change) {
        AttentionProblem p(how, F32, 0, 901);
        p.forward(stream);
        auto args = p.backward_args();
        change(args);
        test::context() = part;
        CHECK_REFUSED(caravan_attention_backward(stream, &args), "attention_backward", part);
        for (double value : p.d_q.values()) CHECK(std::isnan(value));
        for (double value : p.d_k.values()) CHECK(std::isnan(value));
        test::context().clear();
    };
    forward("q: got null", [](Forward args) { args.q.data = nullptr; });
    forward("q: got rank 2", [](Forward args) { args.q.rank = 2; });
    forward("q: needs 896 bytes, got 895", [](Forward args) { args.q.bytes = 895; });
    forward("k: got shape [7, 2, 7]", [](Forward args) { args.k.shape[2] = 7; });
    forward("k: got dtype bf16", [](Forward args) { args.k.dtype = BF16; });
    forward("v: got shape [6, 2, 8]", [](Forward args) { args.v.shape[0] = 6; });
    forward("out: got shape [7, 3, 8]", [](Forward args) { args.out.shape[1] = 3; });
    forward("out: got strides 32 and 7", [](Forward args) { args.out.stride[1] = 7; });
    forward("out: got strides 0 and 8", [](Forward args) { args.out.stride[0] = 0; });
    forward("lse: got shape", [](Forward args) { args.lse.shape[0] = 3; });
    forward("k: got 3 heads for the 4 of q", [](Forward args) {
        args.k.shape[1] = args.v.shape[1] = 3;
        args.k.stride[1] = args.v.stride[1] = 0;
    });
    forward("k: got 0 heads", [](Forward args) { args.k.shape[1] = args.v.shape[1] = 0; });
    forward("q: got heads of width 0", [](Forward args) { args.q.shape[2] = args.k.shape[2] = 0; });
    forward("cu_q: got dtype f32", [](Forward args) { args.cu_q.dtype = F32; });
    forward("cu_k: got shape [2]", [](Forward args) { args.cu_k.shape[0] = 2; });
    forward("soft_cap: got -1", [](Forward args) { args.soft_cap = -1; });
    forward("causal: got 2", [](Forward args) { args.causal = 2; });
    forward("window_left: got -2", [](Forward args) { args.window_left = -2; });
    forward("window_right: got -5", [](Forward args) { args.window_right = -5; });
    forward("bias_table: got shape", [](Forward args) { args.bias_table.shape[1] = 3; });
    forward("bias_table: got 1 buckets", [](Forward args) { args.bias_table.shape[0] = 1; });
    forward("bias_table: got 7 buckets", [](Forward args) {
        args.bias_table.shape[0] = 7;
        args.bias_bidirectional = 1;
    });
    forward("bias_bidirectional: got 3", [](Forward args) { args.bias_bidirectional = 3; });
    forward("sinks: got shape [3]", [](Forward args) { args.sinks.shape[0] = 3; });
    forward("sinks: got dtype bf16", [](Forward args) { args.sinks.dtype = BF16; });
    forward("bias_max_distance: got 4", [](Forward args) { args.bias_max_distance = 4; });
    backward("lse: got null", [](Backward args) { args.lse.data = nullptr; });
    backward("d_out: got shape", [](Backward args) { args.d_out.shape[0] = 6; });
    backward("d_q: got dtype bf16", [](Backward args) { args.d_q.dtype = BF16; });
    backward("d_k: got strides 16 and 4", [](Backward args) { args.d_k.stride[1] = 4; });
    backward("d_v: got shape", [](Backward args) { args.d_v.shape[2] = 4; });
    backward("d_bias_table: needed", [](Backward args) { args.d_bias_table.data = nullptr; });
    backward("d_bias_table: got shape", [](Backward args) { args.d_bias_table.shape[0] = 9; });
    backward("d_sinks: needed", [](Backward args) { args.d_sinks.data = nullptr; });
    backward("d_sinks: needed", [](Backward args) { args.sinks.data = nullptr; });
    backward("d_sinks: got shape", [](Backward args) { args.d_sinks.shape[0] = 5; });
    backward("any_order: got 2", [](Backward args) { args.any_order = 2; });
    backward("workspace: got null", [](Backward args) { args.workspace.data = nullptr; });
    backward("workspace: needs", [](Backward args) { args.workspace.bytes -= 1; });

    AttentionProblem p(how, F32, 0, 902);
    auto args = p.forward_args();
    CHECK_REFUSED(caravan_attention_forward(stream, nullptr), "attention_forward", "args");
    CHECK_REFUSED(caravan_attention_forward(nullptr, &args), "attention_forward", "stream");
    CHECK_REFUSED(caravan_attention_forward_workspace(CARAVAN_CPU, &args, nullptr), "bytes");
    args.q.shape[2] = args.k.shape[2] = 1025;
    args.q.stride[1] = args.q.stride[0] = args.k.stride[0] = args.k.stride[1] = 0;
    args.q.bytes = args.k.bytes = 1 << 20;
    CHECK_UNSUPPORTED(caravan_attention_forward(stream, &args), "q: got heads of width 1025");
    int64_t bytes = -1;
    args = p.forward_args();
    CHECK_OK(caravan_attention_forward_workspace(CARAVAN_CPU, &args, &bytes));
    CHECK_EQUAL(bytes, 0);
}

}  // namespace

int main() {
    Stream stream(2);
    finite_differences();
    lengths(stream);
    heads(stream);
    long_documents(stream);
    many_tiles(stream);
    fused(stream);
    packed(stream);
    threads();
    not_a_number(stream);
    bad_offsets(stream);
    many_heads(stream);
    refusals(stream);
    return test::finish();
}
