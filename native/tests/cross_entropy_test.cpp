#include "tests/reference/cross_entropy.h"

#include "tests/harness.h"

namespace {

using test::Tensor;

struct Case {
    int64_t rows, vocabulary, targets, count, first;
    int32_t dtype;
    double scale;  // of the logits
    bool gradient;
};

void matches_reference(const Case& c, uint64_t seed) {
    test::context() = std::string(test::name(c.dtype)) + " " +
                      test::shape_name({c.rows, c.vocabulary}) + " scale " +
                      std::to_string(c.scale);
    test::Random random(seed);
    const auto logits = test::rounded(random.normals(c.rows * c.vocabulary, c.scale), c.dtype);
    std::vector<double> targets;
    for (int64_t i = 0; i < c.targets; ++i) {
        targets.push_back(i < c.count ? static_cast<double>(random.below(c.vocabulary)) : -100);
    }
    const float inv_targets = 1.0f / 37;
    const double before = 5.25;  // loss_sum of earlier chunks

    const auto expected =
        reference::cross_entropy_rows(logits, c.vocabulary, targets, c.first, c.count, inv_targets);
    double exact_sum = before;
    for (double nll : expected.exact_nll) exact_sum += nll;

    test::same_bits_for_threads([&](caravan_stream stream) {
        Tensor x = Tensor::of(c.dtype, {c.rows, c.vocabulary}, logits, seed % 5 == 0 ? 0 : 3),
               nll(CARAVAN_F32, {c.targets});
        Tensor target = Tensor::of(CARAVAN_I32, {c.targets}, targets);
        Tensor count = Tensor::of(CARAVAN_I32, {1}, {static_cast<double>(c.count)});
        test::Box<caravan_step_state> state;
        state->inv_targets = inv_targets;
        state->loss_sum = before;
        caravan_cross_entropy_args args = {};
        args.size = sizeof args;
        args.logits = x.view();
        args.targets = target.view();
        args.count = count.view();
        args.nll = nll.view();
        args.state = state.view();
        args.first = c.first;
        args.gradient = c.gradient ? 1 : 0;
        const std::string untouched = nll.bits();
        const std::string given = x.bits();
        CHECK_OK(caravan_cross_entropy_forward(stream, &args));

        std::vector<double> got;
        for (size_t i = 0; i < expected.exact_nll.size(); ++i)
            got.push_back(nll.get(c.first + static_cast<int64_t>(i)));
        CHECK_ACCURACY_AT(expected.largest, got, expected.plain_nll, expected.exact_nll);
        CHECK_NEAR(state->loss_sum, exact_sum,
                   1e-6 * (expected.largest + 1) * static_cast<double>(c.rows + 1));
        for (int64_t i = 0; i < c.targets; ++i) {  // only rows in use are written
            const bool used = i >= c.first && i < c.first + c.rows && i < c.count;
            CHECK(used || nll.bits().compare(static_cast<size_t>(4 * i), 4, untouched,
                                             static_cast<size_t>(4 * i), 4) == 0);
        }
        if (c.gradient) {
            CHECK_ACCURACY_AT(inv_targets, x.values(), test::rounded(expected.plain, c.dtype),
                              expected.exact);
        } else {
            CHECK(x.bits() == given);
        }
        std::string bits = x.bits() + nll.bits();
        return bits.append(reinterpret_cast<const char*>(&*state), sizeof *state);
    });
    test::context().clear();
}

void reference_gradient() {
    test::Random random(6);
    const auto logits = random.normals(9, 3);
    CHECK_GRADIENT(logits, reference::cross_entropy<double>(logits, 4, 0.5).gradient,
                   [](const std::vector<double>& values) {
                       return 0.5 * reference::cross_entropy<double>(values, 4, 1).nll;
                   });
}

// One row of logits; returns its loss.
double loss_of(const std::vector<double>& logits, int64_t target, std::vector<double>* gradient) {
    test::Stream stream;
    Tensor x = Tensor::of(CARAVAN_F32, {1, static_cast<int64_t>(logits.size())}, logits);
    Tensor targets = Tensor::of(CARAVAN_I32, {1}, {static_cast<double>(target)});
    Tensor count = Tensor::of(CARAVAN_I32, {1}, {1}), nll(CARAVAN_F32, {1});
    test::Box<caravan_step_state> state;
    state->inv_targets = 1;
    caravan_cross_entropy_args args = {};
    args.size = sizeof args;
    args.logits = x.view();
    args.targets = targets.view();
    args.count = count.view();
    args.nll = nll.view();
    args.state = state.view();
    args.gradient = 1;
    CHECK_OK(caravan_cross_entropy_forward(stream, &args));
    if (gradient != nullptr) *gradient = x.values();
    return nll.get(0);
}

void extremes() {
    std::vector<double> gradient;
    // Tokens that are ruled out have probability 0, also when a whole stretch of them comes first.
    std::vector<double> masked(5000, -INFINITY);
    masked[4000] = 1;
    masked[4999] = 1;
    CHECK_NEAR(loss_of(masked, 4000, &gradient), std::log(2.0), 1e-6);
    CHECK_NEAR(gradient[4000], -0.5, 1e-6);
    CHECK_NEAR(gradient[4999], 0.5, 1e-6);
    CHECK(gradient[0] == 0 && gradient[4500] == 0);
    CHECK(std::isinf(loss_of(masked, 7, nullptr)));

    CHECK_NEAR(loss_of({1e30, 0, -1e30}, 0, &gradient), 0, 0);
    CHECK(gradient[0] == 0 && gradient[1] == 0 && gradient[2] == 0);
    // A sure prediction still has the gradient that float32 subtraction would lose.
    CHECK_NEAR(loss_of({30, 0}, 0, &gradient), std::log1p(std::exp(-30.0)), 1e-6);
    CHECK_NEAR(gradient[1], std::exp(-30.0), 1e-19);

    // What is not a number shows in the loss, wherever it is.
    for (double wrong : {static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
        for (size_t place : {size_t{0}, size_t{2049}, size_t{2999}}) {
            std::vector<double> logits(3000, 0.5);
            logits[place] = wrong;
            CHECK(!std::isfinite(loss_of(logits, 1, nullptr)));
        }
    }
}

void refusals() {
    test::Stream stream;
    Tensor x(CARAVAN_F32, {2, 8}), targets = Tensor::of(CARAVAN_I32, {4}, {0, 7, 3, 1});
    Tensor count = Tensor::of(CARAVAN_I32, {1}, {4}), nll(CARAVAN_F32, {4}),
           ints(CARAVAN_I32, {2, 8});
    test::Box<caravan_step_state> state;
    caravan_cross_entropy_args good = {};
    good.size = sizeof good;
    good.logits = x.view();
    good.targets = targets.view();
    good.count = count.view();
    good.nll = nll.view();
    good.state = state.view();
    good.gradient = 1;
    const auto refused = [&](const char* part, auto&& change) {
        caravan_cross_entropy_args args = good;
        change(args);
        CHECK_REFUSED(caravan_cross_entropy_forward(stream, &args), "cross_entropy_forward", part);
    };
    const std::string before = x.bits() + nll.bits();
    refused("logits: got dtype i32", [&](auto& args) { args.logits = ints.view(); });
    refused("logits: got rows of 0", [&](auto& args) { args.logits.shape[1] = 0; });
    refused("targets: got null", [&](auto& args) { args.targets.data = nullptr; });
    refused("count: got shape [4]", [&](auto& args) { args.count = targets.view(); });
    refused("nll: got null", [&](auto& args) { args.nll.data = nullptr; });
    refused("nll: got shape [3], needs [4]", [&](auto& args) { args.nll.shape[0] = 3; });
    refused("state: got null", [&](auto& args) { args.state.data = nullptr; });
    refused("state: needs 56 bytes", [&](auto& args) { args.state.bytes = 55; });
    refused("first: got -1", [&](auto& args) { args.first = -1; });
    refused("gradient: got 2", [&](auto& args) { args.gradient = 2; });
    CHECK_REFUSED(caravan_cross_entropy_forward(nullptr, &good), "cross_entropy_forward: stream");
    CHECK(x.bits() + nll.bits() == before && state->loss_sum == 0);  // nothing was written
    if (test::kind() != CARAVAN_CPU) return;  // what lies in memory is not looked at elsewhere
    count.set(0, 5);
    refused("count: got 5, needs 0 to 4", [](auto&) {});
    count.set(0, 4);
    targets.set(3, 8);
    refused("targets: got 8 at 3, needs 0 to 7", [](auto&) {});
    targets.set(3, -100);
    refused("targets: got -100 at 3", [](auto&) {});
    CHECK(x.bits() + nll.bits() == before && state->loss_sum == 0);
}

// A device cannot refuse what lies in its memory: it stays within the tensors, and NaN shows.
void wrong_values() {
    test::Stream stream;
    Tensor x(CARAVAN_BF16, {3, 9}), targets(CARAVAN_I32, {2}), count(CARAVAN_I32, {1});
    Tensor nll(CARAVAN_F32, {2});
    test::Box<caravan_step_state> state;
    caravan_cross_entropy_args args = {};
    args.size = sizeof args;
    args.logits = x.view();
    args.targets = targets.view();
    args.count = count.view();
    args.nll = nll.view();
    args.state = state.view();
    args.gradient = 1;
    const auto run = [&] {
        x.set(std::vector<double>(27, 0.5));
        *state = {};
        state->inv_targets = 1;
        CHECK_OK(caravan_cross_entropy_forward(stream, &args));
        CHECK(std::isnan(state->loss_sum));
    };
    count.set(0, 2);
    for (double wrong : {9.0, -1.0, 2147483647.0, -2147483648.0}) {
        targets.set({8, wrong});
        run();
        CHECK(std::isfinite(nll.get(0)) && std::isnan(nll.get(1)));
        for (int64_t i = 0; i < 27; ++i) {
            const double got = x.get(i);
            CHECK(i / 9 == 0 ? std::isfinite(got) : i / 9 == 1 ? std::isnan(got) : got == 0);
        }
    }
    targets.set({8, 0});
    for (double wrong : {3.0, -1.0, 2147483647.0, -2147483648.0}) {
        count.set(0, wrong);
        run();
        for (int64_t i = 0; i < 27; ++i) CHECK(std::isnan(x.get(i)));
    }
}

}  // namespace

int main() {
    reference_gradient();
    uint64_t seed = 1;
    for (int32_t dtype : {CARAVAN_F32, CARAVAN_BF16}) {
        for (int64_t vocabulary : {1, 3, 7, 8, 9, 15, 16, 17, 512, 2047, 2049, 32000}) {
            for (int64_t rows : {0, 1, 3, 17}) {
                if (test::emulated() && rows * vocabulary > 100000) continue;
                const double scale = seed % 3 == 0 ? 20 : seed % 3 == 1 ? 1 : 0.01;
                const int64_t first = seed % 2 == 0 ? 0 : 5;
                matches_reference({rows, vocabulary, 30, first + rows * 2 / 3, first, dtype, scale,
                                   seed % 4 != 0},
                                  seed);
                ++seed;
            }
        }
        matches_reference({5, 100, 30, 3, 10, dtype, 1, true}, ++seed);  // a chunk beyond the count
        // Rows that a cluster of blocks keeps, and longer ones than a block can.
        matches_reference({2, 20003, 2, 2, 0, dtype, 3, true}, ++seed);
        matches_reference({3, 50257, 4, 4, 1, dtype, 3, true}, ++seed);
        if (test::kind() == CARAVAN_CPU || test::emulated()) continue;
        for (int64_t vocabulary : {131072, 151936, 262144, 1000003}) {
            matches_reference({3, vocabulary, 4, 4, 1, dtype, 3, true}, ++seed);
        }
    }
    extremes();
    refusals();
    if (test::kind() != CARAVAN_CPU) wrong_values();
    return test::finish();
}
