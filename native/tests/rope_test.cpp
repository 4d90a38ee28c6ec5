#include "tests/reference/rope.h"

#include "tests/harness.h"

namespace {

using test::Tensor;

struct Case {
    int64_t tokens, heads, width, pairs;
    int32_t dtype, layout;
};

constexpr int64_t kPositions = 37;

void matches_reference(const Case& c, uint64_t seed) {
    test::context() = std::string(test::name(c.dtype)) + " " +
                      test::shape_name({c.tokens, c.heads, c.width}) + ", " +
                      std::to_string(c.pairs) + " pairs, layout " + std::to_string(c.layout);
    test::Random random(seed);
    const bool interleaved = c.layout == CARAVAN_ROPE_INTERLEAVED;
    const auto x = test::rounded(random.normals(c.tokens * c.heads * c.width), c.dtype);
    std::vector<int64_t> positions(static_cast<size_t>(c.tokens));
    for (int64_t& position : positions) position = random.below(kPositions);
    std::vector<double> cos, sin;
    for (int64_t i = 0; i < kPositions * c.pairs; ++i) {
        const double angle = random.uniform(-10, 10);
        cos.push_back(test::rounded(std::cos(angle), CARAVAN_F32));
        sin.push_back(test::rounded(std::sin(angle), CARAVAN_F32));
    }
    const auto expect = [&](auto zero, double sign) {
        using Real = decltype(zero);
        const auto y = reference::rope<Real>(
            {x.begin(), x.end()}, positions, {cos.begin(), cos.end()}, {sin.begin(), sin.end()},
            static_cast<size_t>(c.heads), static_cast<size_t>(c.width),
            static_cast<size_t>(c.pairs), interleaved, static_cast<Real>(sign));
        return std::vector<double>(y.begin(), y.end());
    };
    test::same_bits_for_threads([&](caravan_stream stream) {
        const std::vector<int64_t> shape = {c.tokens, c.heads, c.width};
        const int64_t gap = seed % 3 == 0 ? 8 : 4;  // in bf16 not always a multiple of 16 bytes
        Tensor in = Tensor::of(c.dtype, shape, x, gap), out(c.dtype, shape),
               back(c.dtype, shape, 8);
        Tensor at(CARAVAN_I32, {c.tokens}),
            cosines = Tensor::of(CARAVAN_F32, {kPositions, c.pairs}, cos);
        Tensor sines = Tensor::of(CARAVAN_F32, {kPositions, c.pairs}, sin);
        at.set({positions.begin(), positions.end()});
        caravan_rope_args args = {};
        args.size = sizeof args;
        args.x = in.view();
        args.y = out.view();
        args.positions = at.view();
        args.cos = cosines.view();
        args.sin = sines.view();
        args.layout = c.layout;
        CHECK_OK(caravan_rope_forward(stream, &args));
        CHECK_ACCURACY(out.values(), test::rounded(expect(0.0f, 1), c.dtype), expect(0.0, 1));
        args.y = back.view();
        CHECK_OK(caravan_rope_backward(stream, &args));
        CHECK_ACCURACY(back.values(), test::rounded(expect(0.0f, -1), c.dtype), expect(0.0, -1));

        Tensor both = Tensor::of(c.dtype, shape, x);  // in place
        args.x = args.y = both.view();
        CHECK_OK(caravan_rope_forward(stream, &args));
        CHECK(both.bits() == out.bits());
        return out.bits() + back.bits();
    });
    test::context().clear();
}

// The backward pass is the transpose of the forward one: the gradient of a linear map.
void reference_gradient() {
    test::Random random(3);
    const auto x = random.normals(2 * 2 * 6), d_y = random.normals(2 * 2 * 6);
    const std::vector<int64_t> positions = {1, 0};
    const std::vector<double> cos = {1, 1, std::cos(0.7), std::cos(1.9)};
    const std::vector<double> sin = {0, 0, std::sin(0.7), std::sin(1.9)};
    for (bool interleaved : {false, true}) {
        const auto turn = [&](const std::vector<double>& values, double sign) {
            return reference::rope<double>(values, positions, cos, sin, 2, 6, 2, interleaved, sign);
        };
        CHECK_GRADIENT(x, turn(d_y, -1), [&](const std::vector<double>& values) {
            return test::dot(turn(values, 1), d_y);
        });
    }
}

void refusals() {
    test::Stream stream;
    Tensor x(CARAVAN_F32, {3, 2, 8}), flat(CARAVAN_F32, {3, 16}), half(CARAVAN_BF16, {3, 2, 8});
    Tensor cos(CARAVAN_F32, {5, 4}), wide(CARAVAN_F32, {5, 5}), positions(CARAVAN_I32, {3});
    positions.set({0, 4, 2});
    caravan_rope_args good = {};
    good.size = sizeof good;
    good.x = good.y = x.view();
    good.positions = positions.view();
    good.cos = good.sin = cos.view();
    const auto refused = [&](const char* part, auto&& change) {
        caravan_rope_args args = good;
        change(args);
        CHECK_REFUSED(caravan_rope_forward(stream, &args), "rope_forward", part);
        CHECK_REFUSED(caravan_rope_backward(stream, &args), "rope_backward", part);
    };
    refused("x: got shape [3, 16]", [&](auto& args) { args.x = flat.view(); });
    refused("x: got null", [&](auto& args) { args.x.data = nullptr; });
    refused("y: got dtype bf16", [&](auto& args) { args.y = half.view(); });
    refused("y: got strides [16, 7]", [&](auto& args) { args.y.stride[1] = 7; });
    refused("y: got strides [15, 8]", [&](auto& args) { args.y.stride[0] = 15; });
    refused("positions: got dtype f32", [&](auto& args) { args.positions = flat.view(); });
    refused("cos: turns 5 pairs", [&](auto& args) { args.cos = args.sin = wide.view(); });
    refused("sin: got shape [5, 5], needs [5, 4]", [&](auto& args) { args.sin = wide.view(); });
    refused("layout: got 2", [&](auto& args) { args.layout = 2; });

    CHECK_REFUSED(caravan_rope_forward(nullptr, &good), "rope_forward: stream");
    if (test::kind() != CARAVAN_CPU) return;  // what lies in memory is not looked at elsewhere
    x.poison();
    const std::string before = x.bits();
    positions.set(2, 5);
    refused("positions: got 5 at 2, needs 0 to 4", [](auto&) {});
    positions.set(2, -1);
    refused("positions: got -1 at 2", [](auto&) {});
    CHECK(x.bits() == before);  // nothing was written
}

// A device cannot refuse what lies in its memory: it stays within the tensors, and NaN shows.
void wrong_values() {
    test::Stream stream;
    for (int64_t pairs : {3, 4}) {
        const int64_t width = 2 * pairs + 4;
        Tensor x = Tensor::of(CARAVAN_F32, {3, 2, width},
                              std::vector<double>(static_cast<size_t>(6 * width), 1.0));
        Tensor y(CARAVAN_F32, {3, 2, width}), positions(CARAVAN_I32, {3});
        Tensor table = Tensor::of(CARAVAN_F32, {5, pairs},
                                  std::vector<double>(static_cast<size_t>(5 * pairs), 0.5));
        caravan_rope_args args = {};
        args.size = sizeof args;
        args.x = x.view();
        args.y = y.view();
        args.positions = positions.view();
        args.cos = args.sin = table.view();
        for (int32_t layout : {CARAVAN_ROPE_HALF, CARAVAN_ROPE_INTERLEAVED}) {
            for (double wrong : {5.0, -1.0, 2147483647.0, -2147483648.0}) {
                args.layout = layout;
                positions.set({4, wrong, 0});
                CHECK_OK(caravan_rope_forward(stream, &args));
                for (int64_t i = 0; i < 6 * width; ++i) {
                    const bool turned = i % width < 2 * pairs;
                    CHECK(std::isnan(y.get(i)) == (turned && i / (2 * width) == 1));
                }
            }
        }
    }
}

}  // namespace

int main() {
    reference_gradient();
    uint64_t seed = 1;
    for (int32_t dtype : {CARAVAN_F32, CARAVAN_BF16}) {
        for (int32_t layout : {CARAVAN_ROPE_HALF, CARAVAN_ROPE_INTERLEAVED}) {
            for (int64_t pairs : {0, 1, 3, 7, 8, 9, 16, 17, 32, 64}) {
                for (int64_t tokens : {0, 1, 17, 300}) {
                    if (test::emulated() && (tokens > 17 || pairs == 9 || pairs == 17)) continue;
                    const int64_t heads = 1 + static_cast<int64_t>(seed % 7);
                    const int64_t left = seed % 4 == 0 ? 5 : seed % 4 == 1 ? 24 : 0;
                    const int64_t width = 2 * pairs + (pairs == 0 ? 3 : left);
                    matches_reference({tokens, heads, width, pairs, dtype, layout}, ++seed);
                }
            }
        }
    }
    refusals();
    if (test::kind() != CARAVAN_CPU) wrong_values();
    return test::finish();
}
