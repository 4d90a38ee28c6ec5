// combine against a double reference; that rows sent to experts and back with unit weights are
// exactly what they were; refusals.
#include "tests/harness.h"
#include "tests/reference/experts.h"

namespace {

using reference::at;
using reference::Numbers;
using test::Random;
using test::Stream;
using test::Tensor;

constexpr int32_t F32 = CARAVAN_F32, BF16 = CARAVAN_BF16, I32 = CARAVAN_I32;

template <typename Real>
Numbers combine(const Numbers& x, const Numbers& slots, const Numbers& weights, int64_t tokens,
                int64_t choices, int64_t width) {
    Numbers y;
    for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t i = 0; i < width; ++i) {
            Real sum = 0;
            for (int64_t c = 0; c < choices; ++c) {
                const double slot = slots[at(t * choices + c)];
                if (slot < 0) continue;
                const double weight = weights.empty() ? 1 : weights[at(t * choices + c)];
                sum += static_cast<Real>(weight) *
                       static_cast<Real>(x[at(static_cast<int64_t>(slot) * width + i)]);
            }
            y.push_back(static_cast<double>(sum));
        }
    }
    return y;
}

void check(int32_t dtype, int64_t tokens, int64_t choices, int64_t width, bool weighted) {
    test::context() = std::string(test::name(dtype)) + test::shape_name({tokens, choices, width});
    Random random(static_cast<uint64_t>(tokens * 7 + choices));
    const int64_t rows = tokens * choices;
    const auto x = test::rounded(random.normals(rows * width), dtype);
    Numbers slots, weights;
    for (int64_t i = 0; i < rows; ++i) {
        slots.push_back(static_cast<double>(random.below(4) == 0 ? -1 : random.below(rows)));
        if (weighted) weights.push_back(test::rounded(random.uniform(0, 1), F32));
    }
    const auto exact = combine<double>(x, slots, weights, tokens, choices, width);
    const auto plain =
        test::rounded(combine<float>(x, slots, weights, tokens, choices, width), dtype);
    test::same_bits_for_threads([&](caravan_stream stream) {
        Tensor in = Tensor::of(dtype, {rows, width}, x, 3);
        Tensor places = Tensor::of(I32, {tokens, choices}, slots);
        Tensor y(dtype, {tokens, width}, 5);
        caravan_combine_args args = {};
        args.size = sizeof args;
        args.x = in.view();
        args.slots = places.view();
        Tensor gates(F32, {tokens, choices});
        if (weighted) {
            gates.set(weights);
            args.weights = gates.view();
        }
        args.y = y.view();
        CHECK_OK(caravan_combine_forward(stream, &args));
        CHECK_ACCURACY(y.values(), plain, exact);
        return y.bits();
    });
    test::context().clear();
}

struct Dispatch {
    int32_t dtype;
    int64_t tokens, experts, choices, used, capacity;
    int64_t spread;  // first choices lie in so many experts
};

