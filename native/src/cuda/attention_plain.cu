// The plain route of attention: every feature, width and storage, float32 arithmetic. Each block
// owns what it writes, so the order of every sum is fixed.
//
// Forward: a block for each tile of queries, head and 128 columns of out; scores are computed anew
// for each 128. Backward: delta = rows' sum of d_out * out; then d_q by blocks of the same kind;
// then d_k and d_v by blocks for each tile of keys, key/value head and 128 columns, over all
// queries and query heads that see it. Sources: Dao et al. 2022, arXiv 2205.14135, algorithms 1 and
// 4; Dao 2023, arXiv 2307.08691.
#include "cuda/attention.h"
#include "cuda/attention_plain.cuh"

namespace caravan {
namespace cuda {
namespace {

using namespace plain;

template <typename T>
struct Forward {
    AttentionRules rules;
    Heads<const T> q, k, v;
    Heads<T> out;
    float* lse;  // null where it is not wanted
    int64_t lse_stride;
};

template <typename T>
struct Backward {
    AttentionRules rules;
    Heads<const T> q, k, v, out, d_out;
    Heads<T> d_q, d_k, d_v;
    const float* lse;
    int64_t lse_stride;
    float* delta;      // [heads, query rows]
    float* bias_sums;  // [slots, heads, buckets]
};

template <typename T>
__global__ void __launch_bounds__(kThreads) attention_plain_fwd_kernel(Forward<T> a) {
    const AttentionRules& rules = a.rules;
    const int64_t slot = gridDim.x - 1 - blockIdx.x;  // the last tiles of a document see most keys
    const int64_t head = blockIdx.y, kv_head = head / rules.group;
    const int64_t first = int64_t{blockIdx.z} * kColumns;
    const bool first_columns = blockIdx.z == 0;
    if (!documents_hold(rules)) {
        spoil(a.out, slot, rules.query_rows, head, first, rules.value_width);
        if (a.lse != nullptr && first_columns && threadIdx.x < kTile) {
            const int64_t row = slot * kTile + threadIdx.x;
            if (row < rules.query_rows) a.lse[head * a.lse_stride + row] = NAN;
        }
        return;
    }
    const DocumentTile document = find_tile<Side::kQueries>(rules, slot, kTile);
    if (document.begin >= document.queries) return;
    const Arrays arrays;
    const int64_t row = document.first_query + document.begin;
    const int64_t rows = document.queries - document.begin;
    const Rows<T> q = rows_of(a.q, row, head, rows);
    const Span keys = keys_seen(rules, document, document.begin, document.begin + q.rows);

    OutputTile sums;
    clear(sums);
    float most[kEach], total[kEach];  // of a row's scores, and of their exponentials below it
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
        most[i] = -INFINITY;
        total[i] = 0;
    }
    for (int64_t key = keys.from / kTile * kTile; key < keys.to; key += kTile) {
        const ScoreRules tile_rules = {rules, document, document.begin, key};
        tile_rules.prepare(arrays, head);
        const int key_rows = static_cast<int>(min(document.keys - key, int64_t{kTile}));
        ScoreTile scores;
        multiply(scores, q, DocumentRows<T>{rules, document, a.k, kv_head, key, key_rows},
                 rules.width, arrays.staging);
#pragma unroll
        for (int i = 0; i < kEach; ++i) {
            float highest = most[i];
#pragma unroll
            for (int j = 0; j < kEach; ++j) {
                float slope;
                const float score = tile_rules.score(scores[i][j], arrays, i, j, slope);
                scores[i][j] = tile_rules.allowed(i, j) ? score : -INFINITY;
                highest = tile::Max{}(highest, scores[i][j]);
            }
            highest = tile::warp_reduce<kAcross>(highest, tile::Max{});
            const float base = highest == -INFINITY ? 0.0f : highest;
            const float shrink = expf(most[i] - base);
            float sum = 0;
#pragma unroll
            for (int j = 0; j < kEach; ++j) {
                const float weight = expf(scores[i][j] - base);
                sum += weight;
                arrays.scores[score_row(i) * kScoreStride + score_column(j)] = weight;
            }
            total[i] = total[i] * shrink + tile::warp_sum<kAcross>(sum);
            most[i] = highest;
#pragma unroll
            for (int c = 0; c < kEachColumns; ++c) sums[i][c] *= shrink;
        }
        accumulate<Weights::kRows>(sums,
                                   DocumentRows<T>{rules, document, a.v, kv_head, key, key_rows},
                                   first, rules.value_width, arrays);
    }
    float factor[kEach], lse[kEach];
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
        factor[i] = most[i] == -INFINITY ? 0.0f : 1 / total[i];
        lse[i] = most[i] == -INFINITY ? -INFINITY : most[i] + logf(total[i]);
        if (rules.sinks == nullptr || most[i] == -INFINITY) continue;
        const float sink = rules.sinks[head];
        const float next = tile::Max{}(most[i], sink);
        const float shrink = expf(most[i] - next);
        const float all = total[i] * shrink + expf(sink - next);
        factor[i] = shrink / all;
        lse[i] = next + logf(all);
    }
    store<Weights::kRows>(sums, a.out.at(row, head), a.out.row, rows, first, rules.value_width,
                          [&](int i) { return factor[i]; });
    if (a.lse != nullptr && first_columns && threadIdx.x % kAcross == 0) {
#pragma unroll
        for (int i = 0; i < kEach; ++i) {
            if (score_row(i) >= rows) continue;
            a.lse[head * a.lse_stride + row + score_row(i)] = lse[i];
        }
    }
}

// A row's statistics; a row that sees no key has lse -infinity, and 0 for what it would read.
struct RowStatistics {
    float lse[kEach], delta[kEach];

