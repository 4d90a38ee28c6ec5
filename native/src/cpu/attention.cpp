// Attention forward. A task takes up to four tiles of 64 queries of one head and goes over the
// tiles of keys that they see, with an online soft-max; few queries over many keys go to
// attention_decode.h. Tiles outside a mask are skipped, those that it cuts are computed only near
// it.
#include "cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "cpu/attention_decode.h"
#include "cpu/attention_scores.h"
#include "cpu/attention_tile.h"
#include "cpu/kernels.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

// ------------------------------------------------------------------ tiles

// Finishes the scores of the tile, with the largest of each query in `largest` [kTileQueries].
template <bool kPlain>
void finish_scores(const ScoreTile& tile, float* scores, float* largest) {
    for (int64_t c = 0; c < kTileQueries; c += kLanes) {
        const VecI lane = lane_numbers() + static_cast<int32_t>(c);
        Vec most = broadcast(-kInfinity);
        for (int64_t k = 0; k < tile.keys; ++k) {
            Vec score = load(scores + k * kTileQueries + c);
            if (!kPlain) {
                if (tile.soft_cap != 0) score = tile.soft_cap * tanh(score / tile.soft_cap);
                if (tile.diagonal != nullptr) {
                    score += load(tile.diagonal + ScoreTile::diagonal_row(k) + c);
                }
                if (tile.masked) score = allowed(tile, lane, k) ? score : broadcast(-kInfinity);
                store(scores + k * kTileQueries + c, score);
            }
            most = max(most, score);
        }
        store(largest + c, most);
    }
}

// A tile of queries with the statistics of its online soft-max.
struct QueryTile {
    int64_t query, queries;  // of the document
    Range keys;              // that some of its queries see
    float* q;                // [width][kTileQueries], scaled
    float* out;              // [queries][padded value width], not yet divided by total
    float* largest;          // [kTileQueries], of the scores so far
    float* total;            // [kTileQueries], sum of exp(score - largest)
    float* before;           // [kTileQueries], factor for what was summed before the last tile
    bool begun;              // whether `out` holds anything
};

// scores = exp(scores - largest), with the statistics brought up to date.
void soften(int64_t keys, float* scores, const float* tile_largest, const QueryTile& running) {
    for (int64_t c = 0; c < kTileQueries; c += kLanes) {
        const Vec old = load(running.largest + c);
        const Vec most = max(old, load(tile_largest + c));
        // Where no key was seen yet, any finite reference makes every weight 0.
        const Vec reference = most == broadcast(-kInfinity) ? Vec{} : most;
        const Vec before = exp_weight(old - reference);
        Vec sum = {};
        for (int64_t k = 0; k < keys; ++k) {
            const Vec weight = exp_weight(load(scores + k * kTileQueries + c) - reference);
            store(scores + k * kTileQueries + c, weight);
            sum += weight;
        }
        store(running.largest + c, most);
        store(running.before + c, before);
        store(running.total + c, load(running.total + c) * before + sum);
    }
}

// What makes an output of the sum that a row has found, and its log-sum-exp.
struct Finish {
    float factor, lse;
};

// largest, total: of the row's scores and of their exponentials below it. The sink of the head, if
// there is one, joins them here.
Finish finish_row(const Attention& a, int64_t head, float largest, float total) {
    if (total == 0) return {0, -kInfinity};
    if (a.sinks == nullptr) return {1 / total, largest + std::log(total)};
    const float sink = a.sinks[head];
    const float most = std::max(largest, sink);
    const float shrink = std::exp(largest - most);
    total = total * shrink + std::exp(sink - most);
    return {shrink / total, most + std::log(total)};
}

// Writes the rows [query, query + queries) of a head; keys = none.
template <typename T>
void write_nothing(const Attention& a, const caravan_attention_forward_args& args, int64_t row,
                   int64_t rows, int64_t head) {
    zero_rows(head_row<T>(args.out, row, head), args.out.stride[0], rows, a.value_width);
    if (args.lse.data == nullptr) return;
    std::fill_n(data<float>(args.lse) + head * args.lse.stride[0] + row, rows, -kInfinity);
}

template <typename T>
QueryTile begin_tile(const Attention& a, const caravan_attention_forward_args& args,
                     const Document& document, int64_t head, int64_t query, Scratch& scratch) {
    const int64_t queries = std::min(kTileQueries, document.queries - query);
    const QueryTile tile = {query,
                            queries,
                            a.keys_seen(document, query, query + queries - 1),
                            scratch.take(a.width * kTileQueries),
                            scratch.take(kTileQueries * padded(a.value_width)),
                            scratch.take(kTileQueries),
                            scratch.take(kTileQueries),
                            scratch.take(kTileQueries),
                            false};
    std::fill_n(tile.largest, kTileQueries, -kInfinity);
    std::fill_n(tile.total, kTileQueries, 0.0f);
    copy_transposed(head_row<T>(args.q, document.first_query + query, head), args.q.stride[0],
                    queries, a.width, a.scale, tile.q);
    return tile;
}

