// Soft-max cross-entropy of a chunk of logit rows, with its gradient in place. Each row is one
// task's: read once for maximum and sum together, and once more to be turned into its gradient.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/blocks.h"
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

// Elements of a row that are read twice in a row, the second time from the first-level cache.
constexpr int64_t kStretch = 2048;

struct SoftMax {
    float max;
    double sum;  // of exp(x - max)
};

template <typename T>
float stretch_max(const T* x, int64_t n) {
    Vec most = broadcast(-INFINITY);
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) most = max(load(x + i), most);
    if (i < n) most = max(load_part(x + i, n - i, -INFINITY), most);
    return reduce_max(most);
}

// The running sum is brought to the new maximum whenever one is found (Milakov and Gimelshein 2018,
// arXiv 1805.02867, algorithm 3). Stretches are added in double: a vocabulary has 10^5 terms.
template <typename T>
SoftMax soft_max(const T* x, int64_t n) {
    SoftMax result = {-INFINITY, 0.0};
    for (int64_t first = 0; first < n; first += kStretch) {
        const int64_t count = std::min(kStretch, n - first);
        const T* const part_x = x + first;
        const float most = stretch_max(part_x, count);
        if (most > result.max) {
            result.sum *= std::exp(static_cast<double>(result.max) - most);
            result.max = most;
        }
        // Nothing but -infinity so far: exp(x - max) would be NaN instead of the 0 that it is.
        const float shift = result.max == -INFINITY ? 0.0f : result.max;
        int64_t i = 0;
        Vec sum = {};
        for (; i + kLanes <= count; i += kLanes) sum += exp(load(part_x + i) - shift);
        if (i < count) sum += exp(load_part(part_x + i, count - i, -INFINITY) - shift);
        result.sum += static_cast<double>(reduce_add(sum));
    }
    return result;
}

// Returns the negative log-likelihood of the target; with `gradient`, turns x into
// (softmax(x) - onehot(target)) * scale.
template <typename T>
double cross_entropy_row(T* x, int64_t n, int64_t target, bool gradient, double scale) {
    const SoftMax s = soft_max(x, n);
    const double nll =
        static_cast<double>(s.max) + std::log(s.sum) - static_cast<double>(to_float(x[target]));
    if (!gradient) return nll;
    const auto factor = static_cast<float>(scale / s.sum);
    for_vectors(n, [&](int64_t i, auto part) {
        store(x + i, exp(load(x + i, part) - s.max) * factor, part);
    });
    // p - 1 = exp(-nll) - 1, without the cancellation that p near 1 would bring.
    x[target] = from_float<T>(static_cast<float>(std::expm1(-nll) * scale));
    return nll;
}

}  // namespace

void cross_entropy_forward(Pool& pool, const caravan_cross_entropy_args& args) {
    const int64_t rows = args.logits.shape[0];
    const int64_t vocabulary = args.logits.shape[1];
    const bool gradient = args.gradient != 0;
    const int64_t left = *data<int32_t>(args.count) - args.first;
    const int64_t used = std::min(std::max<int64_t>(left, 0), rows);
    auto& state = *data<caravan_step_state>(args.state);
    const auto scale = static_cast<double>(state.inv_targets);
    const Blocks blocks = row_blocks(rows, vocabulary);
    with_storage(args.logits.dtype, [&](auto tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        pool.run(blocks.count, [&](int64_t block, int) {
            for (int64_t i = blocks.begin(block); i < blocks.end(block); ++i) {
                T* const logits = row<T>(args.logits, i);
                if (i < used) {
                    const int64_t k = args.first + i;
                    const int64_t target = data<int32_t>(args.targets)[k];
                    data<float>(args.nll)[k] = static_cast<float>(
                        cross_entropy_row(logits, vocabulary, target, gradient, scale));
                } else if (gradient) {
                    std::fill(logits, logits + vocabulary, T{});
                }
            }
        });
    });
    double sum = 0;
    for (int64_t i = 0; i < used; ++i) sum += data<float>(args.nll)[args.first + i];
    state.loss_sum += sum;
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
