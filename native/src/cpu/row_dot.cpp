// Products of the rows of two matrices, each summed in float32.
#include "cpu/row_dot.h"

#include <type_traits>

#include "core/blocks.h"
#include "cpu/kernels.h"

namespace caravan {
namespace CARAVAN_ISA {

void row_dot_forward(Pool& pool, const caravan_row_dot_args& args) {
    const int64_t width = args.a.shape[1];
    const Blocks blocks = row_blocks(args.a.shape[0], width);
    with_storage(args.a.dtype, [&](auto tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        const auto each_row = [&](auto&& dot) {
            pool.run(blocks.count, [&](int64_t block, int) {
                for (int64_t r = blocks.begin(block); r < blocks.end(block); ++r) {
                    data<float>(args.out)[r] = dot(row<T>(args.a, r), row<T>(args.b, r));
                }
            });
        };
        if (args.weight.data == nullptr) {
            each_row([&](const T* a, const T* b) {
                return sum_vectors(width, [&](int64_t i, auto part) {
                    return load(a + i, part) * load(b + i, part);
                });
            });
            return;
        }
        with_storage(args.weight.dtype, [&](auto weight_tag) {
            using W = std::remove_pointer_t<decltype(weight_tag)>;
            const W* const weight = data<W>(args.weight);
            each_row([&](const T* a, const T* b) {
                return row_dot(a, b, weight, args.weight_offset, width);
            });
        });
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
