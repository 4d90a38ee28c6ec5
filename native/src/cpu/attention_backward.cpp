// Attention backward. With P the soft-max weights (from the stored log-sum-exp), S the capped
// scores and delta_i = d_out_i . out_i:
//   dV = P^T dO     dP = dO V^T     dS = P * (dP - delta), times the slope of the soft-cap
//   dQ = scale dS K     dK = scale dS^T Q     d_bias[bucket] = sum of P * (dP - delta)
//   d_sink = -sum of exp(sink - lse) * delta
// A task owns a run of keys of one key/value head: it keeps their d_k and d_v in scratch while it
// goes over the queries of all heads that share them, in a fixed order. A document of several such
// runs has a copy of d_q for each, added up in order at the end.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "cpu/attention.h"
#include "cpu/attention_scores.h"
#include "cpu/attention_tile.h"
#include "cpu/kernels.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

using Args = caravan_attention_backward_args;

AttentionBackwardPlan plan_of(const Attention& a) {
    return plan_attention_backward(a.query_rows, a.key_rows, a.heads, a.heads / a.group, a.width,
                                   a.value_width, a.documents, a.bias_buckets);
}

// What a task holds of a tile of queries, of one head.
struct Queries {
    float *q, *d_out;                // [queries][padded width]
    float *q_turned, *d_out_turned;  // [width][kTileQueries]; q scaled
    float* d_q;                      // [queries][padded width]
    float* lse;                      // [kTileQueries]; +infinity where the weights must be 0
    float* delta;                    // [kTileQueries]
};

// What it holds of its keys.
struct Keys {
    float *k, *v, *d_k, *d_v;  // [keys][padded width]
};

// The sum of the products of n elements: of a stored row, and of one in float or stored.
template <typename T, typename U>
float dot(const T* x, const U* y, int64_t n) {
    Vec sum = {};
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) sum += load(x + i) * load(y + i);
    if (i < n) sum += load_part(x + i, n - i) * load_part(y + i, n - i);
    return reduce_add(sum);
}

template <typename T>
void load_queries(const Attention& a, const Args& args, const Document& document, int64_t head,
                  int64_t query, int64_t queries, const Queries& to) {
    const int64_t row = document.first_query + query;
    const T* q = head_row<T>(args.q, row, head);
    const T* out = head_row<T>(args.out, row, head);
    const T* d_out = head_row<T>(args.d_out, row, head);
    const int64_t value_ld = padded(a.value_width);
    copy_padded(StoredRows<T>{q, args.q.stride[0]}, 0, queries, 0, a.width, to.q, padded(a.width));
    copy_padded(StoredRows<T>{d_out, args.d_out.stride[0]}, 0, queries, 0, a.value_width, to.d_out,
                value_ld);
    copy_transposed(q, args.q.stride[0], queries, a.width, a.scale, to.q_turned);
    copy_transposed(d_out, args.d_out.stride[0], queries, a.value_width, 1, to.d_out_turned);
    const float* lse = data<float>(args.lse) + head * args.lse.stride[0] + row;
    for (int64_t i = 0; i < kTileQueries; ++i) {
        to.lse[i] = i < queries && lse[i] != -kInfinity ? lse[i] : kInfinity;
        to.delta[i] = 0;
    }
    for (int64_t i = 0; i < queries; ++i) {
        to.delta[i] = dot(out + i * args.out.stride[0], to.d_out + i * value_ld, a.value_width);
    }
}