    template <typename T>
    __device__ __forceinline__ void load(const Backward<T>& a, int64_t row, int64_t rows,
                                         int64_t head) {
#pragma unroll
        for (int i = 0; i < kEach; ++i) {
            const bool there = score_row(i) < rows;
            const int64_t at = row + score_row(i);
            lse[i] = there ? a.lse[head * a.lse_stride + at] : -INFINITY;
            delta[i] = there ? a.delta[head * a.rules.query_rows + at] : 0.0f;
        }
    }
};

// The gradient of the scores of one tile, before the cap, in d_scores; their weights in scores,
// the slopes of the cap in slopes.
template <typename T>
__device__ __forceinline__ void score_gradients(const ScoreRules& rules, const Rows<T>& q,
                                                const Rows<T>& k, const Rows<T>& d_out,
                                                const Rows<T>& v, const RowStatistics& rows,
                                                const Arrays& arrays, ScoreTile& scores,
                                                ScoreTile& d_scores, ScoreTile& slopes) {
    multiply(scores, q, k, rules.rules.width, arrays.staging);
    multiply(d_scores, d_out, v, rules.rules.value_width, arrays.staging);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) {
            const float score = rules.score(scores[i][j], arrays, i, j, slopes[i][j]);
            const bool counts = rules.allowed(i, j) && rows.lse[i] != -INFINITY;
            scores[i][j] = counts ? expf(score - rows.lse[i]) : 0.0f;
            d_scores[i][j] = counts ? scores[i][j] * (d_scores[i][j] - rows.delta[i]) : 0.0f;
        }
    }
}

// Puts a tile where accumulate() reads it; `factor` by slope.
__device__ __forceinline__ void put(const Arrays& arrays, const ScoreTile& scores, float factor,
                                    const ScoreTile& slopes) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) {
            arrays.scores[score_row(i) * kScoreStride + score_column(j)] =
                scores[i][j] * factor * slopes[i][j];
        }
    }
}