// Brings a tile of queries past the keys [key, key + keys); k, v: their rows, of padded widths.
void pass_keys(const Attention& a, const Document& document, int64_t head, int64_t key,
               int64_t keys, const float* k, const float* v, float* scores, float* diagonal,
               QueryTile& tile) {
    const int64_t value_ld = padded(a.value_width);
    ScoreTile shape = score_tile(a, document, tile.query, tile.queries, key, keys);
    if (a.bias_table != nullptr) set_diagonal(a, document, head, diagonal, shape);
    score_product(keys, a.width, {k, padded(a.width), 1}, tile.q, scores, shape.band);
    float largest[kTileQueries];
    if (shape.plain()) {
        finish_scores<true>(shape, scores, largest);
    } else {
        finish_scores<false>(shape, scores, largest);
    }
    soften(keys, scores, largest, tile);
    const Left weights = {scores, 1, kTileQueries};
    if (tile.begun) {
        product<Into::kScaleAdd>(tile.queries, value_ld / kLanes, keys, weights, v, value_ld,
                                 tile.out, value_ld, shape.transposed(), tile.before);
    } else {
        product<Into::kOverwrite>(tile.queries, value_ld / kLanes, keys, weights, v, value_ld,
                                  tile.out, value_ld, shape.transposed());
    }
    tile.begun = true;
}

template <typename T>
void end_tile(const Attention& a, const caravan_attention_forward_args& args,
              const Document& document, int64_t head, const QueryTile& tile) {
    const int64_t row = document.first_query + tile.query;
    if (!tile.begun) return write_nothing<T>(a, args, row, tile.queries, head);
    for (int64_t i = 0; i < tile.queries; ++i) {
        const Finish finish = finish_row(a, head, tile.largest[i], tile.total[i]);
        if (args.lse.data != nullptr) {
            data<float>(args.lse)[head * args.lse.stride[0] + row + i] = finish.lse;
        }
        tile.total[i] = finish.factor;
    }
    store_rows(tile.out, padded(a.value_width), tile.queries, a.value_width, tile.total,
               head_row<T>(args.out, row, head), args.out.stride[0]);
}

// The queries [query, query + queries) of a document, at most kTilesMost tiles of them.
template <typename T>
void forward_tiles(const Attention& a, const caravan_attention_forward_args& args,
                   const Document& document, int64_t head, int64_t query, int64_t queries,
                   Scratch scratch) {
    const int64_t ld = padded(a.width), value_ld = padded(a.value_width);
    float* k = scratch.take(kTileKeys * ld);
    float* v = scratch.take(kTileKeys * value_ld);
    float* scores = scratch.take(kTileKeys * kTileQueries);
    float* diagonal = scratch.take(kDiagonals);
    QueryTile tiles[kTilesMost];
    int64_t count = 0;
    for (int64_t first = 0; first < queries; first += kTileQueries) {
        tiles[count++] = begin_tile<T>(a, args, document, head, query + first, scratch);
    }
    const Range seen = a.keys_seen(document, query, query + queries - 1);
    const int64_t kv_head = head / a.group;
    for (int64_t key = seen.from / kTileKeys * kTileKeys; key < seen.to; key += kTileKeys) {
        const int64_t keys = std::min(kTileKeys, document.keys - key);
        a.each_run(document, key, keys, [&](int64_t row, int64_t done, int64_t count) {
            const StoredRows<T> key_rows = {head_row<T>(args.k, row, kv_head), args.k.stride[0]};
            const StoredRows<T> value_rows = {head_row<T>(args.v, row, kv_head), args.v.stride[0]};
            copy_padded(key_rows, 0, count, 0, a.width, k + done * ld, ld);
            copy_padded(value_rows, 0, count, 0, a.value_width, v + done * value_ld, value_ld);
        });
        for (int64_t t = 0; t < count; ++t) {
            QueryTile& tile = tiles[t];
            if (key >= tile.keys.to || key + keys <= tile.keys.from) continue;
            pass_keys(a, document, head, key, keys, k, v, scores, diagonal, tile);
        }
    }
    for (int64_t t = 0; t < count; ++t) end_tile<T>(a, args, document, head, tiles[t]);
}

// ------------------------------------------------------------------ few queries

// Copies the queries of a document that share a key/value head, scaled, in the order of Found.
template <typename T>
void gather_queries(const Attention& a, const caravan_tensor& q, const Document& document,
                    int64_t kv_head, float* to) {
    for (int64_t i = 0; i < document.queries; ++i) {
        for (int64_t g = 0; g < a.group; ++g, to += a.width) {
            const T* from = head_row<T>(q, document.first_query + i, kv_head * a.group + g);
            for (int64_t d = 0; d < a.width; ++d) to[d] = a.scale * to_float(from[d]);
        }
    }
}

template <typename T>
void write_found(const Attention& a, const caravan_attention_forward_args& args,
                 const Document& document, int64_t kv_head, const Found& found) {
    for (int64_t r = 0; r < document.queries * a.group; ++r) {
        const int64_t row = document.first_query + r / a.group;
        const int64_t head = kv_head * a.group + r % a.group;
        const Finish finish = finish_row(a, head, found.largest[r], found.total[r]);
        store_rows(found.out + r * found.ld, found.ld, 1, a.value_width, &finish.factor,
                   head_row<T>(args.out, row, head), args.out.stride[0]);
        if (args.lse.data == nullptr) continue;
        data<float>(args.lse)[head * args.lse.stride[0] + row] = finish.lse;
    }
}

