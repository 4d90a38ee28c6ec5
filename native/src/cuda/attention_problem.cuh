// Attention in plain numbers, as its kernels take it, and the cutting of documents into tiles.
#pragma once

#include "caravan/caravan.h"
#include "core/attention_plan.h"
#include "core/relative_bias.h"
#include "cuda/tensors.h"
#include "cuda/tile/arch.cuh"

namespace caravan {
namespace cuda {

// A [rows, heads, width] tensor.
template <typename T>
struct Heads {
    T* data;
    int64_t row, head;  // strides in elements

    __device__ __forceinline__ T* at(int64_t r, int64_t h) const {
        return data + r * row + h * head;
    }
};

template <typename T>
Heads<T> heads_of(const caravan_tensor& tensor) {
    return {data<T>(tensor), tensor.stride[0], tensor.stride[1]};
}

// What holds for every tile, whatever the storage.
struct AttentionRules {
    const int32_t *cu_q, *cu_k;
    int32_t documents;
    int32_t heads, group;  // group: query heads of one key/value head
    int32_t width, value_width;
    int64_t query_rows, key_rows;
    int64_t left, right;  // a query at p sees keys at p - left .. p + right
    float scale, soft_cap;
    const float* bias_table;  // null for none
    int64_t bias_stride;
    int32_t bias_buckets;
    RelativeBuckets buckets;
    const float* sinks;    // of each head; null for none
    const int32_t* pages;  // [documents, pages_listed]; null for none
    int64_t page_stride;
    int32_t pages_listed, page_rows, pages_there;
};

// keys: most of a document.
template <typename Args>
AttentionRules attention_rules(const Args& args, int64_t keys) {
    AttentionRules rules = {};
    rules.cu_q = data<int32_t>(args.cu_q);
    rules.cu_k = data<int32_t>(args.cu_k);
    rules.documents = static_cast<int32_t>(args.cu_q.shape[0] - 1);
    rules.heads = static_cast<int32_t>(args.q.shape[1]);
    rules.group = static_cast<int32_t>(args.q.shape[1] / args.k.shape[1]);
    rules.width = static_cast<int32_t>(args.q.shape[2]);
    rules.value_width = static_cast<int32_t>(args.v.shape[2]);
    rules.query_rows = args.q.shape[0];
    rules.key_rows = args.k.shape[0];
    // Farther than any key, and with any position still 32 bits where those are enough for all
    // rows.
    const int64_t unlimited = rules.query_rows + keys;
    const auto limit = [&](int32_t window) {
        return window < 0 || window > unlimited ? unlimited : int64_t{window};
    };
    rules.left = limit(args.window_left);
    rules.right = limit(args.window_right);
    if (args.causal != 0) rules.right = 0;
    rules.scale = args.scale;
    rules.soft_cap = args.soft_cap;
    if (args.bias_table.data != nullptr) {
        rules.bias_table = data<float>(args.bias_table);
        rules.bias_stride = args.bias_table.stride[0];
        rules.bias_buckets = static_cast<int32_t>(args.bias_table.shape[0]);
        rules.buckets = RelativeBuckets(rules.bias_buckets, args.bias_bidirectional != 0,
                                        args.bias_max_distance);
    }
    rules.sinks = data<float>(args.sinks);
    return rules;
}

template <typename Args>
AttentionRules attention_rules(const Args& args) {
    return attention_rules(args, args.k.shape[0]);
}

// The same of a forward pass, whose keys may lie in pages; documents may then share them.
inline AttentionRules attention_forward_rules(const caravan_attention_forward_args& args) {
    if (args.pages.data == nullptr) return attention_rules(args);
    AttentionRules rules = attention_rules(args, args.pages.shape[1] * args.page_rows);
    rules.key_rows = INT32_MAX;
    rules.pages = data<int32_t>(args.pages);
    rules.page_stride = args.pages.stride[0];
    rules.pages_listed = static_cast<int32_t>(args.pages.shape[1]);
    rules.page_rows = args.page_rows;
    rules.pages_there = static_cast<int32_t>(args.k.shape[0] / args.page_rows);
    return rules;
}

// [from, to); empty when from >= to
struct Span {
    int64_t from, to;
};

// A document and where a tile of it begins, in rows of the document. Its rows lie within the
// tensors whatever the offsets in memory hold.
struct DocumentTile {
    int64_t first_query, queries, first_key, keys;
    int64_t begin;
    int64_t number;  // of the document

