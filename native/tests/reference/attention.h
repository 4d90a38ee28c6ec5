// Attention and its gradients by the header's formulas, one row of scores at a time, in a type of
// choice: double is the reference, float the plain implementation that the kernels are measured
// against.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace reference {

struct Attention {
    int64_t tq, tk, heads, kv_heads, width, value_width;
    std::vector<int32_t> cu_q, cu_k;
    double scale = 1;
    double soft_cap = 0;
    bool causal = false;
    int64_t window_left = -1, window_right = -1;
    int64_t buckets = 0;  // of the bias; 0 for none
    bool bidirectional = false;
    int64_t max_distance = 0;
    std::vector<double> sinks;  // of each head; empty for none

    // How many logarithmic borders the distance has reached: border b lies at
    // exact * (max_distance / exact) ^ (b / logarithmic buckets).
    int64_t bucket(int64_t distance) const {
        const int64_t side = bidirectional ? buckets / 2 : buckets;
        const int64_t first = bidirectional && distance > 0 ? side : 0;
        const int64_t far = bidirectional ? std::abs(distance) : std::max<int64_t>(-distance, 0);
        const int64_t exact = side / 2;
        if (far < exact) return first + far;
        const double growth = static_cast<double>(max_distance) / static_cast<double>(exact);
        int64_t reached = 0;
        for (int64_t b = 1; b < side - exact; ++b) {
            const double share = static_cast<double>(b) / static_cast<double>(side - exact);
            const double border = static_cast<double>(exact) * std::pow(growth, share);
            if (static_cast<double>(far) >= border * (1 - 1e-12)) reached = b;
        }
        return first + exact + reached;
    }

    bool allowed(int64_t distance) const {
        return (!causal || distance <= 0) && (window_left < 0 || -distance <= window_left) &&
               (window_right < 0 || distance <= window_right);
    }
};

template <typename Real>
struct AttentionResult {
    std::vector<Real> out, lse;                        // forward
    std::vector<Real> d_q, d_k, d_v, d_bias, d_sinks;  // backward
};

namespace detail {

// Calls body(head, kv_head, row of q, first row of k, scores, bent) for every query of every
// document. scores[j] is the score of key j or -infinity, bent[j] its tanh where there is a cap.
template <typename Real, typename Body>
void each_query(const Attention& a, const std::vector<Real>& q, const std::vector<Real>& k,
                const std::vector<Real>& bias, const Body& body) {
    for (size_t s = 0; s + 1 < a.cu_q.size(); ++s) {
        const int64_t queries = a.cu_q[s + 1] - a.cu_q[s], keys = a.cu_k[s + 1] - a.cu_k[s];
        for (int64_t i = 0; i < queries; ++i) {
            for (int64_t h = 0; h < a.heads; ++h) {
                const int64_t row = a.cu_q[s] + i, kv = h / (a.heads / a.kv_heads);
                std::vector<Real> scores(static_cast<size_t>(keys)), bent(scores);
                for (int64_t j = 0; j < keys; ++j) {
                    const auto at = static_cast<size_t>(j);
                    const int64_t distance = j - (i + keys - queries);
                    if (!a.allowed(distance)) {
                        scores[at] = -std::numeric_limits<Real>::infinity();
                        continue;
                    }
                    const int64_t key = a.cu_k[s] + j;
                    Real sum = 0;
                    for (int64_t d = 0; d < a.width; ++d) {
                        sum += q[static_cast<size_t>((row * a.heads + h) * a.width + d)] *
                               k[static_cast<size_t>((key * a.kv_heads + kv) * a.width + d)];
                    }
                    sum *= static_cast<Real>(a.scale);
                    if (a.soft_cap != 0) {
                        bent[at] = std::tanh(sum / static_cast<Real>(a.soft_cap));
                        sum = static_cast<Real>(a.soft_cap) * bent[at];
                    }
                    if (a.buckets > 0) {
                        sum += bias[static_cast<size_t>(a.bucket(distance) * a.heads + h)];
                    }
                    scores[at] = sum;
                }
                body(h, kv, row, int64_t{a.cu_k[s]}, i + keys - queries, scores, bent);
            }
        }
    }
}

// What a plain implementation keeps of weights and of gradients of scores before it multiplies them
// with values, queries and keys: all, or what fits its storage.
struct Exact {
    template <typename Real>
    Real operator()(Real value) const {
        return value;
    }
};

template <typename Real>
std::vector<Real> as(const std::vector<double>& values) {
    return std::vector<Real>(values.begin(), values.end());
}

}  // namespace detail

