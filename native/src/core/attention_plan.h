// How attention is cut into tasks, from shapes alone: what the kernels do and what the companion
// functions say about workspaces must agree. First the CPU, then CUDA.
#pragma once

#include <algorithm>
#include <cstdint>

#include "caravan/caravan.h"
#include "core/host_device.h"

namespace caravan {

// Constants here are not `inline`, so that each instruction set has its own and none is linked
// twice.

// Widest head, of keys or of values: bounds what a task keeps in its thread's scratch.
constexpr int64_t kAttentionWidest = 1024;

// Queries and keys of a tile.
constexpr int64_t kTileQueries = 64, kTileKeys = 64;

// Queries of one head that a task of the forward pass takes: as many tiles as still leave tasks to
// share, since each key that is fetched serves all of them. tq: rows of q; h: heads.
constexpr int64_t kTilesMost = 4;

inline int64_t forward_queries(int64_t tq, int64_t h) {
    const int64_t tiles = (tq + kTileQueries - 1) / kTileQueries;
    return std::clamp<int64_t>(tiles * h / 16, 1, kTilesMost) * kTileQueries;
}

// Rounds a head's width up to whole vectors of any instruction set.
inline int64_t padded_to_plan(int64_t width) { return (width + 15) / 16 * 16; }

// Documents of at most so many queries are decoded: their keys are read once for all heads that
// share them, in splits of kDecodeSplit keys when the buffer holds nothing else.
constexpr int64_t kDecodeQueries = 16, kDecodeSplit = 1024;

inline int64_t decode_splits(int64_t keys) {
    return std::max<int64_t>((keys + kDecodeSplit - 1) / kDecodeSplit, 1);
}

// Splits that there is workspace for. tq, tk: rows of q and k.
inline int64_t planned_splits(int64_t tq, int64_t tk) {
    return tq <= kDecodeQueries ? decode_splits(tk) : 1;
}

// Floats of workspace. h: heads; m: width of values.
inline int64_t plan_attention_forward(int64_t tq, int64_t tk, int64_t h, int64_t m) {
    const int64_t splits = planned_splits(tq, tk);
    return splits > 1 ? splits * tq * h * (padded_to_plan(m) + 2) : 0;
}

struct AttentionBackwardPlan {
    int64_t key_chunk;   // keys of a document that one task of the backward pass owns
    int64_t chunks;      // of a document as long as all keys
    int64_t query_sums;  // floats of workspace: gradients of q, one copy a chunk; 0 with one chunk
    int64_t bias_sums;   // floats of workspace: gradients of the bias table, one copy a task
};

// tq, tk: rows of q and k; h, k: heads; n, m: widths of keys and values; s: documents; b: buckets
// or 0.
inline AttentionBackwardPlan plan_attention_backward(int64_t tq, int64_t tk, int64_t h, int64_t k,
                                                     int64_t n, int64_t m, int64_t s, int64_t b) {
    constexpr int64_t kTasks = 16, kChunkLeast = 256;
    const int64_t width = padded_to_plan(n), value_width = padded_to_plan(m);
    // Scratch: of each key a copy and a gradient, of k and of v; besides, five tiles of queries,
    // two of scores, and rows of statistics.
    const int64_t fixed =
        kTileQueries * (3 * width + 2 * value_width) + 2 * kTileQueries * kTileKeys + 4096;
    const int64_t fits = (CARAVAN_CPU_SCRATCH_BYTES / 4 - fixed) / (2 * (width + value_width));
    // Enough tasks to share, none so small that moving its queries costs more than its products.
    int64_t chunk = std::max(kChunkLeast, (tk * k + kTasks - 1) / kTasks);
    chunk = std::min((chunk + kTileKeys - 1) / kTileKeys, fits / kTileKeys) * kTileKeys;
    const int64_t chunks = std::max<int64_t>((tk + chunk - 1) / chunk, 1);
    return {chunk, chunks, chunks > 1 ? chunks * tq * h * n : 0, b > 0 ? (s + chunks) * h * b : 0};
}

// ------------------------------------------------------------------ CUDA

// Of q's rows of a key/value head and its query heads, those that a block of few queries takes.
constexpr int64_t kCudaDecodeRows = 16;
// Keys that a split of a document has at the least; it has a multiple of 64.
constexpr int64_t kCudaSplitKeys = 256;

// Whether a forward pass has few queries for each document, so that its time goes into reading keys
// and values. tq: rows of q; s: documents.
inline bool attention_decodes(int64_t tq, int64_t s) {
    return tq <= std::max<int64_t>(kDecodeQueries, 2 * s);
}

// Splits of a document's keys. tq: rows of q; h, k: heads; s: documents; keys: most of a document.
inline int64_t cuda_decode_splits(int64_t tq, int64_t h, int64_t k, int64_t s, int64_t keys) {
    constexpr int64_t kBlocks = 1024;
    if (k < 1) return 1;
    const int64_t tiles =
        std::max<int64_t>((tq * (h / k) + kCudaDecodeRows - 1) / kCudaDecodeRows, s);
    const int64_t most = (keys + kCudaSplitKeys - 1) / kCudaSplitKeys;
    return std::clamp<int64_t>(kBlocks / std::max<int64_t>(tiles * k, 1), 1,
                               std::max<int64_t>(most, 1));
}

// Floats that a split leaves of a row and head: its sums, what was subtracted from scores, and the
// sum of weights; a multiple of four. m: width of values.
CARAVAN_HOST_DEVICE inline int64_t cuda_decode_floats(int64_t m) { return (m + 2 + 3) / 4 * 4; }

// Keys of each split of a document of `keys` of them.
CARAVAN_HOST_DEVICE inline int64_t cuda_split_keys(int64_t keys, int64_t splits) {
    const int64_t share = ((keys + splits - 1) / splits + 63) / 64 * 64;
    return share > kCudaSplitKeys ? share : kCudaSplitKeys;
}

// Rows of a tile whose block leaves a partial sum of the bias table's gradient.
constexpr int64_t kCudaBiasRows = 64;

// Slots for the tiles of `step` rows that s documents of together `rows` rows are cut into, and for
// the rows outside them: document number d takes those from its first row / step + d on.
inline int64_t attention_slots(int64_t rows, int64_t s, int64_t step) {
    return rows / step + s + 1;
}

// Heads of keys and values up to so wide have the gradients of their queries added up in memory.
constexpr int64_t kCudaAddedWidth = 128;
// Least rows of a tile of queries that a block adds to, and the parts of it that take turns of
// their own.
constexpr int64_t kCudaAddedRows = 64, kCudaAddedParts = 2;

// Workspace of the backward pass in units of four bytes, in this order: a sum for each row and
// head; partial sums of the bias table's gradient; gradients of queries [heads, width / 64, rows,
// 64], 0 where no block adds to them, and the turns of those that do, behind the next tile to take.
struct CudaAttentionBackwardPlan {
    int64_t deltas;
    int64_t bias_sums;
    int64_t query_sums;
    int64_t turns;

    int64_t count() const { return deltas + bias_sums + query_sums + turns; }
};

// Of shapes and storage alone, so of any device: whether a route adds to query_sums, it decides.
inline CudaAttentionBackwardPlan plan_cuda_attention_backward(
    const caravan_attention_backward_args& args) {
    const int64_t tq = args.q.shape[0], h = args.q.shape[1], s = args.cu_q.shape[0] - 1;
    const int64_t b = args.bias_table.rank == 0 ? 0 : args.bias_table.shape[0];
    const int64_t width = std::max(args.q.shape[2], args.v.shape[2]);
    CudaAttentionBackwardPlan plan = {
        tq * h, b > 0 ? attention_slots(tq, s, kCudaBiasRows) * h * b : 0, 0, 0};
    if (b == 0 && args.q.dtype == CARAVAN_BF16 && width <= kCudaAddedWidth) {
        // Bulk copies want 16 bytes' alignment.
        plan.deltas = (plan.deltas + 3) / 4 * 4;
        plan.query_sums = tq * h * (width <= 64 ? 64 : 128);
        plan.turns = 1 + attention_slots(tq, s, kCudaAddedRows) * h * kCudaAddedParts;
    }
    return plan;
}

}  // namespace caravan
