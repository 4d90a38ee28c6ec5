#include "tests/reference/adamw.h"

#include "core/random.h"
#include "tests/harness.h"
#include "tests/master.h"

namespace {

using test::Tensor;

constexpr float kBeta1 = 0.9f, kBeta2 = 0.95f, kEps = 1e-8f, kDecay = 0.1f;

// Everything that a step works on, in the chosen storage, beginning from given masters.
struct Buffers {
    Tensor param, remainder, grad, m, v;
    test::Box<caravan_step_state> state;
    std::vector<caravan_segment> segments;
    int64_t skipped = 0;  // elements that ops do not see, so that no tensor is aligned

    Buffers(const std::vector<double>& masters, int32_t param_dtype, int32_t grad_dtype,
            int32_t moment_dtype)
        : param(param_dtype, {static_cast<int64_t>(masters.size())}),
          remainder(CARAVAN_U16, {static_cast<int64_t>(masters.size())}),
          grad(grad_dtype, {static_cast<int64_t>(masters.size())}),
          m(moment_dtype, {static_cast<int64_t>(masters.size())}),
          v(moment_dtype, {static_cast<int64_t>(masters.size())}) {
        m.set(std::vector<double>(masters.size(), 0.0));
        v.set(std::vector<double>(masters.size(), 0.0));
        test::set_masters(param, remainder, masters);
        state->seed = 1234567890123456789u;
        state->lr = 0.01f;
        state->clip_factor = 0.5f;
        state->finite = 1;
        segments = {{0, static_cast<int64_t>(masters.size()), 1, 0}};
    }

    std::vector<double> masters() { return test::masters(param, remainder); }

    caravan_adamw_args args() {
        caravan_adamw_args args = {};
        args.size = sizeof args;
        args.param = seen(param);
        if (param.dtype() == CARAVAN_BF16) args.remainder = seen(remainder);
        args.grad = seen(grad);
        args.m = seen(m);
        args.v = seen(v);
        args.segments = table();
        args.state = state.view();
        args.beta1 = kBeta1;
        args.beta2 = kBeta2;
        args.eps = kEps;
        args.weight_decay = kDecay;
        return args;
    }

    void step(caravan_stream stream) {
        ++state->step;
        const caravan_adamw_args known = args();
        CHECK_OK(caravan_adamw_step(stream, &known));
    }

    std::string bits() const { return param.bits() + remainder.bits() + m.bits() + v.bits(); }

  private:
    caravan_tensor seen(Tensor& tensor) const {
        caravan_tensor view = tensor.view();
        const int64_t bytes = skipped * caravan::dtype_bytes(view.dtype);
        view.data = static_cast<char*>(view.data) + bytes;
        view.bytes -= bytes;
        view.shape[0] -= skipped;
        return view;
    }

    // The segments where the device reaches them.
    caravan_tensor table() {
        test::settle();
        const auto bytes = static_cast<int64_t>(segments.size() * sizeof(caravan_segment));
        table_ = std::make_unique<test::Memory>(bytes);
        if (bytes > 0) {
            std::memcpy(table_->data(), segments.data(), static_cast<size_t>(bytes));
        }
        caravan_tensor view = test::bytes_of(table_->data());
        view.bytes = view.shape[0] = bytes;
        return view;
    }

