// What the tests of the gated units share: comparison with the reference, aliasing, refusals.
#pragma once

#include "tests/harness.h"
#include "tests/reference/glu.h"

namespace test {

struct Glu {
    const char* name;
    caravan_status (*forward)(caravan_stream, const caravan_glu_forward_args*);
    caravan_status (*backward)(caravan_stream, const caravan_glu_backward_args*);
    double (*f)(double);
    double (*derivative)(double);
    float (*plain_f)(float);
    float (*plain_derivative)(float);
    int32_t approximate;
};

// gate and up are the halves of one buffer when `halves`, and the gradients overwrite them. Between
// other rows lie gaps of `gap` elements.
inline void glu_matches(const Glu& glu, int64_t rows, int64_t width, int32_t dtype, bool halves,
                        int64_t gap, uint64_t seed) {
    context() = std::string(glu.name) + (glu.approximate != 0 ? " by tanh " : " ") + name(dtype) +
                " " + shape_name({rows, width}) + ", gap " + std::to_string(gap);
    Random random(seed);
    const int64_t n = rows * width;
    const auto gate = rounded(random.normals(n, 4), dtype);
    const auto up = rounded(random.normals(n), dtype);
    const auto d_out = rounded(random.normals(n), dtype);
    const auto exact = reference::glu_forward<double>(gate, up, glu.f);
    const auto exact_gradient =
        reference::glu_backward<double>(d_out, gate, up, glu.f, glu.derivative);
    const auto plain = reference::glu_forward<float>(floats(gate), floats(up), glu.plain_f);
    const auto plain_gradient = reference::glu_backward<float>(
        floats(d_out), floats(gate), floats(up), glu.plain_f, glu.plain_derivative);

    same_bits_for_threads([&](caravan_stream stream) {
        Tensor both(dtype, {rows, 2 * width});
        Tensor separate_gate = Tensor::of(dtype, {rows, width}, gate, gap);
        Tensor separate_up = Tensor::of(dtype, {rows, width}, up);
        for (int64_t r = 0; r < rows; ++r) {
            for (int64_t i = 0; i < width; ++i) {
                both.set(r * 2 * width + i, gate[static_cast<size_t>(r * width + i)]);
                both.set(r * 2 * width + width + i, up[static_cast<size_t>(r * width + i)]);
            }
        }
        caravan_tensor low = both.view();
        low.shape[1] = width;
        caravan_tensor high = low;
        high.data = static_cast<char*>(low.data) + width * caravan::dtype_bytes(dtype);
        low.bytes = high.bytes = both.view().bytes - width * caravan::dtype_bytes(dtype);

        Tensor out(dtype, {rows, width}, gap);
        caravan_glu_forward_args forward = {};
        forward.size = sizeof forward;
        forward.gate = halves ? low : separate_gate.view();
        forward.up = halves ? high : separate_up.view();
        forward.out = out.view();
        forward.approximate = glu.approximate;
        CHECK_OK(glu.forward(stream, &forward));
        CHECK_ACCURACY(out.values(), rounded(doubles(plain), dtype), exact);

        Tensor d = Tensor::of(dtype, {rows, width}, d_out);
        Tensor d_gate(dtype, {rows, width}, gap), d_up(dtype, {rows, width});
        caravan_glu_backward_args backward = {};
        backward.size = sizeof backward;
        backward.d_out = d.view();
        backward.gate = forward.gate;
        backward.up = forward.up;
        backward.d_gate = halves ? low : d_gate.view();
        backward.d_up = halves ? high : d_up.view();
        backward.approximate = glu.approximate;
        CHECK_OK(glu.backward(stream, &backward));
        std::vector<double> to_gate = d_gate.values(), to_up = d_up.values();
        for (int64_t i = 0; halves && i < n; ++i) {
            to_gate[static_cast<size_t>(i)] = both.get(i / width * 2 * width + i % width);
            to_up[static_cast<size_t>(i)] = both.get(i / width * 2 * width + width + i % width);
        }
        CHECK_ACCURACY(to_gate, rounded(doubles(plain_gradient.d_gate), dtype),
                       exact_gradient.d_gate);
        CHECK_ACCURACY(to_up, rounded(doubles(plain_gradient.d_up), dtype), exact_gradient.d_up);
        return out.bits() + both.bits() + d_gate.bits() + d_up.bits();
    });
    context().clear();
}

inline void glu_reference_gradient(const Glu& glu) {
    Random random(9);
    const auto gate = random.normals(20, 2), up = random.normals(20), d_out = random.normals(20);
    const auto gradient = reference::glu_backward<double>(d_out, gate, up, glu.f, glu.derivative);
    CHECK_GRADIENT(gate, gradient.d_gate, [&](const std::vector<double>& values) {
        return dot(reference::glu_forward<double>(values, up, glu.f), d_out);
    });
    CHECK_GRADIENT(up, gradient.d_up, [&](const std::vector<double>& values) {
        return dot(reference::glu_forward<double>(gate, values, glu.f), d_out);
    });
}

// Very large and non-finite gates: f is 0 far below and the identity far above; a NaN stays one.
inline void glu_extremes(const Glu& glu) {
    Stream stream;
    const std::vector<double> gate = {-1e30, -1e4, -200, -90, 0, 90, 200, 1e4, 1e30, NAN};
    Tensor in = Tensor::of(CARAVAN_F32, {1, 10}, gate);
    Tensor one = Tensor::of(CARAVAN_F32, {1, 10}, std::vector<double>(10, 1)),
           out(CARAVAN_F32, {1, 10});
    caravan_glu_forward_args args = {};
    args.size = sizeof args;
    args.gate = in.view();
    args.up = one.view();
    args.out = out.view();
    args.approximate = glu.approximate;
    CHECK_OK(glu.forward(stream, &args));
    for (int64_t i = 0; i < 9; ++i) {
        const double expected = in.get(i) > 0 ? in.get(i) : 0;
        CHECK_NEAR(out.get(i), expected, 1e-6 * std::fabs(expected) + 1e-6);
    }
    CHECK(std::isnan(out.get(9)));
}

inline void glu_refusals(const Glu& glu) {
    Stream stream;
    Tensor x(CARAVAN_F32, {4, 8}), narrow(CARAVAN_F32, {4, 7}), half(CARAVAN_BF16, {4, 8});
    caravan_glu_forward_args good = {};
    good.size = sizeof good;
    good.gate = good.up = good.out = x.view();
    const std::string forward = std::string(glu.name) + "_forward";
    const auto refused = [&](const char* part, auto&& change) {
        caravan_glu_forward_args args = good;
        change(args);
        CHECK_REFUSED(glu.forward(stream, &args), forward.c_str(), part);
    };
    refused("gate: got null", [&](auto& args) { args.gate.data = nullptr; });
    refused("up: got shape [4, 7], needs [4, 8]", [&](auto& args) { args.up = narrow.view(); });
    refused("out: got dtype bf16", [&](auto& args) { args.out = half.view(); });
    refused("out: got stride 0 on axis 0", [&](auto& args) { args.out.stride[0] = 0; });
    refused("up: needs 128 bytes, got 100", [&](auto& args) { args.up.bytes = 100; });
    CHECK_REFUSED(glu.forward(nullptr, &good), forward.c_str(), "stream: got null");

    caravan_glu_backward_args back = {};
    back.size = sizeof back;
    back.d_out = back.gate = back.up = back.d_gate = back.d_up = x.view();
    const std::string backward = std::string(glu.name) + "_backward";
    const auto back_refused = [&](const char* part, auto&& change) {
        caravan_glu_backward_args args = back;
        change(args);
        CHECK_REFUSED(glu.backward(stream, &args), backward.c_str(), part);
    };
    back_refused("gate: got rank 0", [&](auto& args) { args.gate.rank = 0; });
    back_refused("d_out: got shape [4, 7]", [&](auto& args) { args.d_out = narrow.view(); });
    back_refused("up: got dtype bf16", [&](auto& args) { args.up = half.view(); });
    back_refused("d_gate: got null", [&](auto& args) { args.d_gate.data = nullptr; });
    back_refused("d_up: got shape [4, 7]", [&](auto& args) { args.d_up = narrow.view(); });
}

inline void glu_all(const Glu& glu) {
    glu_reference_gradient(glu);
    uint64_t seed = 1;
    const std::vector<int64_t> widths = emulated()
                                            ? std::vector<int64_t>{1, 9, 16, 768, 4112}
                                            : std::vector<int64_t>{1, 3, 7, 8, 9, 16, 17, 172, 768};
    const std::vector<int64_t> heights =
        emulated() ? std::vector<int64_t>{0, 1, 3} : std::vector<int64_t>{0, 1, 3, 17, 100};
    for (int32_t dtype : {CARAVAN_F32, CARAVAN_BF16}) {
        for (int64_t width : widths) {
            for (int64_t rows : heights) {
                const int64_t gaps[] = {0, 3, 8};
                glu_matches(glu, rows, width, dtype, seed % 2 == 0, gaps[seed / 2 % 3], seed);
                ++seed;
            }
        }
    }
    glu_extremes(glu);
    glu_refusals(glu);
}

}  // namespace test
