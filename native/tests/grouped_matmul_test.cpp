// Grouped products, with activation, and the gradients of all their operands, against a double
// reference over hard routings: one expert with everything, experts without rows, counts that are
// no multiple of a tile, rows gathered or in place.
#include "cuda/grouped_matmul_config.h"
#include "tests/harness.h"
#include "tests/reference/experts.h"

namespace {

using reference::at;
using reference::Ints;
using reference::Numbers;
using test::Random;
using test::Stream;
using test::Tensor;

constexpr int32_t F32 = CARAVAN_F32, BF16 = CARAVAN_BF16, I32 = CARAVAN_I32;

double gelu(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }
double gelu_derivative(double x) {
    return 0.5 * std::erfc(-x / std::sqrt(2.0)) + x * std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
}
double gelu_tanh(double x) {
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
double gelu_tanh_derivative(double x) {
    const double u = std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + u) + 0.5 * x * (1 - u * u) * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
}

struct Function {
    double (*f)(double);
    double (*derivative)(double);
    bool gated;
};

Function function(int32_t activation) {
    switch (activation) {
        case CARAVAN_EXPERT_SWIGLU:
        case CARAVAN_EXPERT_SILU:
            return {reference::silu<double>, reference::silu_derivative<double>,
                    activation == CARAVAN_EXPERT_SWIGLU};
        case CARAVAN_EXPERT_GEGLU:
        case CARAVAN_EXPERT_GELU:
            return {gelu, gelu_derivative, activation == CARAVAN_EXPERT_GEGLU};
        default:
            return {gelu_tanh, gelu_tanh_derivative, activation == CARAVAN_EXPERT_GEGLU_TANH};
    }
}

// h [rows, width] to act, and how rounding h moves it.
Numbers activate(const Numbers& h, int64_t width, int32_t activation) {
    const Function f = function(activation);
    const int64_t units = f.gated ? width / 2 : width;
    Numbers act;
    for (int64_t r = 0; r < static_cast<int64_t>(h.size()) / width; ++r) {
        for (int64_t i = 0; i < units; ++i) {
            const double value = f.f(h[at(r * width + i)]);
            act.push_back(f.gated ? value * h[at(r * width + units + i)] : value);
        }
    }
    return act;
}

struct Layer {
    int64_t tokens, choices, d, units;
    Ints counts;  // rows of each expert; fewer than tokens * choices in all
    int32_t dtype, activation;
};

// Everything that a layer's products read and write, sorted by expert already.
struct Problem {
    Layer layer;
    int64_t experts, rows, width;
    Ints offsets = {0}, assignments, sources;

    Problem(const Layer& how, Random& random)
        : layer(how),
          experts(static_cast<int64_t>(how.counts.size())),
          rows(how.tokens * how.choices),
          width(function(how.activation).gated ? 2 * how.units : how.units) {
        for (int64_t count : how.counts) offsets.push_back(offsets.back() + count);
        for (int64_t r = 0; r < rows; ++r) {
            assignments.push_back(r < offsets.back() ? random.below(rows) : -1);
            sources.push_back(r < offsets.back() ? assignments.back() / how.choices : -1);
        }
    }

    Tensor integers(const Ints& values) const {
        return Tensor::of(I32, {static_cast<int64_t>(values.size())},
                          Numbers(values.begin(), values.end()));
    }

    // The first rows, which are in use.
    Numbers used(Tensor& tensor, int64_t columns) const {
        Numbers values = tensor.values();
        values.resize(at(offsets.back() * columns));
        return values;
    }