// scores -> weights, d_weights -> gradients of the scaled products; the sums of the gradients of
// the biases go to `diagonals` (laid out as ScoreTile::diagonal) when there are any.
template <bool kPlain>
void score_gradients(const ScoreTile& tile, float scale, const Queries& queries, float* scores,
                     float* d_weights, float* diagonals) {
    for (int64_t c = 0; c < kTileQueries; c += kLanes) {
        const VecI lane = lane_numbers() + static_cast<int32_t>(c);
        const Vec lse = load(queries.lse + c);
        const Vec delta = load(queries.delta + c);
        for (int64_t k = 0; k < tile.keys; ++k) {
            const int64_t at = k * kTileQueries + c;
            Vec score = load(scores + at), slope = broadcast(scale);
            if (!kPlain) {
                if (tile.soft_cap != 0) {
                    const Vec bent = tanh(score / tile.soft_cap);
                    score = tile.soft_cap * bent;
                    slope *= 1.0f - bent * bent;
                }
                if (tile.diagonal != nullptr) {
                    score += load(tile.diagonal + ScoreTile::diagonal_row(k) + c);
                }
            }
            Vec weight = exp_weight(score - lse);
            Vec gradient = weight * (load(d_weights + at) - delta);
            if (!kPlain) {
                if (tile.masked) {
                    const VecI seen = allowed(tile, lane, k);
                    weight = seen ? weight : Vec{};
                    gradient = seen ? gradient : Vec{};
                }
                if (diagonals != nullptr) {
                    float* diagonal = diagonals + ScoreTile::diagonal_row(k) + c;
                    store(diagonal, load(diagonal) + gradient);
                }
            }
            store(scores + at, weight);
            store(d_weights + at, gradient * slope);
        }
    }
}

// Adds the sums of a tile's diagonals to the buckets of its head.
void add_diagonals(const Attention& a, const Document& document, const ScoreTile& tile,
                   const float* diagonals, float* d_bias) {
    const int64_t corner = tile.key - tile.query - document.shift() + kTileKeys - 1;
    for (int64_t e = 0; e < kDiagonals - 1; ++e) d_bias[a.buckets.of(corner - e)] += diagonals[e];
}

