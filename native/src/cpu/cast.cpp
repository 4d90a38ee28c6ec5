// out = x in the storage of out.
#include <type_traits>

#include "core/blocks.h"
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {

void cast_forward(Pool& pool, const caravan_cast_args& args) {
    const Blocks blocks = element_blocks(element_count(args.x));
    with_storage(args.x.dtype, [&](auto x_tag) {
        using T = std::remove_pointer_t<decltype(x_tag)>;
        with_storage(args.out.dtype, [&](auto out_tag) {
            using U = std::remove_pointer_t<decltype(out_tag)>;
            pool.run(blocks.count, [&](int64_t block, int) {
                const int64_t first = blocks.begin(block);
                const T* const x = data<T>(args.x) + first;
                U* const out = data<U>(args.out) + first;
                for_vectors(blocks.end(block) - first,
                            [&](int64_t i, auto part) { store(out + i, load(x + i, part), part); });
            });
        });
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
