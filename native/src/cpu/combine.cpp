// The rows of a token's choices, weighted and added in their order.
#include <type_traits>

#include "core/blocks.h"
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

template <typename T>
void combine_row(const caravan_combine_args& args, int64_t t) {
    const int64_t choices = args.slots.shape[1];
    const int32_t* const slots = data<int32_t>(args.slots) + t * choices;
    const float* const weights =
        args.weights.data == nullptr ? nullptr : data<float>(args.weights) + t * choices;
    T* const y = row<T>(args.y, t);
    for_vectors(args.y.shape[1], [&](int64_t i, auto part) {
        Vec sum = {};
        bool first = true;
        for (int64_t c = 0; c < choices; ++c) {
            if (slots[c] < 0) continue;
            Vec value = load(row<T>(args.x, slots[c]) + i, part);
            if (weights != nullptr) value *= weights[c];
            sum = first ? value : sum + value;  // so that one row comes back as it is, -0 too
            first = false;
        }
        store(y + i, sum, part);
    });
}

}  // namespace

void combine_forward(Pool& pool, const caravan_combine_args& args) {
    const Blocks blocks = row_blocks(args.y.shape[0], args.y.shape[1]);
    with_storage(args.y.dtype, [&](auto tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        pool.run(blocks.count, [&](int64_t block, int) {
            for (int64_t t = blocks.begin(block); t < blocks.end(block); ++t) {
                combine_row<T>(args, t);
            }
        });
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