    // Position of query 0 minus position of key 0.
    __device__ __forceinline__ int64_t shift() const { return keys - queries; }
};

// The keys that some query of [from, to) sees.
__device__ __forceinline__ Span keys_seen(const AttentionRules& rules, const DocumentTile& tile,
                                          int64_t from, int64_t to) {
    return {max(from + tile.shift() - rules.left, int64_t{0}),
            min(to + tile.shift() + rules.right, tile.keys)};
}

// The queries that see some key of [from, to).
__device__ __forceinline__ Span queries_seeing(const AttentionRules& rules,
                                               const DocumentTile& tile, int64_t from, int64_t to) {
    return {max(from - tile.shift() - rules.right, int64_t{0}),
            min(to - tile.shift() + rules.left, tile.queries)};
}

// Border s of the documents, within the rows that there are.
__device__ __forceinline__ int64_t border(const int32_t* cu, int64_t s, int64_t rows) {
    const int64_t value = cu[s];
    return value < 0 ? 0 : value > rows ? rows : value;
}

enum class Side { kQueries, kKeys };

// The tile of slot `slot`, of documents whose queries or keys are cut every `step` rows. With
// borders cu of that side, document s has the slots from cu[s] / step + s on: enough for its tiles,
// so the number of slots follows from shapes alone (attention_slots) and the document is found by
// halving. Rows behind the last document count as one more. `begin` may lie past the end: then the
// slot is empty. each: how many of the rows that are cut a query or key stands for.
template <Side kSide>
__device__ __forceinline__ DocumentTile find_tile(const AttentionRules& rules, int64_t slot,
                                                  int64_t step, int64_t each = 1) {
    const int32_t* cu = kSide == Side::kQueries ? rules.cu_q : rules.cu_k;
    const int64_t rows = kSide == Side::kQueries ? rules.query_rows : rules.key_rows;
    int64_t low = 0, high = rules.documents;  // the document is in [low, high]
    while (low < high) {
        const int64_t middle = (low + high + 1) / 2;
        if (border(cu, middle, rows) * each / step + middle <= slot) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    DocumentTile tile;
    tile.first_query = border(rules.cu_q, low, rules.query_rows);
    tile.first_key = border(rules.cu_k, low, rules.key_rows);
    if (low < rules.documents) {
        tile.queries = border(rules.cu_q, low + 1, rules.query_rows) - tile.first_query;
        tile.keys = border(rules.cu_k, low + 1, rules.key_rows) - tile.first_key;
    } else {  // what is outside every document sees nothing and is not seen
        tile.queries = kSide == Side::kQueries ? rules.query_rows - tile.first_query : 0;
        tile.keys = kSide == Side::kKeys ? rules.key_rows - tile.first_key : 0;
    }
    tile.begin = (slot - border(cu, low, rows) * each / step - low) * step;
    tile.number = low;
    return tile;
}

// The document whose query `row` is; `documents` for a row outside all.
__device__ __forceinline__ int64_t document_of_row(const AttentionRules& rules, int64_t row) {
    int64_t low = 0, high = rules.documents;
    while (low < high) {
        const int64_t middle = (low + high + 1) / 2;
        if (border(rules.cu_q, middle, rules.query_rows) <= row) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

// The row of k and v that holds a document's key, of those that it has; -1 where its page is none.
__device__ __forceinline__ int64_t row_of_key(const AttentionRules& rules,
                                              const DocumentTile& document, int64_t key) {
    if (rules.pages == nullptr) return document.first_key + key;
    const int64_t at = key / rules.page_rows;
    const int32_t page = rules.pages[document.number * rules.page_stride + at];
    if (page < 0 || page >= rules.pages_there) return -1;
    return int64_t{page} * rules.page_rows + (key - at * rules.page_rows);
}

// Whether the offsets ascend from 0 and end within the rows; every thread of the block asks.
__device__ __forceinline__ bool documents_hold(const AttentionRules& rules) {
    bool holds = true;
    for (int64_t s = threadIdx.x; s <= rules.documents; s += blockDim.x) {
        const bool last = s == rules.documents;
        const int64_t q = rules.cu_q[s], k = rules.cu_k[s];
        holds &= q <= (last ? rules.query_rows : rules.cu_q[s + 1]);
        holds &= k <= (last ? rules.key_rows : rules.cu_k[s + 1]);
        if (s == 0) holds &= q == 0 && k == 0;
        if (rules.pages != nullptr && !last) {
            holds &= rules.cu_k[s + 1] - k <= int64_t{rules.pages_listed} * rules.page_rows;
        }
    }
    return __syncthreads_and(holds) != 0;
}

}  // namespace cuda
}  // namespace caravan
