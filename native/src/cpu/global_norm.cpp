// The norm of all gradients, and from it the factor that clips them. Squares and sums in double:
// they overflow in float32 where a gradient does not, and there are up to 10^10 of them.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/blocks.h"
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

template <typename T>
double sum_of_squares(const T* x, int64_t n) {
    VecD low = {}, high = {};
    for_vectors(n, [&](int64_t i, auto part) {
        const Doubles wide = to_double(load(x + i, part));
        low += wide.low * wide.low;
        high += wide.high * wide.high;
    });
    return reduce_add(low + high);
}

}  // namespace

void global_norm_forward(Pool& pool, const caravan_global_norm_args& args) {
    const Blocks blocks = element_blocks(args.grads.shape[0]);
    auto* const partials = data<double>(args.workspace);
    with_storage(args.grads.dtype, [&](auto tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        pool.run(blocks.count, [&](int64_t block, int) {
            const int64_t first = blocks.begin(block);
            partials[block] =
                sum_of_squares(data<T>(args.grads) + first, blocks.end(block) - first);
        });
    });
    double total = 0;
    for (int64_t block = 0; block < blocks.count; ++block) total += partials[block];

    auto& state = *data<caravan_step_state>(args.state);
    const double norm = std::sqrt(total);
    state.grad_norm = static_cast<float>(norm);
    state.finite = std::isfinite(state.grad_norm) ? 1 : 0;
    const auto clip = static_cast<double>(state.clip_norm);
    const bool clips = clip > 0 && state.finite != 0;
    state.clip_factor = clips ? static_cast<float>(std::min(1.0, clip / (norm + 1e-6))) : 1.0f;
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
