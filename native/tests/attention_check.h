// One attention, forward and backward, against the double reference by the accuracy rule.
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "tests/attention_problem.h"
#include "tests/harness.h"

namespace test {

// Values of a log-sum-exp with -infinity replaced, so that they can be compared.
inline std::vector<double> finite(std::vector<double> values) {
    for (double& value : values) value = value == -INFINITY ? -1 : value;
    return values;
}

inline int64_t infinite(const std::vector<double>& values) {
    int64_t count = 0;
    for (double value : values) count += value == -INFINITY;
    return count;
}

inline std::vector<double> wide(const std::vector<float>& values, int32_t dtype) {
    return rounded(doubles(values), dtype);
}

inline double largest(const std::vector<double>& values) {
    double most = 0;
    for (double value : values) most = std::fmax(most, std::fabs(value));
    return most;
}

// The gradients of scores, weight * (d_weight - delta), are small differences of large numbers:
// with one key they are 0. This is the size of what is subtracted.
inline double subtracted(const reference::Attention& how, const std::vector<double>& out,
                         const std::vector<double>& d_out) {
    double most = 0;
    const auto width = static_cast<size_t>(how.value_width);
    for (size_t row = 0; row < out.size(); row += width) {
        double delta = 0;
        for (size_t i = row; i < row + width; ++i) delta += std::fabs(out[i] * d_out[i]);
        most = std::fmax(most, delta);
    }
    return most;
}

// The accuracy rule, also allowing two float32 roundings of numbers of the size that went into
// sums.
inline void check_sums(std::vector<double> got, std::vector<double> plain,
                       std::vector<double> exact, double size) {
    // One more element, exact in all three, sets the scale.
    for (std::vector<double>* values : {&got, &plain, &exact}) values->push_back(size);
    CHECK_ACCURACY(got, plain, exact);
}

inline void check(const reference::Attention& how, int32_t dtype, int64_t gap, uint64_t seed,
                  caravan_stream stream) {
    AttentionProblem p(how, dtype, gap, seed);
    context() = p.name();
    const auto q = p.q.values(), k = p.k.values(), v = p.v.values(), bias = p.bias_values();
    const auto exact = reference::attention_forward<double>(how, q, k, v, bias);
    // Matrix instructions of a device multiply weights in the storage of the tensors.
    const auto keep = [&](float value) {
        if (kind() == CARAVAN_CPU) return value;
        return static_cast<float>(rounded(value, dtype));
    };
    const auto plain = reference::attention_forward<float>(how, q, k, v, bias, keep);
    p.forward(stream);
    // A score of size s is rounded by s units, which its exponential passes on to the weights.
    const double scores = std::fmax(1, largest(finite(exact.lse)));
    check_sums(p.out.values(), wide(plain.out, dtype), exact.out, scores * largest(exact.out));
    const auto lse = p.lse.values();
    CHECK_EQUAL(infinite(lse), infinite(exact.lse));
    CHECK_ACCURACY(finite(lse), finite(wide(plain.lse, CARAVAN_F32)), finite(exact.lse));

    const auto d_out = p.d_out.values();
    const auto g =
        reference::attention_backward<double>(how, q, k, v, bias, exact.out, exact.lse, d_out);
    const auto h = reference::attention_backward<float>(how, q, k, v, bias, wide(plain.out, dtype),
                                                        wide(plain.lse, CARAVAN_F32), d_out, keep);
    const double before = 0.5;
    p.backward(stream, before);
    const double size = scores * std::fabs(how.scale) * subtracted(how, exact.out, d_out);
    check_sums(p.d_q.values(), wide(h.d_q, dtype), g.d_q, size * largest(k));
    check_sums(p.d_k.values(), wide(h.d_k, dtype), g.d_k, size * largest(q));
    check_sums(p.d_v.values(), wide(h.d_v, dtype), g.d_v, scores * largest(g.d_v));
    if (how.buckets > 0) {
        auto expected = g.d_bias, rough = wide(h.d_bias, CARAVAN_F32);
        for (double& value : expected) value += before;
        for (double& value : rough) value += before;
        CHECK_ACCURACY(p.d_bias.values(), rough, expected);
    }
    if (!how.sinks.empty()) {
        auto expected = g.d_sinks, rough = wide(h.d_sinks, CARAVAN_F32);
        for (double& value : expected) value += before;
        for (double& value : rough) value += before;
        // A sink takes from sums of weights that are 1 together, which may cancel.
        check_sums(
            p.d_sinks.values(), rough, expected,
            scores * std::sqrt(static_cast<double>(how.tq)) * subtracted(how, exact.out, d_out));
    }
    context().clear();
}

inline reference::Attention shape(const std::vector<std::pair<int, int>>& lengths, int64_t heads,
                                  int64_t kv_heads, int64_t width, int64_t value_width = 0) {
    return documents(lengths, heads, kv_heads, width, value_width == 0 ? width : value_width);
}

}  // namespace test
