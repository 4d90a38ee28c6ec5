// What the ops of sparse experts share on every device: sizes that follow from shapes, and how the
// rows of an expert are cut into tiles.
#pragma once

#include <algorithm>
#include <cstdint>

#include "caravan/caravan.h"
#include "core/host_device.h"

namespace caravan {

// Floats of one layer's statistics; the header's macro in the arithmetic of extents.
inline int64_t router_stats(int64_t experts) { return CARAVAN_ROUTER_STATS(experts); }

CARAVAN_HOST_DEVICE inline bool expert_gated(int32_t activation) {
    return activation == CARAVAN_EXPERT_SWIGLU || activation == CARAVAN_EXPERT_GEGLU ||
           activation == CARAVAN_EXPERT_GEGLU_TANH;
}

// Elements that an activation makes of `width`.
CARAVAN_HOST_DEVICE inline int64_t expert_units(int32_t activation, int64_t width) {
    return expert_gated(activation) ? width / 2 : width;
}

constexpr int64_t kMostTileRows = 256;

// Rows of a tile of the CPU's grouped products, given the rows of all experts: few enough tiles
// that little is copied for each product, enough of them to share out evenly.
inline int64_t grouped_tile_rows(int64_t rows) {
    return rows >= 4096 ? kMostTileRows : rows >= 1024 ? 128 : 64;
}

// An expert's `count` rows in tiles of at most `most`, of equal size but for the last.
struct RowTiles {
    int64_t count, tiles, size;
};

inline RowTiles row_tiles(int64_t count, int64_t most) {
    const int64_t tiles = (count + most - 1) / most;
    const int64_t even = tiles == 0 ? 0 : (count + tiles - 1) / tiles;
    const int64_t size = std::min(most, (even + 15) / 16 * 16);
    return {count, size == 0 ? 0 : (count + size - 1) / size, size};
}

constexpr int64_t kMostOuterSide = 512;

// The sides of a tile of an expert's gradient [m, n]: halved, the longer first, into as many pieces
// as its share of all rows is of a sixteenth, so that one busy expert does not keep one thread
// alone. No side is cut below kLeastSide: both operands of every tile are copied anew, which took a
// third of the time of tiles of 128 by 128 (bench/LOG.md).
struct OuterTiles {
    int64_t rows, columns;
    int64_t row_tiles, column_tiles;
};

inline OuterTiles outer_tiles(int64_t count, int64_t all, int64_t m, int64_t n) {
    constexpr int64_t kShares = 16, kLeastSide = 256;
    OuterTiles tiles = {m, n, 1, 1};
    const auto cut = [](int64_t extent, int64_t parts) {
        return std::max<int64_t>((extent + parts * 16 - 1) / (parts * 16) * 16, 16);
    };
    int64_t row_parts = 1, column_parts = 1;
    const int64_t wanted = all == 0 ? 1 : (count * kShares + all - 1) / all;
    for (;;) {
        const bool small = tiles.rows <= kMostOuterSide && tiles.columns <= kMostOuterSide;
        const bool can = std::max(tiles.rows, tiles.columns) >= 2 * kLeastSide;
        if (small && (row_parts * column_parts >= wanted || !can)) break;
        (tiles.rows >= tiles.columns ? row_parts : column_parts) *= 2;
        tiles.rows = cut(m, row_parts);
        tiles.columns = cut(n, column_parts);
    }
    tiles.row_tiles = (m + tiles.rows - 1) / tiles.rows;
    tiles.column_tiles = (n + tiles.columns - 1) / tiles.columns;
    return tiles;
}

// ------------------------------------------------------------------ CUDA

// How the sort by expert is cut: assignments in chunks, whose masks of every expert lie in 32 KiB
// of shared memory; with a capacity, the tokens of each group likewise.
struct CudaExpertSortPlan {
    int64_t chunk, chunks;
    int64_t group, groups, group_chunks;  // 0 groups without a capacity
    int64_t counts, taken;                // whole numbers of workspace
};

inline CudaExpertSortPlan plan_cuda_expert_sort(const caravan_expert_sort_args& args) {
    constexpr int64_t kMostChunk = 1024, kMaskBits = int64_t{32} << 13;
    const int64_t tokens = args.experts.shape[0], choices = args.experts.shape[1];
    const int64_t n = args.offsets.shape[0] - 1;
    CudaExpertSortPlan plan = {};
    plan.chunk = std::min(kMostChunk, kMaskBits / std::max<int64_t>(n, 1) / 32 * 32);
    plan.chunks = (tokens * choices + plan.chunk - 1) / plan.chunk;
    plan.counts = plan.chunks * n;
    if (args.capacity > 0) {
        const int64_t all = std::max<int64_t>(tokens, 1);
        plan.group = args.group == 0 ? all : std::min(args.group, all);
        plan.groups = (tokens + plan.group - 1) / plan.group;
        plan.group_chunks = (plan.group + plan.chunk - 1) / plan.chunk;
        plan.taken = plan.groups * choices * plan.group_chunks * n;
    }
    return plan;
}

}  // namespace caravan