// The run of keys [from, from + count) of a document, for one key/value head.
template <typename T>
void backward_keys(const Attention& a, const Args& args, const Document& document, int64_t kv_head,
                   int64_t from, int64_t count, float* query_sums, float* bias_sums,
                   Scratch scratch) {
    const int64_t ld = padded(a.width), value_ld = padded(a.value_width);
    const int64_t row = document.first_key + from;
    const Keys keys = {scratch.take(count * ld), scratch.take(count * value_ld),
                       scratch.take(count * ld), scratch.take(count * value_ld)};
    const StoredRows<T> k = {head_row<T>(args.k, row, kv_head), args.k.stride[0]};
    const StoredRows<T> v = {head_row<T>(args.v, row, kv_head), args.v.stride[0]};
    copy_padded(k, 0, count, 0, a.width, keys.k, ld);
    copy_padded(v, 0, count, 0, a.value_width, keys.v, value_ld);
    std::fill_n(keys.d_k, count * ld, 0.0f);
    std::fill_n(keys.d_v, count * value_ld, 0.0f);
    const Queries queries = {scratch.take(kTileQueries * ld),
                             scratch.take(kTileQueries * value_ld),
                             scratch.take(kTileQueries * a.width),
                             scratch.take(kTileQueries * a.value_width),
                             scratch.take(kTileQueries * ld),
                             scratch.take(kTileQueries),
                             scratch.take(kTileQueries)};
    float* scores = scratch.take(kTileKeys * kTileQueries);
    float* d_weights = scratch.take(kTileKeys * kTileQueries);
    float* diagonal = scratch.take(kDiagonals);
    float* diagonals = a.bias_table == nullptr ? nullptr : scratch.take(kDiagonals);

    for (int64_t g = 0; g < a.group; ++g) {
        const int64_t head = kv_head * a.group + g;
        const Range seeing = a.queries_seeing(document, from, from + count - 1);
        for (int64_t query = 0; query < document.queries; query += kTileQueries) {
            const int64_t rows = std::min(kTileQueries, document.queries - query);
            std::fill_n(queries.d_q, kTileQueries * ld, 0.0f);
            if (query < seeing.to && query + rows > seeing.from) {
                load_queries<T>(a, args, document, head, query, rows, queries);
                const Range seen = a.keys_seen(document, query, query + rows - 1);
                const int64_t first = std::max(seen.from, from) / kTileKeys * kTileKeys;
                for (int64_t key = first; key < std::min(seen.to, from + count); key += kTileKeys) {
                    const int64_t n = std::min(kTileKeys, from + count - key);
                    const int64_t at = key - from;
                    ScoreTile tile = score_tile(a, document, query, rows, key, n);
                    if (a.bias_table != nullptr) {
                        set_diagonal(a, document, head, diagonal, tile);
                        std::fill_n(diagonals, kDiagonals, 0.0f);
                    }
                    const float* k = keys.k + at * ld;
                    score_product(n, a.width, {k, ld, 1}, queries.q_turned, scores, tile.band);
                    score_product(n, a.value_width, {keys.v + at * value_ld, value_ld, 1},
                                  queries.d_out_turned, d_weights, tile.band);
                    if (tile.plain()) {
                        score_gradients<true>(tile, a.scale, queries, scores, d_weights, nullptr);
                    } else {
                        score_gradients<false>(tile, a.scale, queries, scores, d_weights,
                                               diagonals);
                    }
                    if (diagonals != nullptr) {
                        add_diagonals(a, document, tile, diagonals, bias_sums + g * a.bias_buckets);
                    }
                    product<Into::kAdd>(n, value_ld / kLanes, rows, {scores, kTileQueries, 1},
                                        queries.d_out, value_ld, keys.d_v + at * value_ld, value_ld,
                                        tile.band);
                    product<Into::kAdd>(n, ld / kLanes, rows, {d_weights, kTileQueries, 1},
                                        queries.q, ld, keys.d_k + at * ld, ld, tile.band);
                    product<Into::kAdd>(rows, ld / kLanes, n, {d_weights, 1, kTileQueries}, k, ld,
                                        queries.d_q, ld, tile.transposed());
                }
            }
            const int64_t query_row = document.first_query + query;
            if (query_sums == nullptr) {
                store_rows(queries.d_q, ld, rows, a.width, nullptr,
                           head_row<T>(args.d_q, query_row, head), args.d_q.stride[0]);
            } else {
                store_rows(queries.d_q, ld, rows, a.width, nullptr,
                           query_sums + (query_row * a.heads + head) * a.width, a.heads * a.width);
            }
        }
    }
    store_rows(keys.d_k, ld, count, a.width, nullptr, head_row<T>(args.d_k, row, kv_head),
               args.d_k.stride[0]);
    store_rows(keys.d_v, value_ld, count, a.value_width, nullptr,
               head_row<T>(args.d_v, row, kv_head), args.d_v.stride[0]);
}

// d_q of some rows of a document of several runs of keys: the copies added up in order.
template <typename T>
void add_query_sums(const Attention& a, const Args& args, const float* sums, int64_t copies,
                    int64_t row, int64_t rows) {
    const int64_t width = a.heads * a.width;
    const int64_t copy = a.query_rows * width;
    for (int64_t r = row; r < row + rows; ++r) {
        for (int64_t h = 0; h < a.heads; ++h) {
            T* to = head_row<T>(args.d_q, r, h);
            const float* from = sums + r * width + h * a.width;
            for (int64_t i = 0; i < a.width; ++i) {
                float sum = from[i];
                for (int64_t c = 1; c < copies; ++c) sum += from[c * copy + i];
                to[i] = from_float<T>(sum);
            }
        }
    }
}

// d_bias += the sums of all tasks, in their order.
void add_bias_sums(const Attention& a, const Args& args, const float* sums, int64_t runs) {
    for (int64_t bucket = 0; bucket < a.bias_buckets; ++bucket) {
        float* to = data<float>(args.d_bias_table) + bucket * args.d_bias_table.stride[0];
        for (int64_t h = 0; h < a.heads; ++h) {
            float sum = 0;
            for (int64_t run = 0; run < runs; ++run) {
                sum += sums[(run * a.heads + h) * a.bias_buckets + bucket];
            }
            to[h] += sum;
        }
    }
}

