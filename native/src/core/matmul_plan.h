// How the CPU cuts a matrix product into tasks, from shapes alone: what the kernel does and what
// the companion function says about the workspace must agree.
#pragma once

#include <algorithm>
#include <cstdint>

#include "caravan/caravan.h"

namespace caravan {

// Products with at most so many rows of op(a), as stored, have kernels of their own. With more, a
// BLAS is as fast: measured with OpenBLAS 0.3.31 and AVX-512 on b of 4096 x 4096, one thread, 14
// against 4 GFLOP/s for one row, 38 against 25 for eight, equal for sixteen.
constexpr int64_t kFewRows = 8;

// Largest tile of c, a quarter of the scratch, and its largest rows + columns, which bound the
// widened operands.
constexpr int64_t kTileArea = CARAVAN_CPU_SCRATCH_BYTES / 16;
constexpr int64_t kTileSides = 6144;

struct MatmulTiles {
    int64_t rows, columns;         // of one tile of c
    int64_t row_tiles, col_tiles;  // how many
    int64_t splits;                // of k: each tile is the sum of so many products
};

// The cheapest cut of [m, n] into tiles with k in `least` to `most` splits, powers of two all. The
// cost is arithmetic, plus packing (a BLAS packs the rows and columns of each tile: one packed
// element costs as much as about 40 multiply-adds at peak rate, OpenBLAS 0.3.31, AVX-512), plus
// adding up the splits, times what an uneven last round of tasks costs.
inline MatmulTiles plan_matmul_tiles(int64_t m, int64_t n, int64_t k, int64_t least, int64_t most) {
    constexpr int64_t kAlign = 16, kLeastSide = 32;
    constexpr double kPacking = 40, kAdding = 30, kUneven = 1;
    const auto aligned = [](int64_t extent, int64_t parts) {
        return (extent + parts * kAlign - 1) / (parts * kAlign) * kAlign;
    };
    MatmulTiles best = {};
    double best_cost = 0;
    for (int64_t i = 1; i == 1 || i <= m / kLeastSide; i *= 2) {
        for (int64_t j = 1; j == 1 || j <= n / kLeastSide; j *= 2) {
            const int64_t rows = aligned(m, i), columns = aligned(n, j);
            const bool last = i * 2 > m / kLeastSide && j * 2 > n / kLeastSide;
            if ((rows * columns > kTileArea || rows + columns > kTileSides) && !last) continue;
            const auto tiles = static_cast<double>(i * j);
            const auto area = static_cast<double>(rows * columns);
            const double products = tiles * (area + kPacking * static_cast<double>(rows + columns));
            for (int64_t splits = least; splits <= most; splits *= 2) {
                const auto parts = static_cast<double>(splits);
                const double adding =
                    splits == 1 ? 0 : tiles * area * parts * kAdding / static_cast<double>(k);
                const double cost = (products + adding) * (1 + kUneven / (tiles * parts));
                if (best.rows != 0 && cost >= best_cost) continue;
                best = {rows, columns, (m + rows - 1) / rows, (n + columns - 1) / columns, splits};
                best_cost = cost;
            }
        }
    }
    return best;
}

// Splits of k, from the shapes as stored; a limit on rows does not change them.
inline int64_t matmul_splits(int64_t m, int64_t n, int64_t k, bool transpose_a) {
    constexpr int64_t kLeastDepth = 512, kMostSplits = 16;
    if ((m <= kFewRows && !transpose_a) || m == 0 || n == 0) return 1;
    int64_t most = 1;
    while (most < kMostSplits && k / (most * 2) >= kLeastDepth) most *= 2;
    return plan_matmul_tiles(m, n, std::max<int64_t>(k, 1), 1, most).splits;
}

// Floats of workspace: one copy of c for each split.
inline int64_t plan_matmul(int64_t m, int64_t n, int64_t k, bool transpose_a) {
    const int64_t splits = matmul_splits(m, n, k, transpose_a);
    return splits > 1 ? splits * m * n : 0;
}

}  // namespace caravan
