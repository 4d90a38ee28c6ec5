// y = x + bias on every row, and the sum of gradients over rows.
#include <algorithm>
#include <type_traits>

#include "core/blocks.h"
#include "cpu/kernels.h"
#include "cpu/partials.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {

void bias_forward(Pool& pool, const caravan_bias_forward_args& args) {
    const int64_t width = args.x.shape[1];
    const Blocks blocks = row_blocks(args.x.shape[0], width);
    with_storage(args.x.dtype, [&](auto tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        with_storage(args.bias.dtype, [&](auto bias_tag) {
            using B = std::remove_pointer_t<decltype(bias_tag)>;
            const B* const bias = data<B>(args.bias);
            pool.run(blocks.count, [&](int64_t block, int) {
                for (int64_t r = blocks.begin(block); r < blocks.end(block); ++r) {
                    const T* const x = row<T>(args.x, r);
                    T* const y = row<T>(args.y, r);
                    for_vectors(width, [&](int64_t i, auto part) {
                        store(y + i, load(x + i, part) + load(bias + i, part), part);
                    });
                }
            });
        });
    });
}

void bias_backward(Pool& pool, const caravan_bias_backward_args& args) {
    const int64_t width = args.d_y.shape[1];
    const Blocks blocks = partial_blocks(CARAVAN_CPU, args.d_y.shape[0]);
    auto* const partials = data<float>(args.workspace);  // [blocks.count, D]
    with_storage(args.d_y.dtype, [&](auto tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        pool.run(blocks.count, [&](int64_t block, int) {
            float* const sum = partials + block * width;
            std::fill(sum, sum + width, 0.0f);
            for (int64_t r = blocks.begin(block); r < blocks.end(block); ++r) {
                const T* const d_y = row<T>(args.d_y, r);
                for_vectors(width, [&](int64_t i, auto part) {
                    store(sum + i, load(sum + i, part) + load(d_y + i, part), part);
                });
            }
        });
    });
    add_partials(pool, partials, blocks.count, args.d_bias);
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