// Where split `split` of a document's keys leaves what it found, for one key/value head.
Found partial(const Attention& a, const caravan_attention_forward_args& args,
              const Document& document, int64_t kv_head, int64_t split) {
    const int64_t rows = document.queries * a.group;
    const int64_t ld = padded_to_plan(a.value_width);
    float* all = data<float>(args.workspace) + split * a.query_rows * a.heads * (ld + 2);
    float* mine = all + (document.first_query * a.heads + kv_head * rows) * (ld + 2);
    return {mine, mine + rows * ld, mine + rows * (ld + 1), ld};
}

template <typename T>
void forward_decode(const Attention& a, const caravan_attention_forward_args& args,
                    const Document& document, int64_t kv_head, int64_t split, int64_t splits,
                    Scratch scratch) {
    const int64_t rows = document.queries * a.group;
    float* q = scratch.take(rows * a.width);
    gather_queries<T>(a, args.q, document, kv_head, q);
    Range keys = a.keys_seen(document, 0, document.queries - 1);
    if (splits > 1) {
        keys = {std::max(keys.from, split * kDecodeSplit),
                std::min(keys.to, (split + 1) * kDecodeSplit)};
        const Found found = partial(a, args, document, kv_head, split);
        return decode<T>(a, document, kv_head, rows, q, args.k, args.v, keys, scratch, found);
    }
    const int64_t ld = padded(a.value_width);
    const Found found = {scratch.take(rows * ld), scratch.take(rows), scratch.take(rows), ld};
    decode<T>(a, document, kv_head, rows, q, args.k, args.v, keys, scratch, found);
    write_found<T>(a, args, document, kv_head, found);
}

// Puts together what the splits of a document found, in their order.
template <typename T>
void merge_splits(const Attention& a, const caravan_attention_forward_args& args,
                  const Document& document, int64_t kv_head, int64_t splits) {
    const Found found = partial(a, args, document, kv_head, 0);
    for (int64_t split = 1; split < splits; ++split) {
        merge(a, document.queries * a.group, found, partial(a, args, document, kv_head, split));
    }
    write_found<T>(a, args, document, kv_head, found);
}

}  // namespace

void attention_forward(Pool& pool, const caravan_attention_forward_args& args) {
    Attention a = attention_of(args);
    if (a.heads == 0 || a.query_rows == 0) return;
    int64_t most_keys = a.key_rows;  // of a document
    if (args.pages.data != nullptr) {
        a.pages = data<int32_t>(args.pages);
        a.page_stride = args.pages.stride[0];
        a.page_rows = args.page_rows;
        most_keys = args.pages.shape[1] * a.page_rows;
    }
    const int64_t kv_heads = a.heads / a.group;
    const bool splitting = planned_splits(a.query_rows, most_keys) > 1;
    const auto decoded = [&](const Document& document) {
        const int64_t rows = document.queries * a.group;
        return document.queries <= kDecodeQueries &&
               decode_scratch(a, rows) <= CARAVAN_CPU_SCRATCH_BYTES / 4;
    };
    const auto splits_of = [&](const Document& document) {
        return splitting ? decode_splits(document.keys) : 1;
    };
    const auto tile_rows = [&](int64_t s) {
        const Document document = a.document(s);
        return decoded(document) ? 0 : document.queries;
    };
    const auto splits = [&](int64_t s) {
        const Document document = a.document(s);
        return document.queries > 0 && decoded(document) ? splits_of(document) : 0;
    };
    const int64_t step = forward_queries(a.query_rows, a.heads);
    with_storage(args.q.dtype, [&](auto tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        pool.run(pieces(a.documents, step, tile_rows) * a.heads, [&](int64_t task, int thread) {
            const Piece piece = find_piece(task / a.heads, step, tile_rows);
            const Document document = a.document(piece.document);
            const int64_t query = piece.index * step;
            forward_tiles<T>(a, args, document, task % a.heads, query,
                             std::min(step, document.queries - query),
                             Scratch(pool.scratch(thread)));
        });
        pool.run(pieces(a.documents, 1, splits) * kv_heads, [&](int64_t task, int thread) {
            const Piece piece = find_piece(task / kv_heads, 1, splits);
            const Document document = a.document(piece.document);
            forward_decode<T>(a, args, document, task % kv_heads, piece.index, splits_of(document),
                              Scratch(pool.scratch(thread)));
        });
        for (int64_t s = 0; splitting && s < a.documents; ++s) {
            if (splits(s) < 2) continue;
            pool.run(kv_heads, [&](int64_t kv_head, int) {
                merge_splits<T>(a, args, a.document(s), kv_head, splits(s));
            });
        }
        const int64_t used = a.cu_q[a.documents];
        for (int64_t h = 0; h < a.heads; ++h) {
            write_nothing<T>(a, args, used, a.query_rows - used, h);
        }
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
