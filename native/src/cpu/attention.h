// What forward and backward attention share: the problem in plain numbers, its documents, and which
// keys a query may see. Only for src/cpu.
#pragma once

#include <algorithm>

#include "core/attention_plan.h"
#include "core/relative_bias.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {

inline constexpr int64_t kUnlimited = int64_t{1} << 40;

// Rows of queries and keys that belong together.
struct Document {
    int64_t first_query, queries, first_key, keys;
    const int32_t* pages;  // of its keys, or null

    // Position of query 0 minus position of key 0.
    int64_t shift() const { return keys - queries; }
};

struct Range {
    int64_t from, to;  // [from, to); empty when from >= to
};

struct Attention {
    int64_t heads, group, width, value_width;  // group: query heads of one key/value head
    int64_t documents, query_rows, key_rows;
    const int32_t *cu_q, *cu_k;
    float scale, soft_cap;
    int64_t left, right;  // a query at p sees keys at p - left .. p + right
    const float* bias_table;
    int64_t bias_stride, bias_buckets;
    RelativeBuckets buckets;
    const float* sinks;    // of each head, or null
    const int32_t* pages;  // of all documents, or null
    int64_t page_stride, page_rows;

    Document document(int64_t s) const {
        return {cu_q[s], int64_t{cu_q[s + 1]} - cu_q[s], cu_k[s], int64_t{cu_k[s + 1]} - cu_k[s],
                pages == nullptr ? nullptr : pages + s * page_stride};
    }

    // Calls body(row, done, count) for each run of rows of k that holds keys [key, key + keys) of a
    // document; done: how many keys came before.
    template <typename Body>
    void each_run(const Document& document, int64_t key, int64_t keys, const Body& body) const {
        if (document.pages == nullptr) return body(document.first_key + key, 0, keys);
        for (int64_t done = 0; done < keys;) {
            const int64_t inside = (key + done) % page_rows;
            const int64_t count = std::min(page_rows - inside, keys - done);
            body(document.pages[(key + done) / page_rows] * page_rows + inside, done, count);
            done += count;
        }
    }

    // The keys that some query of [first, last] sees, and the queries that see some key.
    Range keys_seen(const Document& document, int64_t first, int64_t last) const {
        return {std::max<int64_t>(first + document.shift() - left, 0),
                std::min(last + document.shift() + right + 1, document.keys)};
    }
    Range queries_seeing(const Document& document, int64_t first, int64_t last) const {
        return {std::max<int64_t>(first - document.shift() - right, 0),
                std::min(last - document.shift() + left + 1, document.queries)};
    }

    float bias(int64_t distance, int64_t head) const {
        return bias_table[buckets.of(distance) * bias_stride + head];
    }
};

// From the arguments of either direction, without pages.
template <typename Args>
Attention attention_of(const Args& args) {
    Attention a = {};
    a.heads = args.q.shape[1];
    a.group = args.k.shape[1] > 0 ? a.heads / args.k.shape[1] : 1;
    a.width = args.q.shape[2];
    a.value_width = args.v.shape[2];
    a.documents = args.cu_q.shape[0] - 1;
    a.query_rows = args.q.shape[0];
    a.key_rows = args.k.shape[0];
    a.cu_q = data<int32_t>(args.cu_q);
    a.cu_k = data<int32_t>(args.cu_k);
    a.scale = args.scale;
    a.soft_cap = args.soft_cap;
    a.left = args.window_left < 0 ? kUnlimited : args.window_left;
    a.right = args.window_right < 0 ? kUnlimited : args.window_right;
    if (args.causal != 0) a.right = 0;
    if (args.bias_table.data != nullptr) {
        a.bias_table = data<float>(args.bias_table);
        a.bias_stride = args.bias_table.stride[0];
        a.bias_buckets = args.bias_table.shape[0];
        a.buckets =
            RelativeBuckets(a.bias_buckets, args.bias_bidirectional != 0, args.bias_max_distance);
    }
    a.sinks = data<float>(args.sinks);
    return a;
}

// The pieces of `step` rows that documents are cut into, counted over all of them.
struct Piece {
    int64_t document, index;  // index: which piece of the document
};

template <typename Rows>
int64_t pieces(int64_t documents, int64_t step, const Rows& rows) {
    int64_t count = 0;
    for (int64_t s = 0; s < documents; ++s) count += (rows(s) + step - 1) / step;
    return count;
}

template <typename Rows>
Piece find_piece(int64_t piece, int64_t step, const Rows& rows) {
    for (int64_t s = 0;; ++s) {
        const int64_t count = (rows(s) + step - 1) / step;
        if (piece < count) return {s, piece};
        piece -= count;
    }
}

// Where row `row` of head `head` of a [T, heads, width] tensor begins.
template <typename T>
T* head_row(const caravan_tensor& tensor, int64_t row, int64_t head) {
    return data<T>(tensor) + row * tensor.stride[0] + head * tensor.stride[1];
}

// Parts of a thread's scratch, in turn.
class Scratch {
  public:
    explicit Scratch(void* memory) : next_(static_cast<float*>(memory)) {}
    float* take(int64_t floats) {
        float* taken = next_;
        next_ += (floats + 15) / 16 * 16;
        return taken;
    }

  private:
    float* next_;
};

}  // namespace CARAVAN_ISA
}  // namespace caravan
