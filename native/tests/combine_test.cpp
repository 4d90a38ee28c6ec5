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

// Tokens to experts, each by the identity as its weights, and back.
void identity() {
    Random random(5);
    Stream stream;
    for (int64_t choices : {1, 3}) {
        const int64_t tokens = 50, experts = 4, width = 16, rows = tokens * choices;
        Numbers chosen;
        for (int64_t t = 0; t < tokens; ++t) {
            const int64_t first = random.below(experts - 1);  // the last expert gets none alone
            for (int64_t c = 0; c < choices; ++c) {
                chosen.push_back(static_cast<double>((first + c) % experts));
            }
        }
        Tensor experts_of = Tensor::of(I32, {tokens, choices}, chosen);
        Tensor offsets(I32, {experts + 1}), assignments(I32, {rows}), slots(I32, {tokens, choices});
        caravan_expert_sort_args sort = {};
        sort.size = sizeof sort;
        sort.experts = experts_of.view();
        sort.offsets = offsets.view();
        sort.assignments = assignments.view();
        sort.slots = slots.view();
        int64_t bytes = 0;
        CHECK_OK(caravan_expert_sort_workspace(test::kind(), &sort, &bytes));
        Tensor workspace(CARAVAN_U8, {std::max<int64_t>(bytes, 1)});
        sort.workspace = workspace.view();
        CHECK_OK(caravan_expert_sort_forward(stream, &sort));

        const auto x = test::rounded(random.normals(tokens * width), F32);
        Tensor sent(F32, {rows, width}), back(F32, {tokens, width});
        for (int64_t r = 0; r < rows; ++r) {
            const auto t = static_cast<int64_t>(assignments.get(r)) / choices;
            for (int64_t i = 0; i < width; ++i) {
                sent.set(r * width + i, x[at(t * width + i)]);
            }
        }
        caravan_combine_args args = {};
        args.size = sizeof args;
        args.x = sent.view();
        args.slots = slots.view();
        args.y = back.view();
        CHECK_OK(caravan_combine_forward(stream, &args));
        for (int64_t i = 0; i < tokens * width; ++i) {
            float sum = static_cast<float>(x[at(i)]);
            for (int64_t c = 1; c < choices; ++c) sum += static_cast<float>(x[at(i)]);
            CHECK_EQUAL(back.get(i), static_cast<double>(sum));
        }
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
    identity();
    refusals();
    return test::finish();
}
