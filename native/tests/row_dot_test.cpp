#include "tests/reference/row_dot.h"

#include "tests/harness.h"

namespace {

using test::Tensor;

struct Case {
    int64_t rows, width;
    int32_t dtype, weight_dtype;
    bool weighted, itself;  // itself: b is a
    bool gaps;
};

void matches_reference(const Case& c, uint64_t seed) {
    test::context() = std::string(test::name(c.dtype)) + " weight " +
                      (c.weighted ? test::name(c.weight_dtype) : "none") + " " +
                      test::shape_name({c.rows, c.width}) + (c.itself ? " with itself" : "") +
                      (c.gaps ? " with gaps" : "");
    test::Random random(seed);
    const auto rows = static_cast<size_t>(c.rows);
    const auto a = test::rounded(random.normals(c.rows * c.width), c.dtype);
    const auto other = test::rounded(random.normals(c.rows * c.width), c.dtype);
    const auto& b = c.itself ? a : other;
    std::vector<double> weight;
    if (c.weighted) weight = test::rounded(random.normals(c.width), c.weight_dtype);
    const float offset = seed % 2 == 0 ? 1.0f : 0.0f;
    const auto exact = reference::row_dot<double>(a, b, weight, offset, rows);
    const auto plain = reference::row_dot<float>(test::floats(a), test::floats(b),
                                                 test::floats(weight), offset, rows);
    // The terms may be of both signs.
    const double terms = std::sqrt(static_cast<double>(c.width)) * 4;
    test::same_bits_for_threads([&](caravan_stream stream) {
        Tensor left = Tensor::of(c.dtype, {c.rows, c.width}, a, c.gaps ? 3 : 0);
        Tensor right = Tensor::of(c.dtype, {c.rows, c.width}, b, c.gaps ? 1 : 8);
        Tensor factors(c.weight_dtype, {c.width});
        Tensor out(CARAVAN_F32, {c.rows});
        caravan_row_dot_args args = {};
        args.size = sizeof args;
        args.a = left.view();
        args.b = c.itself ? left.view() : right.view();
        args.out = out.view();
        args.weight_offset = offset;
        if (c.weighted) {
            factors.set(weight);
            args.weight = factors.view();
        }
        CHECK_OK(caravan_row_dot_forward(stream, &args));
        CHECK_ACCURACY_AT(terms, out.values(), test::doubles(plain), exact);
        return out.bits();
    });
    test::context().clear();
}

void refusals() {
    test::Stream stream;
    Tensor x(CARAVAN_F32, {4, 8}), half(CARAVAN_BF16, {4, 8}), narrow(CARAVAN_F32, {4, 7});
    Tensor weight(CARAVAN_F32, {8}), out(CARAVAN_F32, {4}), ints(CARAVAN_I32, {4, 8});
    caravan_row_dot_args good = {};
    good.size = sizeof good;
    good.a = good.b = x.view();
    good.weight = weight.view();
    good.out = out.view();
    const auto refused = [&](const char* part, auto&& change) {
        caravan_row_dot_args args = good;
        change(args);
        CHECK_REFUSED(caravan_row_dot_forward(stream, &args), "row_dot_forward", part);
    };
    refused("a: got null", [](auto& args) { args.a.data = nullptr; });
    refused("a: got dtype i32", [&](auto& args) { args.a = ints.view(); });
    refused("b: got shape [4, 7], needs [4, 8]", [&](auto& args) { args.b = narrow.view(); });
    refused("b: got dtype bf16, needs that of a, f32", [&](auto& args) { args.b = half.view(); });
    refused("weight: got shape [4], needs [8]", [&](auto& args) { args.weight = out.view(); });
    refused("out: got shape [8], needs [4]", [&](auto& args) { args.out = weight.view(); });
    CHECK_REFUSED(caravan_row_dot_forward(nullptr, &good), "row_dot_forward: stream");
}

}  // namespace

int main() {
    uint64_t seed = 1;
    // On either side of the widths at which a group of threads grows to a warp and to a block.
    const auto widths = test::emulated() ? std::vector<int64_t>{0, 1, 9, 64, 1032, 8200}
                                         : std::vector<int64_t>{0, 1, 3, 8, 17, 64, 300, 4099};
    const auto heights = test::emulated() ? std::vector<int64_t>{0, 1, 37}
                                          : std::vector<int64_t>{0, 1, 17, 300};
    for (int32_t dtype : {CARAVAN_F32, CARAVAN_BF16}) {
        for (int64_t width : widths) {
            for (int64_t rows : heights) {
                for (int settings = 0; settings < 4; ++settings) {
                    ++seed;
                    matches_reference({rows, width, dtype,
                                       seed / 2 % 2 == 0 ? CARAVAN_F32 : CARAVAN_BF16,
                                       settings % 2 == 0, settings / 2 == 0, seed % 3 == 0},
                                      seed);
                }
            }
        }
    }
    refusals();
    return test::finish();
}