// Adds the gradients in arrays.scores to the sums of their buckets, along diagonals of one distance
// first. Thread b owns bucket b.
__device__ __forceinline__ void add_bias_sums(const Arrays& arrays, int64_t buckets, float* sums) {
    __syncthreads();
    for (int i = threadIdx.x; i < kDistances; i += kThreads) {
        const int distance = i - (kTile - 1);  // column less row
        float sum = 0;
        for (int r = max(0, -distance); r < min(kTile, kTile - distance); ++r) {
            sum += arrays.scores[r * kScoreStride + r + distance];
        }
        arrays.diagonal[i] = sum;
    }
    __syncthreads();
    for (int64_t b = threadIdx.x; b < buckets; b += kThreads) {
        float sum = 0;
        for (int i = 0; i < kDistances; ++i) {
            if (arrays.buckets[i] == b) sum += arrays.diagonal[i];
        }
        sums[b] += sum;
    }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) attention_plain_bwd_q_kernel(Backward<T> a) {
    const AttentionRules& rules = a.rules;
    const int64_t slot = gridDim.x - 1 - blockIdx.x;
    const int64_t head = blockIdx.y, kv_head = head / rules.group;
    const int64_t first = int64_t{blockIdx.z} * kColumns;
    const bool holds = documents_hold(rules);
    float* bias_sums = nullptr;  // for the first columns alone
    if (rules.bias_table != nullptr && blockIdx.z == 0) {
        bias_sums = a.bias_sums + (slot * rules.heads + head) * rules.bias_buckets;
        for (int64_t b = threadIdx.x; b < rules.bias_buckets; b += kThreads) {
            bias_sums[b] = holds ? 0.0f : NAN;
        }
    }
    if (!holds) {
        spoil(a.d_q, slot, rules.query_rows, head, first, rules.width);
        return;
    }
    const DocumentTile document = find_tile<Side::kQueries>(rules, slot, kTile);
    if (document.begin >= document.queries) return;
    const Arrays arrays;
    const int64_t row = document.first_query + document.begin;
    const int64_t rows = document.queries - document.begin;
    const Rows<T> q = rows_of(a.q, row, head, rows), d_out = rows_of(a.d_out, row, head, rows);
    const Span keys = keys_seen(rules, document, document.begin, document.begin + q.rows);
    RowStatistics statistics;
    statistics.load(a, row, rows, head);
    OutputTile sums;
    clear(sums);
    for (int64_t key = keys.from / kTile * kTile; key < keys.to; key += kTile) {
        const ScoreRules tile_rules = {rules, document, document.begin, key};
        tile_rules.prepare(arrays, head);
        const int64_t key_row = document.first_key + key, key_rows = document.keys - key;
        const Rows<T> k = rows_of(a.k, key_row, kv_head, key_rows);
        ScoreTile scores, d_scores, slopes;
        score_gradients(tile_rules, q, k, d_out, rows_of(a.v, key_row, kv_head, key_rows),
                        statistics, arrays, scores, d_scores, slopes);
        if (bias_sums != nullptr) {
            const ScoreTile ones = {{1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}};
            put(arrays, d_scores, 1, ones);
            add_bias_sums(arrays, rules.bias_buckets, bias_sums);
        }
        put(arrays, d_scores, rules.scale, slopes);
        accumulate<Weights::kRows>(sums, k, first, rules.width, arrays);
    }
    store<Weights::kRows>(sums, a.d_q.at(row, head), a.d_q.row, rows, first, rules.width,
                          [](int) { return 1.0f; });
}

template <typename T>
__global__ void __launch_bounds__(kThreads) attention_plain_bwd_kv_kernel(Backward<T> a) {
    const AttentionRules& rules = a.rules;
    const int64_t slot = blockIdx.x;  // the first keys of a document are seen by most queries
    const int64_t kv_head = blockIdx.y;
    const int64_t first = int64_t{blockIdx.z} * kColumns;
    if (!documents_hold(rules)) {
        spoil(a.d_k, slot, rules.key_rows, kv_head, first, rules.width);
        spoil(a.d_v, slot, rules.key_rows, kv_head, first, rules.value_width);
        return;
    }
    const DocumentTile document = find_tile<Side::kKeys>(rules, slot, kTile);
    if (document.begin >= document.keys) return;
    const Arrays arrays;
    const int64_t row = document.first_key + document.begin;
    const int64_t rows = document.keys - document.begin;
    const Rows<T> k = rows_of(a.k, row, kv_head, rows), v = rows_of(a.v, row, kv_head, rows);
    const Span queries = queries_seeing(rules, document, document.begin, document.begin + k.rows);
    OutputTile k_sums, v_sums;
    clear(k_sums);
    clear(v_sums);
    for (int64_t head = kv_head * rules.group; head < (kv_head + 1) * rules.group; ++head) {
        for (int64_t query = queries.from / kTile * kTile; query < queries.to; query += kTile) {
            const ScoreRules tile_rules = {rules, document, query, document.begin};
            tile_rules.prepare(arrays, head);
            const int64_t query_row = document.first_query + query;
            const int64_t query_rows = document.queries - query;
            const Rows<T> q = rows_of(a.q, query_row, head, query_rows);
            const Rows<T> d_out = rows_of(a.d_out, query_row, head, query_rows);
            RowStatistics statistics;
            statistics.load(a, query_row, query_rows, head);
            ScoreTile scores, d_scores, slopes;
            score_gradients(tile_rules, q, k, d_out, v, statistics, arrays, scores, d_scores,
                            slopes);
            const ScoreTile ones = {{1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}};
            put(arrays, scores, 1, ones);
            accumulate<Weights::kTransposed>(v_sums, d_out, first, rules.value_width, arrays);
            __syncthreads();  // the weights may still be read
            put(arrays, d_scores, rules.scale, slopes);
            accumulate<Weights::kTransposed>(k_sums, q, first, rules.width, arrays);
        }
    }
    const auto as_is = [](int) { return 1.0f; };
    store<Weights::kTransposed>(k_sums, a.d_k.at(row, kv_head), a.d_k.row, rows, first, rules.width,
                                as_is);
    store<Weights::kTransposed>(v_sums, a.d_v.at(row, kv_head), a.d_v.row, rows, first,
                                rules.value_width, as_is);
}

