#include "tests/reference/bias.h"

#include "tests/harness.h"

namespace {

using test::Tensor;

void matches_reference(int64_t rows, int64_t width, int32_t dtype, int32_t bias_dtype, bool gaps,
                       uint64_t seed) {
    test::context() = std::string(test::name(dtype)) + " bias " + test::name(bias_dtype) + " " +
                      test::shape_name({rows, width}) + (gaps ? " with gaps" : "");
    test::Random random(seed);
    const auto x = test::rounded(random.normals(rows * width), dtype);
    const auto bias = test::rounded(random.normals(width), bias_dtype);
    const auto d_y = test::rounded(random.normals(rows * width), dtype);
    auto exact = reference::bias_backward<double>(d_y, static_cast<size_t>(width));
    auto plain = test::doubles(
        reference::bias_backward<float>(test::floats(d_y), static_cast<size_t>(width)));
    for (size_t i = 0; i < exact.size(); ++i) {
        exact[i] += bias[i];
        plain[i] = static_cast<float>(plain[i]) + static_cast<float>(bias[i]);
    }
    test::same_bits_for_threads([&](caravan_stream stream) {
        Tensor in = Tensor::of(dtype, {rows, width}, x, gaps ? 1 : 0);
        Tensor y(dtype, {rows, width}, gaps ? 3 : 8);
        Tensor b = Tensor::of(bias_dtype, {width}, bias);
        caravan_bias_forward_args forward = {};
        forward.size = sizeof forward;
        forward.x = in.view();
        forward.bias = b.view();
        forward.y = y.view();
        CHECK_OK(caravan_bias_forward(stream, &forward));
        const auto expected = reference::bias_forward<float>(test::floats(x), test::floats(bias));
        CHECK(y.values() == test::rounded(test::doubles(expected), dtype));
        forward.y = in.view();
        CHECK_OK(caravan_bias_forward(stream, &forward));
        CHECK(in.bits() == y.bits());

        Tensor d = Tensor::of(dtype, {rows, width}, d_y, gaps ? 2 : 0);
        Tensor sum = Tensor::of(bias_dtype, {width}, bias);
        caravan_bias_backward_args backward = {};
        backward.size = sizeof backward;
        backward.d_y = d.view();
        backward.d_bias = sum.view();
        int64_t bytes = -1;
        CHECK_OK(caravan_bias_backward_workspace(test::kind(), &backward, &bytes));
        Tensor workspace(CARAVAN_U8, {bytes});
        backward.workspace = workspace.view();
        CHECK_OK(caravan_bias_backward(stream, &backward));
        CHECK_ACCURACY_AT(2.0, sum.values(), test::rounded(plain, bias_dtype), exact);
        return y.bits() + sum.bits();
    });
    test::context().clear();
}

void reference_gradient() {
    test::Random random(2);
    const auto x = random.normals(12), bias = random.normals(4), d_y = random.normals(12);
    CHECK_GRADIENT(bias, reference::bias_backward<double>(d_y, 4),
                   [&](const std::vector<double>& values) {
                       return test::dot(reference::bias_forward<double>(x, values), d_y);
                   });
}

void refusals() {
    test::Stream stream;
    Tensor x(CARAVAN_F32, {9, 8}), half(CARAVAN_BF16, {9, 8}), bias(CARAVAN_F32, {8});
    Tensor short_bias(CARAVAN_F32, {7}), ints(CARAVAN_I32, {9, 8});
    caravan_bias_forward_args good = {};
    good.size = sizeof good;
    good.x = good.y = x.view();
    good.bias = bias.view();
    const auto refused = [&](const char* part, auto&& change) {
        caravan_bias_forward_args args = good;
        change(args);
        CHECK_REFUSED(caravan_bias_forward(stream, &args), "bias_forward", part);
    };
    refused("x: got dtype i32", [&](auto& args) { args.x = ints.view(); });
    refused("y: got dtype bf16", [&](auto& args) { args.y = half.view(); });
    refused("bias: got shape [7], needs [8]", [&](auto& args) { args.bias = short_bias.view(); });
    CHECK_REFUSED(caravan_bias_forward(nullptr, &good), "bias_forward: stream");

    caravan_bias_backward_args back = {};
    back.size = sizeof back;
    back.d_y = x.view();
    back.d_bias = bias.view();
    const auto back_refused = [&](const char* part, auto&& change) {
        caravan_bias_backward_args args = back;
        change(args);
        CHECK_REFUSED(caravan_bias_backward(stream, &args), "bias_backward", part);
    };
    back_refused("d_y: got null", [&](auto& args) { args.d_y.data = nullptr; });
    back_refused("d_bias: got shape [7]", [&](auto& args) { args.d_bias = short_bias.view(); });
    back_refused(test::kind() == CARAVAN_CUDA ? "workspace: got null, needs 96 bytes"
                                              : "workspace: got null, needs 64 bytes",
                 [](auto&) {});
    int64_t bytes = 0;
    back.d_y.rank = 3;
    CHECK_REFUSED(caravan_bias_backward_workspace(test::kind(), &back, &bytes), "d_y: got rank 3");
}

}  // namespace

int main() {
    reference_gradient();
    uint64_t seed = 1;
    const bool few = test::emulated();
    const auto widths =
        few ? std::vector<int64_t>{1, 9, 48, 2056} : std::vector<int64_t>{1, 3, 8, 15, 16, 17, 300};
    const auto heights =
        few ? std::vector<int64_t>{0, 1, 37} : std::vector<int64_t>{0, 1, 3, 17, 1000};
    for (int32_t dtype : {CARAVAN_F32, CARAVAN_BF16}) {
        for (int32_t bias_dtype : {CARAVAN_F32, CARAVAN_BF16}) {
            for (int64_t width : widths) {
                for (int64_t rows : heights) {
                    ++seed;
                    matches_reference(rows, width, dtype, bias_dtype, seed % 2 == 0, seed);
                }
            }
        }
    }
    refusals();
    return test::finish();
}
