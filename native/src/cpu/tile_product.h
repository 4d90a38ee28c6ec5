// A tile of a product. Both operands are copied into the order in which they are read, and there
// gathered by an index, transposed and widened to float32, so that none of this takes a pass of its
// own. Only for src/cpu.
//
// The rows of a are copied once for each kDepth of the depth, the columns of b a panel at a time: a
// panel (64 KiB, or 24 with 8 lanes) stays in the cache while the blocks of a pass by. Half that
// depth would fit the first level, and was slower: c is read and written twice as often
// (bench/LOG.md). An element is the sum of pieces of kDepth, in the order of the depth, whatever
// the tile, so the bits do not depend on how a product is cut.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/register_block.h"
#include "cpu/stored_rows.h"

namespace caravan {
namespace CARAVAN_ISA {

inline constexpr int64_t kPanelColumns = kMostVecs * kLanes;
inline constexpr int64_t kBlockRows = most_rows(kMostVecs);
inline constexpr int64_t kDepth = 256;
inline constexpr int64_t kBlockStride = kDepth + kLanes;  // so that rows fall on several sets

// op(x) from the element (row, column) of x on.
template <typename T>
struct Factor {
    StoredRows<T> x;
    int64_t row, column;
    bool transpose;
};

// ------------------------------------------------------------------ a tile

struct TileShape {
    int64_t rows, columns, depth;
};

// Floats of scratch for a tile of so many rows.
inline constexpr int64_t tile_scratch(int64_t rows) {
    return kPanelColumns * (kDepth + kBlockRows) + (rows + kBlockRows) * kBlockStride + kLanes;
}

// A block of c; of its last vector only a part may be there.
inline void put_block(bool add, int64_t rows, int64_t columns, int64_t depth, Left a,
                      const float* panel, int64_t ld_panel, float* c, int64_t ld, float* edge) {
    const int64_t vecs = (columns + kLanes - 1) / kLanes;
    const auto sum = [&](float* to, int64_t ld_to) {
        const Block block = add ? block_for<Into::kAdd>(vecs, rows)
                                : block_for<Into::kOverwrite>(vecs, rows);
        block(a, panel, ld_panel, depth, to, ld_to, nullptr);
    };
    if (columns % kLanes == 0) return sum(c, ld);
    const StoredRows<float> there = {c, ld}, made = {edge, kPanelColumns};
    if (add) copy_padded(there, 0, rows, 0, columns, edge, kPanelColumns);
    sum(edge, kPanelColumns);
    copy_along(made, 0, rows, 0, columns, c, ld);
}

// The rows of op(a), a block at a time, for `depth` of the depth from k on. Where they lie along
// the depth, a few steps at a time for all of them, so that what is read lies together.
template <typename T>
inline void copy_blocks(const Factor<T>& a, int64_t k, int64_t depth, int64_t rows, float* blocks) {
    constexpr int64_t kSteps = 8;
    if (!a.transpose) {
        for (int64_t i = 0; i < rows; i += kBlockRows) {
            copy_along(a.x, a.row + i, std::min(kBlockRows, rows - i), a.column + k, depth,
                       blocks + i * kBlockStride, kBlockStride);
        }
        return;
    }
    for (int64_t step = 0; step < depth; step += kSteps) {
        for (int64_t i = 0; i < rows; i += kBlockRows) {
            copy_padded(a.x, a.row + k + step, std::min(kSteps, depth - step), a.column + i,
                        std::min(kBlockRows, rows - i),
                        blocks + i * kBlockStride + step * kBlockRows, kBlockRows);
        }
    }
}

// c [rows][ld] = op(a) op(b); with `add`, that much more. The scratch is aligned to 64 bytes.
template <typename A, typename B>
inline void tile_product(const Factor<A>& a, const Factor<B>& b, const TileShape& shape, bool add,
                         float* c, int64_t ld, float* scratch) {
    float* const panel = scratch;
    float* const edge = panel + kPanelColumns * kDepth;
    float* const blocks = edge + kPanelColumns * kBlockRows;
    for (int64_t k = 0; k < shape.depth; k += kDepth) {
        const int64_t depth = std::min(kDepth, shape.depth - k);
        copy_blocks(a, k, depth, shape.rows, blocks);
        for (int64_t j = 0; j < shape.columns; j += kPanelColumns) {
            const int64_t columns = std::min(kPanelColumns, shape.columns - j);
            if (b.transpose) {
                copy_turned(b.x, b.row + j, columns, b.column + k, depth, panel, kPanelColumns);
            } else {
                copy_padded(b.x, b.row + k, depth, b.column + j, columns, panel, kPanelColumns);
            }
            for (int64_t i = 0; i < shape.rows; i += kBlockRows) {
                const Left left = {blocks + i * kBlockStride, a.transpose ? 1 : kBlockStride,
                                   a.transpose ? kBlockRows : 1};
                put_block(add || k > 0, std::min(kBlockRows, shape.rows - i), columns, depth, left,
                          panel, kPanelColumns, c + i * ld + j, ld, edge);
            }
        }
    }
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
