// Gathering copies, so it is compared bit for bit; its reference is the loop in this file.
#include <algorithm>
#include <numeric>

#include "tests/harness.h"

namespace {

using test::Tensor;

struct Case {
    int64_t tokens, width, rows, count, first, out_rows;
    int32_t dtype;
};

void matches_reference(const Case& c, uint64_t seed) {
    test::context() = std::string(test::name(c.dtype)) + " " +
                      test::shape_name({c.tokens, c.width}) + " " + std::to_string(c.count) +
                      " of " + std::to_string(c.rows) + ", from " + std::to_string(c.first) +
                      " into " + std::to_string(c.out_rows);
    test::Random random(seed);
    const auto x = test::rounded(random.normals(c.tokens * c.width), c.dtype);
    const auto d_out = test::rounded(random.normals(c.out_rows * c.width), c.dtype);
    std::vector<double> rows(static_cast<size_t>(c.tokens));
    std::iota(rows.begin(), rows.end(), 0.0);
    for (int64_t i = c.tokens - 1; i > 0; --i) {
        std::swap(rows[static_cast<size_t>(i)], rows[static_cast<size_t>(random.below(i + 1))]);
    }
    rows.resize(static_cast<size_t>(c.rows), 0.0);
    for (int64_t i = c.count; i < c.rows; ++i) rows[static_cast<size_t>(i)] = -5;  // not read

    std::vector<double> expected, back = x;
    for (int64_t i = 0; i < c.out_rows; ++i) {
        for (int64_t j = 0; j < c.width; ++j) {
            const bool used = c.first + i < c.count;
            const auto from = used ? static_cast<size_t>(rows[static_cast<size_t>(c.first + i)]) *
                                             static_cast<size_t>(c.width) +
                                         static_cast<size_t>(j)
                                   : 0;
            expected.push_back(used ? x[from] : 0.0);
            if (used) back[from] = d_out[static_cast<size_t>(i * c.width + j)];
        }
    }
    test::same_bits_for_threads([&](caravan_stream stream) {
        const int64_t gap = seed % 2 == 0 ? 8 : 1;  // rows at multiples of 16 bytes, or not
        Tensor in = Tensor::of(c.dtype, {c.tokens, c.width}, x, 2 * gap);
        Tensor index = Tensor::of(CARAVAN_I32, {c.rows}, rows),
               out(c.dtype, {c.out_rows, c.width}, gap);
        Tensor count = Tensor::of(CARAVAN_I32, {1}, {static_cast<double>(c.count)});
        caravan_gather_args args = {};
        args.size = sizeof args;
        args.x = in.view();
        args.rows = index.view();
        args.count = count.view();
        args.out = out.view();
        args.first = c.first;
        CHECK_OK(caravan_gather_forward(stream, &args));
        CHECK(out.values() == expected);
        out.set(d_out);
        CHECK_OK(caravan_gather_backward(stream, &args));
        CHECK(in.values() == back);
        return in.bits();
    });
    test::context().clear();
}

void refusals() {
    test::Stream stream;
    Tensor x(CARAVAN_F32, {5, 8}), out(CARAVAN_F32, {3, 8}), half(CARAVAN_BF16, {3, 8});
    Tensor narrow(CARAVAN_F32, {3, 7}), rows = Tensor::of(CARAVAN_I32, {4}, {0, 4, 2, 1});
    Tensor count = Tensor::of(CARAVAN_I32, {1}, {4});
    caravan_gather_args good = {};
    good.size = sizeof good;
    good.x = x.view();
    good.rows = rows.view();
    good.count = count.view();
    good.out = out.view();
    const auto refused = [&](const char* part, auto&& change) {
        caravan_gather_args args = good;
        change(args);
        CHECK_REFUSED(caravan_gather_forward(stream, &args), "gather_forward", part);
        CHECK_REFUSED(caravan_gather_backward(stream, &args), "gather_backward", part);
    };
    const std::string before = x.bits() + out.bits();
    refused("x: got rank 9", [&](auto& args) { args.x.rank = 9; });
    refused("out: got shape [3, 7]", [&](auto& args) { args.out = narrow.view(); });
    refused("out: got dtype bf16", [&](auto& args) { args.out = half.view(); });
    refused("rows: got null", [&](auto& args) { args.rows.data = nullptr; });
    refused("count: got null", [&](auto& args) { args.count.data = nullptr; });
    refused("first: got -1", [&](auto& args) { args.first = -1; });
    CHECK_REFUSED(caravan_gather_forward(nullptr, &good), "gather_forward: stream");
    CHECK(x.bits() + out.bits() == before);   // nothing was written
    if (test::kind() != CARAVAN_CPU) return;  // what lies in memory is not looked at elsewhere
    count.set(0, 5);
    refused("count: got 5, needs 0 to 4", [](auto&) {});
    count.set(0, -1);
    refused("count: got -1", [](auto&) {});
    count.set(0, 4);
    rows.set(3, 5);
    refused("rows: got 5 at 3, needs 0 to 4", [](auto&) {});
    rows.set(3, -1);
    refused("rows: got -1 at 3", [](auto&) {});
    rows.set(3, 4);
    CHECK_REFUSED(caravan_gather_backward(stream, &good), "gather_backward",
                  "rows: got 4 a second time, at 3");
    CHECK(x.bits() + out.bits() == before);
}

// A device cannot refuse what lies in its memory: it stays within the tensors, and NaN shows.
void wrong_values() {
    test::Stream stream;
    for (int64_t width : {3, 8}) {
        const std::vector<double> ones(static_cast<size_t>(5 * width), 1.0);
        Tensor x = Tensor::of(CARAVAN_F32, {5, width}, ones), out(CARAVAN_F32, {4, width});
        Tensor rows(CARAVAN_I32, {3}), count(CARAVAN_I32, {1});
        caravan_gather_args args = {};
        args.size = sizeof args;
        args.x = x.view();
        args.rows = rows.view();
        args.count = count.view();
        args.out = out.view();
        count.set(0, 3);
        for (double wrong : {5.0, -1.0, 2147483647.0}) {
            rows.set({0, wrong, 2});
            CHECK_OK(caravan_gather_forward(stream, &args));
            for (int64_t i = 0; i < 4 * width; ++i) {
                const int64_t row = i / width;
                CHECK(row == 1 ? std::isnan(out.get(i)) : out.get(i) == (row == 3 ? 0 : 1));
            }
            CHECK_OK(caravan_gather_backward(stream, &args));
            x.set(ones);
        }
        rows.set({0, 3, 2});
        for (double wrong : {4.0, -1.0, 2147483647.0, -2147483648.0}) {
            count.set(0, wrong);
            CHECK_OK(caravan_gather_forward(stream, &args));
            for (int64_t i = 0; i < 4 * width; ++i) CHECK(std::isnan(out.get(i)));
            out.set(std::vector<double>(static_cast<size_t>(4 * width), 7.0));
            CHECK_OK(caravan_gather_backward(stream, &args));
            for (int64_t i = 0; i < 5 * width; ++i) {
                const int64_t row = i / width;
                CHECK(row == 1 || row == 4 ? x.get(i) == 1 : std::isnan(x.get(i)));
            }
            x.set(ones);
        }
    }
}

}  // namespace

int main() {
    uint64_t seed = 1;
    for (int32_t dtype : {CARAVAN_F32, CARAVAN_BF16}) {
        for (int64_t width : {1, 3, 17, 64, 288}) {
            matches_reference({1, width, 1, 1, 0, 1, dtype}, ++seed);
            matches_reference({1, width, 0, 0, 0, 3, dtype}, ++seed);
            matches_reference({0, width, 0, 0, 0, 1, dtype}, ++seed);
            matches_reference({20, width, 20, 20, 3, 17, dtype}, ++seed);
            matches_reference({20, width, 9, 7, 3, 17, dtype}, ++seed);
            if (test::emulated()) continue;
            matches_reference({300, width, 200, 150, 0, 128, dtype}, ++seed);
            matches_reference({300, width, 200, 150, 128, 128, dtype}, ++seed);
            matches_reference({300, width, 200, 150, 256, 128, dtype}, ++seed);
            matches_reference({300, width, 300, 300, 17, 283, dtype}, ++seed);
        }
    }
    refusals();
    if (test::kind() != CARAVAN_CPU) wrong_values();
    return test::finish();
}