// d_sinks += over all rows of a head in their order.
template <typename T>
void add_sink_sum(const Attention& a, const Args& args, int64_t head) {
    const float* lse = data<float>(args.lse) + head * args.lse.stride[0];
    double sum = 0;
    for (int64_t row = 0; row < a.cu_q[a.documents]; ++row) {
        if (lse[row] == -kInfinity) continue;
        const float delta = dot(head_row<T>(args.out, row, head),
                                head_row<T>(args.d_out, row, head), a.value_width);
        sum += static_cast<double>(std::exp(a.sinks[head] - lse[row])) * delta;
    }
    data<float>(args.d_sinks)[head] -= static_cast<float>(sum);
}

}  // namespace

void attention_backward(Pool& pool, const Args& args) {
    const Attention a = attention_of(args);
    if (a.heads == 0) return;
    const int64_t kv_heads = a.heads / a.group;
    const AttentionBackwardPlan plan = plan_of(a);
    auto* query_sums = data<float>(args.workspace);
    float* bias_sums = query_sums + plan.query_sums;
    const auto keys_of = [&](int64_t s) { return a.document(s).keys; };
    const auto runs_of = [&](const Document& document) {
        return (document.keys + plan.key_chunk - 1) / plan.key_chunk;
    };
    const int64_t runs = pieces(a.documents, plan.key_chunk, keys_of);
    if (a.bias_table != nullptr) std::fill_n(bias_sums, runs * a.heads * a.bias_buckets, 0.0f);

    with_storage(args.q.dtype, [&](auto tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        pool.run(runs * kv_heads, [&](int64_t task, int thread) {
            const int64_t run = task / kv_heads, kv_head = task % kv_heads;
            const Piece piece = find_piece(run, plan.key_chunk, keys_of);
            const Document document = a.document(piece.document);
            const int64_t from = piece.index * plan.key_chunk;
            backward_keys<T>(
                a, args, document, kv_head, from, std::min(plan.key_chunk, document.keys - from),
                runs_of(document) > 1 ? query_sums + piece.index * a.query_rows * a.heads * a.width
                                      : nullptr,
                bias_sums + (run * a.heads + kv_head * a.group) * a.bias_buckets,
                Scratch(pool.scratch(thread)));
        });
        const auto queries_of = [&](int64_t s) {
            const Document document = a.document(s);
            return runs_of(document) == 1 ? 0 : document.queries;
        };
        pool.run(pieces(a.documents, kTileQueries, queries_of), [&](int64_t task, int) {
            const Piece piece = find_piece(task, kTileQueries, queries_of);
            const Document document = a.document(piece.document);
            const int64_t query = piece.index * kTileQueries;
            const int64_t row = document.first_query + query;
            const int64_t rows = std::min(kTileQueries, document.queries - query);
            if (document.keys > 0) {
                return add_query_sums<T>(a, args, query_sums, runs_of(document), row, rows);
            }
            for (int64_t h = 0; h < a.heads; ++h) {
                zero_rows(head_row<T>(args.d_q, row, h), args.d_q.stride[0], rows, a.width);
            }
        });
        if (a.sinks != nullptr) {
            pool.run(a.heads, [&](int64_t head, int) { add_sink_sum<T>(a, args, head); });
        }
        const int64_t queries = a.cu_q[a.documents], keys = a.cu_k[a.documents];
        for (int64_t h = 0; h < a.heads; ++h) {
            zero_rows(head_row<T>(args.d_q, queries, h), args.d_q.stride[0], a.query_rows - queries,
                      a.width);
        }
        for (int64_t h = 0; h < kv_heads; ++h) {
            zero_rows(head_row<T>(args.d_k, keys, h), args.d_k.stride[0], a.key_rows - keys,
                      a.width);
            zero_rows(head_row<T>(args.d_v, keys, h), args.d_v.stride[0], a.key_rows - keys,
                      a.value_width);
        }
    });
    if (a.bias_table != nullptr) add_bias_sums(a, args, bias_sums, runs);
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