// keep(value): what goes into products of what has been computed, for a plain implementation in
// narrow storage.
template <typename Real, typename Keep = detail::Exact>
AttentionResult<Real> attention_forward(const Attention& a, const std::vector<double>& q_,
                                        const std::vector<double>& k_,
                                        const std::vector<double>& v_,
                                        const std::vector<double>& bias_,
                                        const Keep& keep = Keep()) {
    const auto q = detail::as<Real>(q_), k = detail::as<Real>(k_), v = detail::as<Real>(v_);
    const auto bias = detail::as<Real>(bias_);
    AttentionResult<Real> result;
    result.out.assign(static_cast<size_t>(a.tq * a.heads * a.value_width), 0);
    result.lse.assign(static_cast<size_t>(a.heads * a.tq), -std::numeric_limits<Real>::infinity());
    detail::each_query<Real>(
        a, q, k, bias,
        [&](int64_t h, int64_t kv, int64_t row, int64_t first_key, int64_t,
            const std::vector<Real>& scores, const std::vector<Real>&) {
            Real most = -std::numeric_limits<Real>::infinity(), total = 0;
            for (Real score : scores) most = std::max(most, score);
            if (std::isinf(most)) return;
            if (!a.sinks.empty()) {
                const auto sink = static_cast<Real>(a.sinks[static_cast<size_t>(h)]);
                most = std::max(most, sink);
                total = std::exp(sink - most);
            }
            for (Real score : scores) total += std::exp(score - most);
            for (size_t j = 0; j < scores.size(); ++j) {
                const Real weight = keep(std::exp(scores[j] - most) / total);
                const int64_t key = first_key + static_cast<int64_t>(j);
                for (int64_t d = 0; d < a.value_width; ++d) {
                    result.out[static_cast<size_t>((row * a.heads + h) * a.value_width + d)] +=
                        weight *
                        v[static_cast<size_t>((key * a.kv_heads + kv) * a.value_width + d)];
                }
            }
            result.lse[static_cast<size_t>(h * a.tq + row)] = most + std::log(total);
        });
    return result;
}

// out_, lse_: as the forward pass stored them. d_bias and d_sinks count from 0.
template <typename Real, typename Keep = detail::Exact>
AttentionResult<Real> attention_backward(
    const Attention& a, const std::vector<double>& q_, const std::vector<double>& k_,
    const std::vector<double>& v_, const std::vector<double>& bias_,
    const std::vector<double>& out_, const std::vector<double>& lse_,
    const std::vector<double>& d_out_, const Keep& keep = Keep()) {
    const auto q = detail::as<Real>(q_), k = detail::as<Real>(k_), v = detail::as<Real>(v_);
    const auto bias = detail::as<Real>(bias_), out = detail::as<Real>(out_);
    const auto lse = detail::as<Real>(lse_), d_out = detail::as<Real>(d_out_);
    AttentionResult<Real> result;
    result.d_q.assign(q.size(), 0);
    result.d_k.assign(k.size(), 0);
    result.d_v.assign(v.size(), 0);
    result.d_bias.assign(bias.size(), 0);
    result.d_sinks.assign(a.sinks.size(), 0);
    detail::each_query<Real>(
        a, q, k, bias,
        [&](int64_t h, int64_t kv, int64_t row, int64_t first_key, int64_t position,
            const std::vector<Real>& scores, const std::vector<Real>& bent) {
            const auto at_q = static_cast<size_t>((row * a.heads + h) * a.width);
            const auto at_out = static_cast<size_t>((row * a.heads + h) * a.value_width);
            Real delta = 0;
            for (size_t d = 0; d < static_cast<size_t>(a.value_width); ++d) {
                delta += d_out[at_out + d] * out[at_out + d];
            }
            const Real row_lse = lse[static_cast<size_t>(h * a.tq + row)];
            if (!a.sinks.empty() && !std::isinf(row_lse)) {
                const auto head = static_cast<size_t>(h);
                result.d_sinks[head] -=
                    std::exp(static_cast<Real>(a.sinks[head]) - row_lse) * delta;
            }
            for (size_t j = 0; j < scores.size(); ++j) {
                if (std::isinf(scores[j])) continue;
                const int64_t key = first_key + static_cast<int64_t>(j);
                const auto at_k = static_cast<size_t>((key * a.kv_heads + kv) * a.width);
                const auto at_v = static_cast<size_t>((key * a.kv_heads + kv) * a.value_width);
                const Real weight = std::exp(scores[j] - row_lse);
                Real d_weight = 0;
                for (size_t d = 0; d < static_cast<size_t>(a.value_width); ++d) {
                    d_weight += d_out[at_out + d] * v[at_v + d];
                    result.d_v[at_v + d] += keep(weight) * d_out[at_out + d];
                }
                Real d_score = weight * (d_weight - delta);
                if (a.buckets > 0) {
                    const int64_t distance = static_cast<int64_t>(j) - position;
                    result.d_bias[static_cast<size_t>(a.bucket(distance) * a.heads + h)] += d_score;
                }
                if (a.soft_cap != 0) d_score *= 1 - bent[j] * bent[j];
                d_score = keep(d_score * static_cast<Real>(a.scale));
                for (size_t d = 0; d < static_cast<size_t>(a.width); ++d) {
                    result.d_q[at_q + d] += d_score * k[at_k + d];
                    result.d_k[at_k + d] += d_score * q[at_q + d];
                }
            }
        });
    return result;
}

}  // namespace reference
