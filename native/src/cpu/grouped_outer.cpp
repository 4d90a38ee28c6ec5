// Gradients of grouped weights: for each expert the product of its rows, transposed, with its rows,
// added to what is there. A task is a tile of one expert's gradient over all of its rows.
#include "cpu/grouped.h"

namespace caravan {
namespace CARAVAN_ISA {

void grouped_outer_forward(Pool& pool, const caravan_grouped_outer_args& args) {
    const int64_t experts = args.c.shape[0], m = args.c.shape[1], n = args.c.shape[2];
    const auto* const offsets = data<int32_t>(args.offsets);
    const auto* const assignments = data<int32_t>(args.assignments);
    const Rows a = {&args.a, args.gather_a != 0 ? assignments : nullptr, args.choices};
    const Rows b = {&args.b, args.gather_b != 0 ? assignments : nullptr, args.choices};
    const auto tiles_of = [&](int64_t e) {
        return outer_tiles(offsets[e + 1] - offsets[e], offsets[experts], m, n);
    };
    const ExpertTasks tasks(experts, [&](int64_t e) {
        const OuterTiles tiles = tiles_of(e);
        return offsets[e + 1] == offsets[e] ? 0 : tiles.row_tiles * tiles.column_tiles;
    });
    pool.run(tasks.count(), [&](int64_t number, int thread) {
        const auto task = tasks.of(number);
        const OuterTiles tiles = tiles_of(task.expert);
        const int64_t row = task.index / tiles.column_tiles * tiles.rows;
        const int64_t column = task.index % tiles.column_tiles * tiles.columns;
        const int64_t from = offsets[task.expert], to = offsets[task.expert + 1];
        const TileShape shape = {std::min(tiles.rows, m - row), std::min(tiles.columns, n - column),
                                 to - from};
        auto* const scratch = static_cast<float*>(pool.scratch(thread));
        float* const c = data<float>(args.c) + (task.expert * m + row) * n + column;
        with_storage(args.a.dtype, [&](auto tag_a) {
            with_storage(args.b.dtype, [&](auto tag_b) {
                using A = std::remove_pointer_t<decltype(tag_a)>;
                using B = std::remove_pointer_t<decltype(tag_b)>;
                tile_product(Factor<A>{a.stored<A>(), from, row, true},
                             Factor<B>{b.stored<B>(), from, column, false}, shape, true, c, n,
                             scratch);
            });
        });
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