unsigned grid_extent(int64_t count) { return static_cast<unsigned>(count); }

int64_t column_blocks(int64_t columns) { return (columns + kColumns - 1) / kColumns; }

tile::Config grid(int64_t slots, int64_t heads, int64_t columns) {
    return {dim3(grid_extent(slots), grid_extent(heads), grid_extent(column_blocks(columns))),
            dim3(kThreads), Arrays::bytes(), 1};
}

}  // namespace

void attention_plain_forward(tile::Launcher& launcher, const caravan_attention_forward_args& args) {
    with_storage(args.q.dtype, [&](auto* tag) {
        using T = StorageOf<decltype(tag)>;
        Forward<T> a = {};
        a.rules = attention_forward_rules(args);
        a.q = heads_of<const T>(args.q);
        a.k = heads_of<const T>(args.k);
        a.v = heads_of<const T>(args.v);
        a.out = heads_of<T>(args.out);
        a.lse = data<float>(args.lse);
        a.lse_stride = row_stride(args.lse);
        const AttentionRules& rules = a.rules;
        const int64_t slots = attention_slots(rules.query_rows, rules.documents, kTile);
        launcher.run(attention_plain_fwd_kernel<T>, grid(slots, rules.heads, rules.value_width), a);
    });
}

AttentionLeft attention_plain_backward(tile::Launcher& launcher,
                                       const caravan_attention_backward_args& args) {
    AttentionLeft left = {};
    with_storage(args.q.dtype, [&](auto* tag) {
        using T = StorageOf<decltype(tag)>;
        Backward<T> a = {};
        a.rules = attention_rules(args);
        const AttentionRules& rules = a.rules;
        a.q = heads_of<const T>(args.q);
        a.k = heads_of<const T>(args.k);
        a.v = heads_of<const T>(args.v);
        a.out = heads_of<const T>(args.out);
        a.d_out = heads_of<const T>(args.d_out);
        a.d_q = heads_of<T>(args.d_q);
        a.d_k = heads_of<T>(args.d_k);
        a.d_v = heads_of<T>(args.d_v);
        a.lse = data<float>(args.lse);
        a.lse_stride = row_stride(args.lse);
        a.delta = data<float>(args.workspace);
        a.bias_sums = a.delta + plan_cuda_attention_backward(args).deltas;
        attention_deltas(launcher, args, false);
        const int64_t query_slots = attention_slots(rules.query_rows, rules.documents, kTile);
        const int64_t key_slots = attention_slots(rules.key_rows, rules.documents, kTile);
        launcher.run(attention_plain_bwd_q_kernel<T>, grid(query_slots, rules.heads, rules.width),
                     a);
        launcher.run(
            attention_plain_bwd_kv_kernel<T>,
            grid(key_slots, rules.heads / rules.group, std::max(rules.width, rules.value_width)),
            a);
        left.bias_slots = query_slots;
    });
    return left;
}

}  // namespace cuda
}  // namespace caravan