    // Rows behind those in use hold what they held: every bit set.
    void check_untouched(Tensor& tensor, int64_t columns) const {
        for (int64_t i = offsets.back() * columns; i < rows * columns; ++i) {
            CHECK(std::isnan(tensor.get(i)));
        }
    }
};

void check(const Layer& layer, Random& random) {
    const Problem p(layer, random);
    const int32_t dtype = layer.dtype;
    std::string counts;
    for (int64_t count : layer.counts) counts += " " + std::to_string(count);
    test::context() =
        std::string(test::name(dtype)) + " activation " + std::to_string(layer.activation) + " " +
        test::shape_name({layer.tokens, layer.choices, layer.d, layer.units}) + " counts" + counts;
    const int64_t d = layer.d, units = layer.units, width = p.width;
    const auto x = test::rounded(random.normals(layer.tokens * d), dtype);
    const auto w1 = test::rounded(random.normals(p.experts * width * d, 0.3), dtype);
    const auto w2 = test::rounded(random.normals(p.experts * d * units, 0.3), dtype);
    const auto d_y = test::rounded(random.normals(layer.tokens * d), dtype);
    const auto weights = test::rounded(random.normals(p.rows), F32);
    const auto before = test::rounded(random.normals(p.experts * width * d), F32);
    const auto before2 = test::rounded(random.normals(p.experts * d * units), F32);
    Ints in_order;
    for (int64_t r = 0; r < p.rows; ++r) in_order.push_back(r);

    const auto h = reference::grouped<double>(x, p.sources, p.offsets, w1, width, d, false);
    const auto plain_h = test::rounded(
        reference::grouped<float>(x, p.sources, p.offsets, w1, width, d, false), dtype);
    const auto act = activate(h, width, layer.activation);
    const auto plain_act = test::rounded(activate(plain_h, width, layer.activation), dtype);

    test::same_bits_for_threads([&](caravan_stream stream) {
        // Strided so that rows of 16-byte pieces stay such.
        const int64_t gap = d % 8 == 0 ? 8 : 2;
        Tensor in = Tensor::of(dtype, {layer.tokens, d}, x, gap);
        Tensor first = Tensor::of(dtype, {p.experts, width, d}, w1);
        Tensor second = Tensor::of(dtype, {p.experts, d, units}, w2);
        Tensor offsets = p.integers(p.offsets), assignments = p.integers(p.assignments);
        Tensor made_h(dtype, {p.rows, width}), made_act(dtype, {p.rows, units});
        caravan_grouped_matmul_forward_args up = {};
        up.size = sizeof up;
        up.x = in.view();
        up.assignments = assignments.view();
        up.choices = static_cast<int32_t>(layer.choices);
        up.offsets = offsets.view();
        up.w = first.view();
        up.out = made_h.view();
        up.act = made_act.view();
        up.activation = layer.activation;
        CHECK_OK(caravan_grouped_matmul_forward(stream, &up));
        CHECK_ACCURACY(p.used(made_h, width), plain_h, h);
        CHECK_ACCURACY(p.used(made_act, units), plain_act, act);
        p.check_untouched(made_h, width);
        p.check_untouched(made_act, units);
        std::string bits = made_h.bits() + made_act.bits();

        // The second product reads its rows in place, and h exactly from here on.
        const auto stored_h = p.used(made_h, width);
        const auto stored_act = p.used(made_act, units);
        Tensor out(dtype, {p.rows, d});
        caravan_grouped_matmul_forward_args down = {};
        down.size = sizeof down;
        down.x = made_act.view();
        down.offsets = offsets.view();
        down.w = second.view();
        down.out = out.view();
        CHECK_OK(caravan_grouped_matmul_forward(stream, &down));
        CHECK_ACCURACY(
            p.used(out, d),
            test::rounded(
                reference::grouped<float>(stored_act, in_order, p.offsets, w2, d, units, false),
                dtype),
            reference::grouped<double>(stored_act, in_order, p.offsets, w2, d, units, false));
        bits += out.bits();

        // Back: g = w2^T d_y, then through the activation.
        const Function f = function(layer.activation);
        const auto back = [&](auto real) {
            using Real = decltype(real);
            const auto g = reference::grouped<Real>(d_y, p.sources, p.offsets, w2, units, d, true);
            std::vector<Numbers> made(3);  // d_h, weighted act, d_weights
            made[0].resize(stored_h.size());
            for (int64_t r = 0; r < p.offsets.back(); ++r) {
                Real sum = 0;
                const auto weight = static_cast<Real>(weights[at(p.assignments[at(r)])]);
                for (int64_t i = 0; i < units; ++i) {
                    const auto slope = static_cast<Real>(g[at(r * units + i)]);
                    const double gate = stored_h[at(r * width + i)];
                    const double other = f.gated ? stored_h[at(r * width + units + i)] : 1;
                    const auto value = static_cast<Real>(f.f(gate));
                    const auto unit = value * static_cast<Real>(other);
                    sum += slope * unit;
                    made[1].push_back(static_cast<double>(weight * unit));
                    made[0][at(r * width + i)] =
                        static_cast<double>(weight * slope * static_cast<Real>(other) *
                                            static_cast<Real>(f.derivative(gate)));
                    if (f.gated) {
                        made[0][at(r * width + units + i)] =
                            static_cast<double>(weight * slope * value);
                    }
                }
                made[2].push_back(static_cast<double>(sum));
            }
            return made;
        };
        const auto exact = back(0.0), plain = back(0.0f);
        Tensor to_y = Tensor::of(dtype, {layer.tokens, d}, d_y, gap);
        Tensor gates = Tensor::of(F32, {layer.tokens, layer.choices}, weights);
        Tensor weighted(dtype, {p.rows, units}), d_weights(F32, {p.rows});
        caravan_grouped_matmul_backward_args to_h = {};
        to_h.size = sizeof to_h;
        to_h.d_y = to_y.view();
        to_h.assignments = assignments.view();
        to_h.offsets = offsets.view();
        to_h.w = second.view();
        to_h.weights = gates.view();
        to_h.h = made_h.view();
        to_h.d_h = made_h.view();  // in place
        to_h.act = weighted.view();
        to_h.d_weights = d_weights.view();
        to_h.activation = layer.activation;
        CHECK_OK(caravan_grouped_matmul_backward(stream, &to_h));
        CHECK_ACCURACY(p.used(made_h, width), test::rounded(plain[0], dtype), exact[0]);
        CHECK_ACCURACY(p.used(weighted, units), test::rounded(plain[1], dtype), exact[1]);
        CHECK_ACCURACY(p.used(d_weights, 1), plain[2], exact[2]);
        p.check_untouched(weighted, units);
        bits += made_h.bits() + weighted.bits() + d_weights.bits();

        // d_x by the first weights as they lie, and the gradients of both weights.
        const auto d_h = p.used(made_h, width);
        Tensor d_x(dtype, {p.rows, d});
        caravan_grouped_matmul_forward_args to_x = {};
        to_x.size = sizeof to_x;
        to_x.x = made_h.view();
        to_x.offsets = offsets.view();
        to_x.w = first.view();
        to_x.transpose_w = 1;
        to_x.out = d_x.view();
        CHECK_OK(caravan_grouped_matmul_forward(stream, &to_x));
        CHECK_ACCURACY(
            p.used(d_x, d),
            test::rounded(reference::grouped<float>(d_h, in_order, p.offsets, w1, d, width, true),
                          dtype),
            reference::grouped<double>(d_h, in_order, p.offsets, w1, d, width, true));

        Tensor d_w1 = Tensor::of(F32, {p.experts, width, d}, before);
        caravan_grouped_outer_args outer = {};
        outer.size = sizeof outer;
        outer.a = made_h.view();
        outer.b = in.view();
        outer.gather_b = 1;
        outer.assignments = assignments.view();
        outer.choices = static_cast<int32_t>(layer.choices);
        outer.offsets = offsets.view();
        outer.c = d_w1.view();
        CHECK_OK(caravan_grouped_outer_forward(stream, &outer));
        CHECK_ACCURACY(d_w1.values(),
                       reference::grouped_outer<float>(d_h, in_order, x, p.sources, p.offsets,
                                                       width, d, before),
                       reference::grouped_outer<double>(d_h, in_order, x, p.sources, p.offsets,
                                                        width, d, before));

        const auto stored_weighted = p.used(weighted, units);
        Tensor d_w2 = Tensor::of(F32, {p.experts, d, units}, before2);
        outer.a = to_y.view();
        outer.gather_a = 1;
        outer.b = weighted.view();
        outer.gather_b = 0;
        outer.c = d_w2.view();
        CHECK_OK(caravan_grouped_outer_forward(stream, &outer));
        CHECK_ACCURACY(d_w2.values(),
                       reference::grouped_outer<float>(d_y, p.sources, stored_weighted, in_order,
                                                       p.offsets, d, units, before2),
                       reference::grouped_outer<double>(d_y, p.sources, stored_weighted, in_order,
                                                        p.offsets, d, units, before2));
        return bits + d_x.bits() + d_w1.bits() + d_w2.bits();
    });
    test::context().clear();
}

// Every activation over every hard routing, at the smallest shapes that warpgroups take, forward
// and back; one routing of each activation where that would take minutes.
void for_warpgroups(Random& random) {
    struct Routing {
        int64_t tokens, choices;
        Ints counts;
    };
    const Routing routings[] = {
        {1100, 1, {0, 0, 1100}},                          // all to one
        {520, 2, {1, 129, 0, 127, 600, 128, 0}},          // around a tile's rows; 55 of padding
        {256, 4, {256, 256, 256, 256}},                   // as many choices as experts
        {1024, 1, {0, 0, 1, 0, 0, 0, 0, 0, 0}},           // one token among padding
        {1040, 1, {0, 0, 0}},                             // none at all
        {345, 3, {65, 191, 3, 1, 255, 257, 63, 129, 7}},  // no multiple of a tile
    };
    const int32_t activations[] = {CARAVAN_EXPERT_SWIGLU,     CARAVAN_EXPERT_GEGLU,
                                   CARAVAN_EXPERT_GEGLU_TANH, CARAVAN_EXPERT_GELU,
                                   CARAVAN_EXPERT_GELU_TANH,  CARAVAN_EXPERT_SILU};
    constexpr size_t kRoutings = sizeof routings / sizeof *routings;
    const bool all = test::kind() == CARAVAN_CUDA && !test::emulated();
    for (size_t r = 0; r < kRoutings; ++r) {
        for (size_t a = 0; a < sizeof activations / sizeof *activations; ++a) {
            if (!all && (a + 1) % kRoutings != r) continue;
            const Routing& by = routings[r];
            const Layer layer = {by.tokens, by.choices, 64, 72, by.counts, BF16, activations[a]};
            const Problem p(layer, random);
            // Of the first product, back through the activation, and of the second.
            for (int64_t width : {p.width, layer.units, layer.d}) {
                CHECK(caravan::cuda::grouped_config(p.rows, p.experts, width, 132).served);
            }
            check(layer, random);
        }
    }
}

void values() {
    Random random(7);
    const Layer layers[] = {{1, 1, 1, 1, {1}, F32, CARAVAN_EXPERT_SWIGLU},
                            {1, 3, 5, 4, {1, 1, 1}, F32, CARAVAN_EXPERT_SWIGLU},
                            {40, 2, 17, 12, {0, 80, 0, 0}, F32, CARAVAN_EXPERT_SWIGLU},
                            {50, 2, 24, 9, {33, 0, 8, 9, 41}, F32, CARAVAN_EXPERT_GELU},
                            {90, 2, 16, 20, {3, 65, 100, 0, 2}, F32, CARAVAN_EXPERT_GEGLU},
                            {30, 1, 8, 8, {0, 0, 0}, F32, CARAVAN_EXPERT_SILU},
                            {40, 2, 33, 7, {70, 5}, BF16, CARAVAN_EXPERT_SWIGLU},
                            {20, 4, 9, 16, {1, 15, 30, 4, 0, 20}, BF16, CARAVAN_EXPERT_GELU_TANH},
                            {70, 1, 12, 5, {66, 4}, F32, CARAVAN_EXPERT_GEGLU_TANH},
                            {90, 2, 72, 80, {3, 0, 131, 40}, BF16, CARAVAN_EXPERT_SWIGLU},
                            {66, 1, 16, 136, {65, 1}, BF16, CARAVAN_EXPERT_GELU}};
    for (const Layer& layer : layers) check(layer, random);
    for_warpgroups(random);
    // Large enough for warpgroups: rows that no tile or cluster divides, alone and in clusters of
    // two; columns that no tile divides.
    check({1030, 1, 64, 288, {0, 130, 5, 0, 700, 190}, BF16, CARAVAN_EXPERT_SWIGLU}, random);
    check({330, 2, 192, 392, {3, 128, 0, 129, 300, 15}, BF16, CARAVAN_EXPERT_GELU}, random);
    // Gradients of three tiles by one and of two by two: pairs beside and below each other, one of
    // them with nothing to do; 85 of padding.
    check({330, 2, 320, 256, {3, 128, 0, 129, 300, 15}, BF16, CARAVAN_EXPERT_GELU}, random);
    if (test::emulated()) return;
    // Wider than a tile of columns, and deeper than a step of widened operands.
    check({30, 1, 40, 530, {20, 9}, F32, CARAVAN_EXPERT_SWIGLU}, random);
    check({24, 1, 20, 1030, {22, 2}, BF16, CARAVAN_EXPERT_GELU}, random);
    check({20, 1, 3000, 6, {18, 2}, BF16, CARAVAN_EXPERT_SWIGLU}, random);
}

void refusals() {
    Stream stream;
    Tensor x(F32, {4, 8}), w(F32, {2, 6, 8}), out(F32, {4, 6}), act(F32, {4, 3});
    Tensor offsets = Tensor::of(I32, {3}, {0, 3, 2});
    caravan_grouped_matmul_forward_args good = {};
    good.size = sizeof good;
    good.x = x.view();
    good.w = w.view();
    good.out = out.view();
    good.act = act.view();
    good.offsets = offsets.view();
    good.activation = CARAVAN_EXPERT_SWIGLU;
    const auto refused = [&](const char* part, auto&& change) {
        caravan_grouped_matmul_forward_args args = good;
        change(args);
        CHECK_REFUSED(caravan_grouped_matmul_forward(stream, &args), "grouped_matmul_forward",
                      part);
    };
    if (test::kind() == CARAVAN_CPU) {
        refused("offsets: got 2 at 2, needs 3 to 4", [](auto&) {});
    }
    refused("act: got shape [4, 3], needs [4, 6]",
            [](auto& args) { args.activation = CARAVAN_EXPERT_GELU; });
    refused("activation: got 9", [](auto& args) { args.activation = 9; });
    refused("x: got shape [4, 8], needs [any, 6]", [](auto& args) { args.transpose_w = 1; });
    refused("x: got 3 rows, needs the 4 of out", [](auto& args) { args.x.shape[0] = 3; });
}

}  // namespace

int main() {
    values();
    refusals();
    return test::finish();
}
