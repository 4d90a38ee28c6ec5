// Parts of the classes: statistics of each, and the cross-entropy that is made of all of them.
#include "tests/harness.h"
#include "tests/reference/cross_entropy.h"

namespace {

using test::Tensor;

struct Case {
    int64_t rows, vocabulary, parts, count, first;
    int32_t dtype;
    double scale;  // of the logits
    bool gradient;
};

// As one device for all classes: the parts of a row are equally wide, the last one padded.
void parts_make_the_whole(const Case& c, uint64_t seed) {
    test::context() = std::string(test::name(c.dtype)) + " " +
                      test::shape_name({c.rows, c.vocabulary, c.parts}) + " scale " +
                      std::to_string(c.scale);
    test::Random random(seed);
    const int64_t width = (c.vocabulary + c.parts - 1) / c.parts;
    const auto logits = test::rounded(random.normals(c.rows * c.vocabulary, c.scale), c.dtype);
    const int64_t n = c.first + c.rows;
    std::vector<double> targets;
    for (int64_t i = 0; i < n; ++i) {
        targets.push_back(i < c.count ? static_cast<double>(random.below(c.vocabulary)) : -100);
    }
    const float inv_targets = 1.0f / 37;
    const int64_t used = std::max<int64_t>(0, std::min(c.rows, c.count - c.first));
    const auto expected =
        reference::cross_entropy_rows(logits, c.vocabulary, targets, c.first, c.count, inv_targets);

    test::same_bits_for_threads([&](caravan_stream stream) {
        Tensor target = Tensor::of(CARAVAN_I32, {n}, targets);
        Tensor count = Tensor::of(CARAVAN_I32, {1}, {static_cast<double>(c.count)});
        Tensor all(CARAVAN_F32, {c.parts, c.rows, 3});
        std::vector<Tensor> parts;
        for (int64_t p = 0; p < c.parts; ++p) {
            std::vector<double> own;
            for (int64_t i = 0; i < c.rows; ++i) {
                for (int64_t k = p * width; k < (p + 1) * width; ++k) {
                    own.push_back(k < c.vocabulary
                                      ? logits[static_cast<size_t>(i * c.vocabulary + k)]
                                      : 1e9);  // padding counts for nothing
                }
            }
            parts.push_back(Tensor::of(c.dtype, {c.rows, width}, own, seed % 5 == 0 ? 0 : 3));
            Tensor one(CARAVAN_F32, {c.rows, 3});
            caravan_class_statistics_args args = {};
            args.size = sizeof args;
            args.logits = parts.back().view();
            args.targets = target.view();
            args.count = count.view();
            args.statistics = one.view();
            args.first = c.first;
            args.first_class = p * width;
            args.classes = c.vocabulary;
            CHECK_OK(caravan_class_statistics_forward(stream, &args));
            for (int64_t i = 0; i < 3 * c.rows; ++i) all.set(3 * c.rows * p + i, one.get(i));
        }
        std::string bits = all.bits(), first_nll;
        std::vector<double> gradient(static_cast<size_t>(c.rows * c.vocabulary));
        for (int64_t p = 0; p < c.parts; ++p) {
            Tensor& x = parts[static_cast<size_t>(p)];
            const std::string given = x.bits();
            Tensor nll(CARAVAN_F32, {n});
            test::Box<caravan_step_state> state;
            state->inv_targets = inv_targets;
            state->loss_sum = 2;
            caravan_cross_entropy_args args = {};
            args.size = sizeof args;
            args.logits = x.view();
            args.targets = target.view();
            args.count = count.view();
            args.nll = nll.view();
            args.state = state.view();
            args.first = c.first;
            args.gradient = c.gradient ? 1 : 0;
            args.statistics = all.view();
            args.first_class = p * width;
            args.classes = c.vocabulary;
            CHECK_OK(caravan_cross_entropy_forward(stream, &args));
            std::vector<double> got;
            for (int64_t i = 0; i < used; ++i) got.push_back(nll.get(c.first + i));
            CHECK_ACCURACY_AT(expected.largest, got, expected.plain_nll, expected.exact_nll);
            double loss = 2;
            for (double nll_of_row : expected.exact_nll) loss += nll_of_row;
            CHECK_NEAR(state->loss_sum, loss,
                       1e-6 * (expected.largest + 1) * static_cast<double>(n + 1));
            if (p > 0) CHECK(nll.bits() == first_nll);  // every part has the same loss
            first_nll = nll.bits();
            for (int64_t i = 0; i < c.rows * width && c.gradient; ++i) {
                const int64_t row = i / width, k = p * width + i % width;
                if (row < used && k < c.vocabulary) {
                    gradient[static_cast<size_t>(row * c.vocabulary + k)] = x.get(i);
                } else {
                    CHECK_EQUAL(x.get(i), 0.0);
                }
            }
            CHECK(c.gradient || x.bits() == given);
            bits += x.bits() + nll.bits();
        }
        if (c.gradient) {
            CHECK_ACCURACY_AT(inv_targets, gradient, test::rounded(expected.plain, c.dtype),
                              expected.exact);
        }
        return bits;
    });
    test::context().clear();
}

// Statistics and loss of two parts of one row of f32 logits, as {loss, gradient of part `asked`}.
std::vector<double> of_two_parts(const std::vector<double>& logits, double target, int64_t asked) {
    const auto width = static_cast<int64_t>(logits.size() / 2);
    test::Stream stream;
    Tensor targets = Tensor::of(CARAVAN_I32, {1}, {target}),
           count = Tensor::of(CARAVAN_I32, {1}, {1});
    Tensor all(CARAVAN_F32, {2, 1, 3}), nll(CARAVAN_F32, {1}), x(CARAVAN_F32, {1, width});
    for (int64_t part : {1 - asked, asked}) {
        const auto from = logits.begin() + part * width;
        x.set(std::vector<double>(from, from + width));
        Tensor one(CARAVAN_F32, {1, 3});
        caravan_class_statistics_args args = {};
        args.size = sizeof args;
        args.logits = x.view();
        args.targets = targets.view();
        args.count = count.view();
        args.statistics = one.view();
        args.first_class = part * width;
        args.classes = 2 * width;
        CHECK_OK(caravan_class_statistics_forward(stream, &args));
        for (int64_t i = 0; i < 3; ++i) all.set(3 * part + i, one.get(i));
    }
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
    args.statistics = all.view();
    args.first_class = asked * width;
    args.classes = 2 * width;
    CHECK_OK(caravan_cross_entropy_forward(stream, &args));
    std::vector<double> result = {nll.get(0)};
    const auto gradient = x.values();
    result.insert(result.end(), gradient.begin(), gradient.end());
    return result;
}

void extremes() {
    constexpr double kInf = INFINITY;
    // A part whose classes are all ruled out, on either side.
    for (int64_t ruled_out : {0, 1}) {
        std::vector<double> logits(8, -kInf);
        const int64_t other = 1 - ruled_out;
        for (size_t i : {1, 2}) logits[static_cast<size_t>(4 * other) + i] = 3;
        const auto own = of_two_parts(logits, static_cast<double>(4 * other + 1), other);
        CHECK_NEAR(own[0], std::log(2.0), 1e-6);
        CHECK_NEAR(own[2], -0.5, 1e-6);
        CHECK_NEAR(own[3], 0.5, 1e-6);
        const auto none = of_two_parts(logits, static_cast<double>(4 * other + 1), ruled_out);
        CHECK(none[0] == own[0]);
        for (size_t i = 1; i < none.size(); ++i) CHECK(none[i] == 0);
        CHECK(std::isinf(of_two_parts(logits, static_cast<double>(4 * ruled_out), other)[0]));
    }
    // Far apart, and a sure prediction in another part.
    CHECK_NEAR(of_two_parts({1e30, -1e30}, 0, 1)[0], 0, 0);
    CHECK_NEAR(of_two_parts({30, 0}, 0, 1)[1], std::exp(-30.0), 1e-19);
    // What is not a number shows in the loss, whichever part it is of.
    for (double wrong : {static_cast<double>(NAN), kInf}) {
        for (size_t place : {0, 3, 5}) {
            std::vector<double> logits(6, 0.5);
            logits[place] = wrong;
            for (int64_t asked : {0, 1}) CHECK(!std::isfinite(of_two_parts(logits, 1, asked)[0]));
        }
    }
}

// A device cannot refuse what lies in its memory: it stays within the tensors, and NaN shows.
void wrong_values() {
    test::Stream stream;
    Tensor x(CARAVAN_BF16, {3, 9}), targets(CARAVAN_I32, {2}), count(CARAVAN_I32, {1});
    Tensor nll(CARAVAN_F32, {2}), statistics(CARAVAN_F32, {1, 3, 3});
    test::Box<caravan_step_state> state;
    const auto run = [&] {
        x.set(std::vector<double>(27, 0.5));
        *state = {};
        state->inv_targets = 1;
        caravan_class_statistics_args first = {};
        first.size = sizeof first;
        first.logits = x.view();
        first.targets = targets.view();
        first.count = count.view();
        first.statistics = statistics.view();
        first.statistics.rank = 2;
        first.statistics.shape[0] = first.statistics.shape[1] = 3;
        first.statistics.stride[0] = 3;
        first.statistics.stride[1] = 1;
        first.first_class = 9;
        first.classes = 17;  // the last column is padding
        CHECK_OK(caravan_class_statistics_forward(stream, &first));
        caravan_cross_entropy_args args = {};
        args.size = sizeof args;
        args.logits = x.view();
        args.targets = targets.view();
        args.count = count.view();
        args.nll = nll.view();
        args.state = state.view();
        args.gradient = 1;
        args.statistics = statistics.view();
        args.first_class = 9;
        args.classes = 17;
        CHECK_OK(caravan_cross_entropy_forward(stream, &args));
        CHECK(std::isnan(state->loss_sum));
    };
    count.set(0, 2);
    for (double wrong : {17.0, 18.0, -1.0, 2147483647.0, -2147483648.0}) {
        targets.set({16, wrong});
        run();
        CHECK(std::isnan(statistics.get(5)) && statistics.get(6) == -INFINITY);
        CHECK(std::isfinite(nll.get(0)) && std::isnan(nll.get(1)));
        for (int64_t i = 0; i < 27; ++i) {
            const double got = x.get(i);
            CHECK(i % 9 == 8 || i / 9 == 2 ? got == 0
                  : i / 9 == 0             ? std::isfinite(got)
                                           : std::isnan(got));
        }
    }
    targets.set({16, 9});
    for (double wrong : {3.0, -1.0, 2147483647.0, -2147483648.0}) {
        count.set(0, wrong);
        run();
        for (int64_t i = 0; i < 9; ++i) CHECK(std::isnan(statistics.get(i)));
        for (int64_t i = 0; i < 27; ++i)
            CHECK(i % 9 == 8 && i / 9 != 2 ? true : std::isnan(x.get(i)));
    }
}

void refusals() {
    test::Stream stream;
    Tensor x(CARAVAN_F32, {2, 4}), targets = Tensor::of(CARAVAN_I32, {4}, {0, 7, 3, 1});
    Tensor count = Tensor::of(CARAVAN_I32, {1}, {4}), statistics(CARAVAN_F32, {2, 3});
    caravan_class_statistics_args good = {};
    good.size = sizeof good;
    good.logits = x.view();
    good.targets = targets.view();
    good.count = count.view();
    good.statistics = statistics.view();
    good.first_class = 4;
    good.classes = 8;
    const auto refused = [&](const char* part, auto&& change) {
        caravan_class_statistics_args args = good;
        change(args);
        CHECK_REFUSED(caravan_class_statistics_forward(stream, &args), "class_statistics_forward",
                      part);
    };
    const std::string before = statistics.bits();
    refused("logits: got null", [](auto& args) { args.logits.data = nullptr; });
    refused("statistics: got shape [2, 3], needs [1, 3]",
            [](auto& args) { args.logits.shape[0] = 1; });
    refused("statistics: got shape [3, 2], needs [2, 3]", [](auto& args) {
        std::swap(args.statistics.shape[0], args.statistics.shape[1]);
        args.statistics.stride[0] = 2;
    });
    refused("first: got -1", [](auto& args) { args.first = -1; });
    refused("first_class: got 9 of 8", [](auto& args) { args.first_class = 9; });
    refused("first_class: got -1 of 8", [](auto& args) { args.first_class = -1; });

    Tensor nll(CARAVAN_F32, {4}), all(CARAVAN_F32, {2, 2, 3});
    test::Box<caravan_step_state> state;
    caravan_cross_entropy_args parts = {};
    parts.size = sizeof parts;
    parts.logits = x.view();
    parts.targets = targets.view();
    parts.count = count.view();
    parts.nll = nll.view();
    parts.state = state.view();
    parts.statistics = all.view();
    parts.first_class = 4;
    parts.classes = 8;
    const auto parts_refused = [&](const char* part, auto&& change) {
        caravan_cross_entropy_args args = parts;
        change(args);
        CHECK_REFUSED(caravan_cross_entropy_forward(stream, &args), "cross_entropy_forward", part);
    };
    parts_refused("statistics: got shape [2, 2, 3], needs [any, 1, 3]",
                  [](auto& args) { args.logits.shape[0] = 1; });
    parts_refused("statistics: got 0 parts", [](auto& args) { args.statistics.shape[0] = 0; });
    parts_refused("first_class: got 9 of 8", [](auto& args) { args.first_class = 9; });
    if (test::kind() != CARAVAN_CPU) return;  // what lies in memory is not looked at elsewhere
    parts_refused("targets: got 7 at 1, needs 0 to 6", [](auto& args) { args.classes = 7; });
    refused("targets: got 7 at 1, needs 0 to 6", [](auto& args) { args.classes = 7; });
    count.set(0, 5);
    refused("count: got 5, needs 0 to 4", [](auto&) {});
    CHECK(statistics.bits() == before);
}

}  // namespace

int main() {
    uint64_t seed = 1;
    for (int32_t dtype : {CARAVAN_F32, CARAVAN_BF16}) {
        for (int64_t vocabulary : {4, 7, 33, 512, 4099}) {
            for (int64_t parts : {1, 2, 3}) {
                const double scale = seed % 3 == 0 ? 20 : seed % 3 == 1 ? 1 : 0.01;
                const int64_t first = seed % 2 == 0 ? 0 : 5;
                parts_make_the_whole(
                    {7, vocabulary, parts, first + 5, first, dtype, scale, seed % 4 != 0}, seed);
                ++seed;
            }
        }
    }
    parts_make_the_whole({5, 100, 4, 3, 10, CARAVAN_F32, 1, true}, ++seed);  // beyond the count
    extremes();
    refusals();
    if (test::kind() != CARAVAN_CPU) wrong_values();
    return test::finish();
}
