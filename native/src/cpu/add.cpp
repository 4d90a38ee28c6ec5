// out = a + b. Forward only: its gradient is the identity, for which the graph moves no data.
#include <type_traits>

#include "core/blocks.h"
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {

void add_forward(Pool& pool, const caravan_add_args& args) {
    const Blocks blocks = element_blocks(element_count(args.a));
    with_storage(args.a.dtype, [&](auto tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        pool.run(blocks.count, [&](int64_t block, int) {
            const int64_t first = blocks.begin(block);
            const T* const a = data<T>(args.a) + first;
            const T* const b = data<T>(args.b) + first;
            T* const out = data<T>(args.out) + first;
            for_vectors(blocks.end(block) - first, [&](int64_t i, auto part) {
                store(out + i, load(a + i, part) + load(b + i, part), part);
            });
        });
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
