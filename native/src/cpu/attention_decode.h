// Attention of a few queries over many keys, as decoding does: keys and values are read once, in
// their storage, for all queries of all heads that share them. Only for src/cpu.
#pragma once

#include "cpu/attention.h"
#include "cpu/attention_tile.h"
#include "cpu/matmul_rows.h"

namespace caravan {
namespace CARAVAN_ISA {

inline constexpr int64_t kDecodeKeys = 256;  // keys a step

// What the queries of one document and one key/value head have found in a range of keys. Row r is
// query r / group of the document, head r % group of the group.
struct Found {
    float* out;      // [rows][ld], not yet divided by total
    float* largest;  // [rows], of the scores; -infinity where no key was seen
    float* total;    // [rows], sum of exp(score - largest)
    int64_t ld;
};

inline int64_t decode_scratch(const Attention& a, int64_t rows) {
    return rows * (a.width + kDecodeKeys + 2 * padded(a.value_width) + 2) + 128;
}

// x[i] = f(x[i]), by vectors; lanes behind the last element hold `fill`.
template <typename F>
inline void transform(float* x, int64_t n, float fill, const F& f) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(x + i, f(load(x + i)));
    if (i < n) store_part(x + i, f(load_part(x + i, n - i, fill)), n - i);
}

// Scores of one row: soft-cap, bias and mask; exp against the running maximum. Returns the factor
// for what was found before.
inline float decode_weights(const Attention& a, const Document& document, int64_t head,
                            int64_t query, int64_t key, int64_t keys, float* scores, float& largest,
                            float& total) {
    const int64_t position = query + document.shift();
    const int64_t from = std::clamp<int64_t>(position - a.left - key, 0, keys);
    const int64_t to = std::clamp<int64_t>(position + a.right + 1 - key, from, keys);
    if (a.soft_cap != 0) {
        transform(scores, keys, 0,
                  [&](Vec score) { return a.soft_cap * tanh(score / a.soft_cap); });
    }
    std::fill(scores, scores + from, -kInfinity);
    std::fill(scores + to, scores + keys, -kInfinity);
    if (a.bias_table != nullptr) {
        for (int64_t k = from; k < to; ++k) scores[k] += a.bias(key + k - position, head);
    }
    Vec larger = broadcast(largest);
    int64_t k = 0;
    for (; k + kLanes <= keys; k += kLanes) larger = max(load(scores + k), larger);
    if (k < keys) larger = max(load_part(scores + k, keys - k, -kInfinity), larger);
    const float most = reduce_max(larger);
    const float reference = most == -kInfinity ? 0 : most;
    Vec sum = {};
    transform(scores, keys, -kInfinity, [&](Vec score) {
        const Vec weight = exp_weight(score - reference);
        sum += weight;
        return weight;
    });
    const float before = exp_weight(broadcast(largest - reference))[0];
    total = total * before + reduce_add(sum);
    largest = most;
    return before;
}

// q [rows][width], scaled, in float; keys [keys.from, keys.to) of the document.
template <typename T>
void decode(const Attention& a, const Document& document, int64_t kv_head, int64_t rows,
            const float* q, const caravan_tensor& k, const caravan_tensor& v, Range keys,
            Scratch scratch, const Found& found) {
    float* scores = scratch.take(rows * kDecodeKeys);
    float* part = scratch.take(rows * a.value_width);
    std::fill_n(found.largest, rows, -kInfinity);
    std::fill_n(found.total, rows, 0.0f);
    for (int64_t r = 0; r < rows; ++r) std::fill_n(found.out + r * found.ld, a.value_width, 0.0f);

    // Keys [key, key + count) in rows of k and v from `row` on.
    const auto pass = [&](int64_t key, int64_t row, int64_t count) {
        const T* k_rows = head_row<T>(k, row, kv_head);
        const T* v_rows = head_row<T>(v, row, kv_head);
        few_rows<float, T>({q, k_rows, rows, count, a.width, a.width, k.stride[0]}, true, 0, count,
                           scores);
        for (int64_t r = 0; r < rows; ++r) {
            const float before =
                decode_weights(a, document, kv_head * a.group + r % a.group, r / a.group, key,
                               count, scores + r * count, found.largest[r], found.total[r]);
            float* out = found.out + r * found.ld;
            for (int64_t i = 0; i < a.value_width; ++i) out[i] *= before;
        }
        few_rows<float, T>({scores, v_rows, rows, a.value_width, count, count, v.stride[0]}, false,
                           0, a.value_width, part);
        for (int64_t r = 0; r < rows; ++r) {
            float* out = found.out + r * found.ld;
            for (int64_t i = 0; i < a.value_width; ++i) out[i] += part[r * a.value_width + i];
        }
    };
    for (int64_t key = keys.from; key < keys.to; key += kDecodeKeys) {
        a.each_run(document, key, std::min(kDecodeKeys, keys.to - key),
                   [&](int64_t row, int64_t done, int64_t count) { pass(key + done, row, count); });
    }
}

// Adds what was found in later keys.
inline void merge(const Attention& a, int64_t rows, const Found& found, const Found& more) {
    for (int64_t r = 0; r < rows; ++r) {
        const float most = std::max(found.largest[r], more.largest[r]);
        const float reference = most == -kInfinity ? 0 : most;
        const float old = exp_weight(broadcast(found.largest[r] - reference))[0];
        const float fresh = exp_weight(broadcast(more.largest[r] - reference))[0];
        found.largest[r] = most;
        found.total[r] = found.total[r] * old + more.total[r] * fresh;
        float* out = found.out + r * found.ld;
        const float* other = more.out + r * more.ld;
        for (int64_t i = 0; i < a.value_width; ++i) out[i] = out[i] * old + other[i] * fresh;
    }
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
