// Rows of a table by id, and the sum of gradients back into it.
#include <algorithm>
#include <type_traits>

#include "core/blocks.h"
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {

void embedding_forward(Pool& pool, const caravan_embedding_forward_args& args) {
    const int64_t width = args.table.shape[1];
    const auto* const ids = data<int32_t>(args.ids);
    const Blocks blocks = row_blocks(args.ids.shape[0], width);
    with_storage(args.table.dtype, [&](auto table_tag) {
        using T = std::remove_pointer_t<decltype(table_tag)>;
        with_storage(args.out.dtype, [&](auto out_tag) {
            using U = std::remove_pointer_t<decltype(out_tag)>;
            pool.run(blocks.count, [&](int64_t block, int) {
                for (int64_t t = blocks.begin(block); t < blocks.end(block); ++t) {
                    const int64_t id = ids[t] - args.first;
                    U* const to = row<U>(args.out, t);
                    if (id < 0 || id >= args.table.shape[0]) {  // of another part
                        std::fill(to, to + width, U{});
                        continue;
                    }
                    const T* const from = row<T>(args.table, id);
                    for_vectors(width, [&](int64_t i, auto part) {
                        store(to + i, load(from + i, part), part);
                    });
                }
            });
        });
    });
}

// Tasks are runs of columns: each goes through all rows in their order, so several rows of one id
// are added in that order, and no two tasks meet in the table.
void embedding_backward(Pool& pool, const caravan_embedding_backward_args& args) {
    const int64_t width = args.d_table.shape[1];
    const int64_t rows = args.rows.data == nullptr ? args.ids.shape[0] : *data<int32_t>(args.rows);
    const auto* const ids = data<int32_t>(args.ids);
    const Blocks columns = blocks_of(width, std::max<int64_t>(32, (width / 16 + 15) / 16 * 16));
    with_storage(args.d_out.dtype, [&](auto out_tag) {
        using U = std::remove_pointer_t<decltype(out_tag)>;
        with_storage(args.d_table.dtype, [&](auto table_tag) {
            using T = std::remove_pointer_t<decltype(table_tag)>;
            pool.run(columns.count, [&](int64_t block, int) {
                const int64_t first = columns.begin(block);
                const int64_t count = columns.end(block) - first;
                for (int64_t t = 0; t < rows; ++t) {
                    const int64_t id = ids[t] - args.first;
                    if (id < 0 || id >= args.d_table.shape[0]) continue;  // of another part
                    const U* const from = row<U>(args.d_out, t) + first;
                    T* const to = row<T>(args.d_table, id) + first;
                    for_vectors(count, [&](int64_t i, auto part) {
                        store(to + i, load(to + i, part) + load(from + i, part), part);
                    });
                }
            });
        });
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
