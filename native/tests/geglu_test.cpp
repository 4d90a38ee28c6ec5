#include "tests/glu_test.h"

namespace {

template <typename Real>
Real gelu(Real x) {
    return static_cast<Real>(0.5) * x * (1 + std::erf(x * static_cast<Real>(0.70710678118654752)));
}

// Without the cancellation for negative x: the reference.
double exact_gelu(double x) { return 0.5 * x * std::erfc(-x * 0.70710678118654752); }

template <typename Real>
Real gelu_derivative(Real x) {
    const Real p = static_cast<Real>(0.5) * std::erfc(-x * static_cast<Real>(0.70710678118654752));
    return p +
           x * std::exp(static_cast<Real>(-0.5) * x * x) * static_cast<Real>(0.39894228040143268);
}

template <typename Real>
Real tanh_argument(Real x) {
    return static_cast<Real>(0.79788456080286536) * (x + static_cast<Real>(0.044715) * x * x * x);
}

template <typename Real>
Real gelu_tanh(Real x) {
    return static_cast<Real>(0.5) * x * (1 + std::tanh(tanh_argument(x)));
}

template <typename Real>
Real gelu_tanh_derivative(Real x) {
    const Real t = std::tanh(tanh_argument(x));
    const Real slope =
        static_cast<Real>(0.79788456080286536) * (1 + static_cast<Real>(0.134145) * x * x);
    return static_cast<Real>(0.5) * (1 + t) + static_cast<Real>(0.5) * x * (1 - t * t) * slope;
}

// gelu is good to a few parts in 10^6 of its value also far out in the tail.
void tail() {
    test::Stream stream;
    std::vector<double> gate;
    for (int i = 0; i <= 2000; ++i) gate.push_back(test::rounded(-12.5 + 0.01 * i, CARAVAN_F32));
    const auto n = static_cast<int64_t>(gate.size());
    test::Tensor in = test::Tensor::of(CARAVAN_F32, {1, n}, gate), out(CARAVAN_F32, {1, n});
    test::Tensor one = test::Tensor::of(CARAVAN_F32, {1, n}, std::vector<double>(gate.size(), 1));
    caravan_glu_forward_args args = {};
    args.size = sizeof args;
    args.gate = in.view();
    args.up = one.view();
    args.out = out.view();
    CHECK_OK(caravan_geglu_forward(stream, &args));
    for (int64_t i = 0; i < n; ++i) {
        const double exact = exact_gelu(gate[static_cast<size_t>(i)]);
        CHECK_NEAR(out.get(i), exact, 1e-5 * std::fabs(exact) + 1e-36);
    }
}

}  // namespace

int main() {
    test::glu_all({"geglu", caravan_geglu_forward, caravan_geglu_backward, exact_gelu,
                   gelu_derivative<double>, gelu<float>, gelu_derivative<float>, 0});
    test::glu_all({"geglu", caravan_geglu_forward, caravan_geglu_backward, gelu_tanh<double>,
                   gelu_tanh_derivative<double>, gelu_tanh<float>, gelu_tanh_derivative<float>, 1});
    tail();
    return test::finish();
}