    std::unique_ptr<test::Memory> table_;
};

// A few steps with float32 moments against the reference; a split master is the whole one's bits.
void matches_reference(int64_t n, int32_t grad_dtype, uint64_t seed) {
    test::context() = "[" + std::to_string(n) + "] grad " + test::name(grad_dtype);
    const int steps = 4;
    test::Random random(seed);
    const auto start = test::rounded(random.normals(n), CARAVAN_F32);
    std::vector<std::vector<double>> grads;
    for (int t = 0; t < steps; ++t)
        grads.push_back(test::rounded(random.normals(n, 0.1), grad_dtype));
    // The middle third has no decay; what lies between the runs is not updated.
    const std::vector<caravan_segment> segments = {
        {0, n / 3, 1, 0}, {n / 3, n / 3, 0, 0}, {n / 3 + n / 3 + n / 7, n / 7, 1, 0}};

    std::vector<double> exact = start, exact_m(exact.size()), exact_v(exact.size());
    std::vector<double> covered(exact.size()), decay(exact.size());
    for (const caravan_segment& segment : segments) {
        for (int64_t i = segment.offset; i < segment.offset + segment.count; ++i) {
            covered[static_cast<size_t>(i)] = 1;
            decay[static_cast<size_t>(i)] = static_cast<double>(kDecay) * segment.decay;
        }
    }
    std::vector<float> plain = test::floats(start), plain_m(exact.size()), plain_v(exact.size());
    const reference::AdamW<double> in_double = {0.01f, kBeta1, kBeta2, kEps, 0.5};
    const reference::AdamW<float> in_float = {0.01f, kBeta1, kBeta2, kEps, 0.5f};
    for (int t = 1; t <= steps; ++t) {
        const auto& grad = grads[static_cast<size_t>(t - 1)];
        in_double.step(t, exact, grad, exact_m, exact_v, decay);
        in_float.step(t, plain, test::floats(grad), plain_m, plain_v, test::floats(decay));
    }
    for (size_t i = 0; i < exact.size(); ++i) {
        if (covered[i] != 0) continue;
        exact[i] = plain[i] = static_cast<float>(start[i]);
        exact_m[i] = exact_v[i] = plain_m[i] = plain_v[i] = 0;
    }

    test::same_bits_for_threads([&](caravan_stream stream) {
        Buffers whole(start, CARAVAN_F32, grad_dtype, CARAVAN_F32);
        Buffers split(start, CARAVAN_BF16, grad_dtype, CARAVAN_F32);
        for (Buffers* buffers : {&whole, &split}) {
            buffers->segments = segments;
            for (const auto& grad : grads) {
                buffers->grad.set(grad);
                buffers->step(stream);
            }
        }
        CHECK_ACCURACY(whole.masters(), test::doubles(plain), exact);
        CHECK_ACCURACY(whole.m.values(), test::doubles(plain_m), exact_m);
        CHECK_ACCURACY(whole.v.values(), test::doubles(plain_v), exact_v);
        CHECK(split.masters() == whole.masters());
        CHECK(split.m.bits() == whole.m.bits() && split.v.bits() == whole.v.bits());
        for (int64_t i = 0; i < n; ++i) {  // the parameter is the master, rounded to nearest
            const double master = whole.param.get(i);
            const double error = std::fabs(split.param.get(i) - master);
            CHECK(error <= std::ldexp(std::fabs(master), -8));
        }
        return whole.bits() + split.bits();
    });
    test::context().clear();
}

// Masters of every kind survive the split: a step with no gradient and no decay changes no bit.
void split_is_lossless() {
    test::Random random(8);
    const int64_t n = 4000;
    test::Stream stream;
    Buffers buffers(std::vector<double>(static_cast<size_t>(n), 0.0), CARAVAN_BF16, CARAVAN_F32,
                    CARAVAN_F32);
    std::vector<float> masters;
    for (int64_t i = 0; i < n; ++i) {
        auto bits = static_cast<uint32_t>(random.next());
        if (i % 4 == 0) bits = (bits & 0xffff0000u) | 0x8000;  // exactly between two parameters
        if (i % 4 == 1) bits = (bits & 0xffff0000u) | 0x7fff;
        if ((bits >> 23 & 0xff) >= 0xfe) bits &= 0x80ffffff;
        if ((bits >> 23 & 0xff) == 0) bits |= 1u << 23;
        float value;
        std::memcpy(&value, &bits, sizeof value);
        masters.push_back(value);
        buffers.grad.set(i, 0);
    }
    test::set_masters(buffers.param, buffers.remainder, test::doubles(masters));
    buffers.segments[0].decay = 0;
    const std::string before = buffers.bits();
    CHECK(buffers.masters() == test::doubles(masters));
    buffers.step(stream);
    CHECK(buffers.bits() == before);
}

// bf16 moments: what float32 moments would be, rounded by the draws of core/random.h.
void bf16_moments(int64_t n, uint64_t seed) {
    test::context() = "bf16 moments [" + std::to_string(n) + "]";
    test::Random random(seed);
    const auto start = test::rounded(random.normals(n), CARAVAN_F32);
    const auto grad = test::rounded(random.normals(n), CARAVAN_F32);
    test::same_bits_for_threads([&](caravan_stream stream) {
        Buffers exact(start, CARAVAN_F32, CARAVAN_F32, CARAVAN_F32);
        Buffers rounded(start, CARAVAN_F32, CARAVAN_F32, CARAVAN_BF16);
        for (Buffers* buffers : {&exact, &rounded}) {
            buffers->state->step = (int64_t{1} << 33) + 5;
            buffers->grad.set(grad);
            buffers->segments = {{0, n / 3, 1, 0}, {n / 3, n - n / 3, 0, 0}};
            buffers->step(stream);
        }
        CHECK(rounded.param.bits() == exact.param.bits());  // the update uses the unrounded moments
        for (int64_t i = 0; i < n; ++i) {
            const uint32_t noise =
                caravan::element_random(exact.state->seed, static_cast<uint64_t>(exact.state->step),
                                        static_cast<uint64_t>(i));
            uint32_t m, v;
            std::memcpy(&m, exact.m.as<float>() + i, sizeof m);
            std::memcpy(&v, exact.v.as<float>() + i, sizeof v);
            CHECK_EQUAL(rounded.m.as<uint16_t>()[i],
                        static_cast<uint16_t>((m + (noise & 0xffff)) >> 16));
            CHECK_EQUAL(rounded.v.as<uint16_t>()[i],
                        static_cast<uint16_t>((v + (noise >> 16)) >> 16));
        }
        return rounded.bits();
    });
    test::context().clear();
}

// The mean of many roundings of one number is that number.
void rounding_is_unbiased() {
    const int64_t n = test::emulated() ? 20000 : 100000;
    test::Stream stream(2);
    Buffers buffers(std::vector<double>(static_cast<size_t>(n), 1.0), CARAVAN_F32, CARAVAN_F32,
                    CARAVAN_BF16);
    buffers.grad.set(std::vector<double>(static_cast<size_t>(n), 2.00123));
    buffers.step(stream);
    double mean = 0;
    for (int64_t i = 0; i < n; ++i) mean += buffers.m.get(i) / static_cast<double>(n);
    const double spacing = 0x1p-11;  // of bf16 near 0.1
    CHECK_NEAR(mean, 0.100061, 5 * spacing / std::sqrt(static_cast<double>(n)));
}

void does_nothing_when_not_finite() {
    test::Stream stream;
    Buffers buffers({1, 2, 3}, CARAVAN_F32, CARAVAN_F32, CARAVAN_F32);
    buffers.grad.set({NAN, INFINITY, 1});
    buffers.state->finite = 0;
    const std::string before = buffers.bits();
    buffers.step(stream);
    CHECK(buffers.bits() == before);
}

// Whatever the bits of a NaN are, the parameter is one.
void nan_stays_nan() {
    test::Stream stream;
    Buffers buffers({1, 2, 3}, CARAVAN_BF16, CARAVAN_F32, CARAVAN_F32);
    buffers.grad.set({1, 1, 1});
    test::settle();
    const uint32_t bits = 0x7fffffff;  // what arithmetic on a device gives
    buffers.param.as<uint16_t>()[1] = static_cast<uint16_t>((bits + 0x8000) >> 16);
    buffers.remainder.as<uint16_t>()[1] = static_cast<uint16_t>(bits);
    buffers.step(stream);
    CHECK(std::isnan(buffers.masters()[1]) && std::isnan(buffers.param.get(1)));
    CHECK(!std::isnan(buffers.param.get(0)) && !std::isnan(buffers.param.get(2)));
}

// For 10 elements.
std::vector<std::vector<caravan_segment>> wrong_tables() {
    return {{{-1, 3, 1, 0}},
            {{0, -3, 1, 0}},
            {{0, 11, 1, 0}},
            {{5, 6, 1, 0}},
            {{5, INT64_MAX, 1, 0}},
            {{INT64_MAX, INT64_MAX, 1, 0}},
            {{0, 5, 1, 0}, {4, 2, 1, 0}},   // overlap
            {{5, 5, 1, 0}, {0, 5, 1, 0}}};  // not ascending
}

// What lies in a device's memory is found wrong by the kernel: it stays within the tensors, and
// what depends on it becomes NaN.
void wrong_values_on_a_device() {
    test::Stream stream;
    for (int32_t param_dtype : {CARAVAN_F32, CARAVAN_BF16}) {
        for (const auto& segments : wrong_tables()) {
            test::context() = "segment of " + std::to_string(segments.back().count) + " from " +
                              std::to_string(segments.back().offset);
            Buffers buffers(std::vector<double>(10, 1.0), param_dtype, CARAVAN_F32, CARAVAN_F32);
            buffers.grad.set(std::vector<double>(10, 1.0));
            buffers.segments = segments;
            buffers.step(stream);
            // Of a table that holds no element, none depends on it.
            bool holds = segments.size() > 1, bad = false;
            for (int64_t i = 0; i < 10; ++i) {
                for (const auto& one : segments) {
                    holds = holds || (one.offset >= 0 && one.count > 0 && i >= one.offset &&
                                      i - one.offset < one.count);
                }
                bad = bad || std::isnan(buffers.param.get(i));
            }
            CHECK(bad || !holds);
        }
        test::context().clear();
        Buffers buffers(std::vector<double>(10, 1.0), param_dtype, CARAVAN_F32, CARAVAN_F32);
        buffers.grad.set(std::vector<double>(10, 1.0));
        buffers.state->step = -1;
        buffers.step(stream);  // of number 0
        for (int64_t i = 0; i < 10; ++i) CHECK(std::isnan(buffers.param.get(i)));
    }
}

// Buffers at odd addresses are updated as those at even ones.
void unaligned(int32_t param_dtype, int32_t grad_dtype) {
    test::Random random(77);
    const int64_t n = 300;
    auto start = test::rounded(random.normals(n), CARAVAN_F32);
    auto grad = test::rounded(random.normals(n), grad_dtype);
    test::Stream stream;
    Buffers even(start, param_dtype, grad_dtype, CARAVAN_F32);
    even.grad.set(grad);
    even.segments = {{0, 100, 1, 0}, {100, 20, 0, 0}, {130, 170, 1, 0}};
    even.step(stream);
    start.insert(start.begin(), 0.0);
    grad.insert(grad.begin(), 0.0);
    Buffers odd(start, param_dtype, grad_dtype, CARAVAN_F32);
    odd.grad.set(grad);
    odd.segments = even.segments;
    odd.skipped = 1;
    odd.step(stream);
    const auto from_even = even.masters(), from_odd = odd.masters();
    for (int64_t i = 0; i < n; ++i) {
        CHECK_EQUAL(from_odd[static_cast<size_t>(i + 1)], from_even[static_cast<size_t>(i)]);
        CHECK_EQUAL(odd.m.get(i + 1), even.m.get(i));
        CHECK_EQUAL(odd.v.get(i + 1), even.v.get(i));
    }
    CHECK_EQUAL(from_odd[0], 0.0);
}

void refusals() {
    test::Stream stream;
    Buffers buffers(std::vector<double>(10, 1.0), CARAVAN_BF16, CARAVAN_F32, CARAVAN_F32);
    Tensor ints(CARAVAN_I32, {10}), nine(CARAVAN_F32, {9}), half(CARAVAN_BF16, {10});
    buffers.state->step = 1;
    const std::string before = buffers.bits();
    const auto refused = [&](const char* part, auto&& change) {
        caravan_adamw_args args = buffers.args();
        change(args);
        CHECK_REFUSED(caravan_adamw_step(stream, &args), "adamw_step", part);
    };
    refused("param: got dtype i32", [&](auto& args) { args.param = ints.view(); });
    refused("remainder: got null", [&](auto& args) { args.remainder.data = nullptr; });
    refused("grad: got shape [9], needs [10]", [&](auto& args) { args.grad = nine.view(); });
    refused("m: got null", [&](auto& args) { args.m.data = nullptr; });
    refused("v: got dtype bf16, needs that of m, f32", [&](auto& args) { args.v = half.view(); });
    refused("segments: got null", [&](auto& args) { args.segments.data = nullptr; });
    refused("segments: got 25 bytes",
            [&](auto& args) { args.segments.shape[0] = args.segments.bytes = 25; });
    refused("state: needs 56 bytes", [&](auto& args) { args.state.bytes = 10; });
    refused("beta1: got 1", [&](auto& args) { args.beta1 = 1; });
    refused("beta2: got -0.5", [&](auto& args) { args.beta2 = -0.5f; });
    refused("eps: got nan", [&](auto& args) { args.eps = NAN; });
    refused("weight_decay: got inf", [&](auto& args) { args.weight_decay = INFINITY; });
    for (const auto& segments : wrong_tables()) {
        if (test::kind() == CARAVAN_CUDA) break;  // there nobody waits for them
        buffers.segments = segments;
        refused("segments: number ", [](auto&) {});
    }
    if (test::kind() == CARAVAN_CPU) {
        buffers.segments = {{0, 10, 1, 0}};
        buffers.state->step = 0;
        refused("state.step: got 0", [](auto&) {});
    }
    CHECK(buffers.bits() == before);  // nothing was written
    const caravan_adamw_args good = buffers.args();
    CHECK_REFUSED(caravan_adamw_step(nullptr, &good), "adamw_step: stream");
}

}  // namespace

int main() {
    uint64_t seed = 1;
    const bool few = test::emulated();
    const auto sizes =
        few ? std::vector<int64_t>{0, 1, 7, 130, 4096, 9001}
            : std::vector<int64_t>{0, 1, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 1000, 50001};
    for (int32_t grad_dtype : {CARAVAN_F32, CARAVAN_BF16}) {
        for (int64_t n : sizes) {
            matches_reference(n, grad_dtype, ++seed);
        }
    }
    split_is_lossless();
    nan_stays_nan();
    for (int64_t n : {1, 17, 64, 100, few ? 5000 : 40000}) bf16_moments(n, ++seed);
    for (int32_t param_dtype : {CARAVAN_F32, CARAVAN_BF16}) {
        for (int32_t grad_dtype : {CARAVAN_F32, CARAVAN_BF16}) unaligned(param_dtype, grad_dtype);
    }
    rounding_is_unbiased();
    does_nothing_when_not_finite();
    if (test::kind() == CARAVAN_CUDA) wrong_values_on_a_device();
    refusals();
    return test::finish();
}
