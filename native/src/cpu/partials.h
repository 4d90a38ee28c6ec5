// The second half of a sum over rows: blocks of rows have each left a partial sum in a workspace.
#pragma once

#include "core/blocks.h"
#include "core/pool.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {

// sum[j] += partials[0][j] + partials[1][j] + ..., in this order.
//   partials [count, n] f32 . sum [n] float
inline void add_partials(Pool& pool, const float* partials, int64_t count,
                         const caravan_tensor& sum) {
    const int64_t n = sum.shape[0];
    const Blocks columns = blocks_of(n, 256);
    with_storage(sum.dtype, [&](auto tag) {
        auto* const out = static_cast<decltype(tag)>(sum.data);
        pool.run(columns.count, [&](int64_t block, int) {
            const int64_t first = columns.begin(block);
            for_vectors(columns.end(block) - first, [&](int64_t i, auto part) {
                const int64_t j = first + i;
                Vec total = {};
                for (int64_t k = 0; k < count; ++k) total += load(partials + k * n + j, part);
                store(out + j, load(out + j, part) + total, part);
            });
        });
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