// Tokens to experts, whose weights are the identity, and back: rows are gathered by the product,
// and what returns with weights that add up to one, all equal, is exactly what was sent. Padding,
// and tokens whose choices were all dropped, get 0.
void identity(const Dispatch& d, Random& random) {
    test::context() = std::string("identity ") + test::name(d.dtype) +
                      test::shape_name({d.tokens, d.experts, d.choices, d.used, d.capacity});
    const int64_t width = 24, rows = d.tokens * d.choices;
    const auto x = test::rounded(random.normals(d.tokens * width), d.dtype);
    Numbers chosen, unit, weights;
    for (int64_t t = 0; t < d.tokens; ++t) {
        const int64_t first = random.below(d.spread);
        for (int64_t c = 0; c < d.choices; ++c) {
            chosen.push_back(t < d.used ? static_cast<double>((first + c) % d.experts) : -1);
            weights.push_back(1.0 / static_cast<double>(d.choices));
        }
    }
    for (int64_t i = 0; i < d.experts * width * width; ++i) {
        unit.push_back(i / width % width == i % width);
    }
    test::same_bits_for_threads([&](caravan_stream stream) {
        Tensor experts_of = Tensor::of(I32, {d.tokens, d.choices}, chosen);
        Tensor offsets(I32, {d.experts + 1}), assignments(I32, {rows});
        Tensor slots(I32, {d.tokens, d.choices});
        caravan_expert_sort_args sort = {};
        sort.size = sizeof sort;
        sort.experts = experts_of.view();
        sort.offsets = offsets.view();
        sort.assignments = assignments.view();
        sort.slots = slots.view();
        sort.capacity = d.capacity;
        int64_t bytes = 0;
        CHECK_OK(caravan_expert_sort_workspace(test::kind(), &sort, &bytes));
        Tensor workspace(CARAVAN_U8, {std::max<int64_t>(bytes, 1)});
        sort.workspace = workspace.view();
        CHECK_OK(caravan_expert_sort_forward(stream, &sort));

        Tensor in = Tensor::of(d.dtype, {d.tokens, width}, x);
        Tensor w = Tensor::of(d.dtype, {d.experts, width, width}, unit);
        Tensor sent(d.dtype, {rows, width}), back(d.dtype, {d.tokens, width});
        caravan_grouped_matmul_forward_args product = {};
        product.size = sizeof product;
        product.x = in.view();
        product.assignments = assignments.view();
        product.choices = static_cast<int32_t>(d.choices);
        product.offsets = offsets.view();
        product.w = w.view();
        product.out = sent.view();
        CHECK_OK(caravan_grouped_matmul_forward(stream, &product));
        Tensor gates = Tensor::of(F32, {d.tokens, d.choices}, weights);
        caravan_combine_args args = {};
        args.size = sizeof args;
        args.x = sent.view();
        args.slots = slots.view();
        if (d.choices > 1) args.weights = gates.view();
        args.y = back.view();
        CHECK_OK(caravan_combine_forward(stream, &args));
        int64_t whole = 0;
        for (int64_t t = 0; t < d.tokens; ++t) {
            double kept = 0;
            for (int64_t c = 0; c < d.choices; ++c) {
                if (slots.get(t * d.choices + c) >= 0) kept += weights[at(t * d.choices + c)];
            }
            whole += kept == 1;
            for (int64_t i = 0; i < width; ++i) {
                CHECK_EQUAL(back.get(t * width + i),
                            test::rounded(kept * x[at(t * width + i)], d.dtype));
            }
        }
        if (d.capacity == 0) CHECK_EQUAL(whole, d.used);
        if (d.capacity > 0) CHECK(whole < d.used);
        return back.bits() + sent.bits();
    });
    test::context().clear();
}

void identities() {
    Random random(5);
    for (int32_t dtype : {F32, BF16}) {
        const Dispatch cases[] = {
            {dtype, 1, 1, 1, 1, 0, 1},      // one token, one expert
            {dtype, 1, 4, 4, 1, 0, 4},      // k = E
            {dtype, 50, 4, 1, 50, 0, 3},    // an expert without rows
            {dtype, 70, 8, 2, 61, 0, 1},    // all to the same two; padding
            {dtype, 131, 6, 4, 131, 0, 6},  // counts that no tile divides
            {dtype, 90, 5, 1, 80, 9, 5},    // a capacity that drops
            {dtype, 40, 3, 2, 40, 11, 1},
        };
        for (const Dispatch& d : cases) identity(d, random);
    }
}

void refusals() {
    Stream stream;
    Tensor x(F32, {4, 8}), slots = Tensor::of(I32, {2, 2}, {0, 4, -1, 1}), y(F32, {2, 8});
    Tensor half(BF16, {2, 8});
    caravan_combine_args args = {};
    args.size = sizeof args;
    args.x = x.view();
    args.slots = slots.view();
    args.y = y.view();
    if (test::kind() == CARAVAN_CPU) {
        CHECK_REFUSED(caravan_combine_forward(stream, &args), "combine_forward",
                      "slots: got 4 at 1, needs -1 to 3");
    }
    args.y = half.view();
    CHECK_REFUSED(caravan_combine_forward(stream, &args), "y: got dtype bf16");
}

}  // namespace

int main() {
    for (int32_t dtype : {F32, BF16}) {
        for (bool weighted : {false, true}) {
            check(dtype, 1, 1, 1, weighted);
            check(dtype, 7, 2, 19, weighted);
            check(dtype, 40, 8, 64, weighted);
            check(dtype, 0, 2, 8, weighted);
        }
    }
    identities();
    refusals();
    return test::finish();
}
