// Soft-max cross-entropy of a chunk of logit rows, with its gradient in place. Each row is one
// task's: read once for maximum and sum together, and once more to be turned into its gradient.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/blocks.h"
#include "cpu/kernels.h"
#include "cpu/soft_max.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

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

// The same of a part of the classes, `own` columns of which are no padding, where maximum, sum and
// the target's logit of the whole row are known; target: its column, or out of range.
template <typename T>
double cross_entropy_part(T* x, int64_t n, int64_t own, const SoftMax& s, double target_logit,
                          int64_t target, bool gradient, double scale) {
    const double nll = static_cast<double>(s.max) + std::log(s.sum) - target_logit;
    if (!gradient) return nll;
    const auto factor = static_cast<float>(scale / s.sum);
    for_vectors(own, [&](int64_t i, auto part) {
        store(x + i, exp(load(x + i, part) - s.max) * factor, part);
    });
    std::fill(x + own, x + n, T{});
    if (target >= 0 && target < own) {
        x[target] = from_float<T>(static_cast<float>(std::expm1(-nll) * scale));
    }
    return nll;
}

// Brings the statistics of all parts of a row to one maximum and sum, in the order of the parts.
SoftMax all_parts(const caravan_tensor& statistics, int64_t row, double& target_logit) {
    const int64_t parts = statistics.shape[0], rows = statistics.shape[1];
    const auto* const values = data<float>(statistics);
    SoftMax all = {-INFINITY, 0.0};
    target_logit = -INFINITY;
    for (int64_t p = 0; p < parts; ++p) {
        all.max = std::max(all.max, values[3 * (p * rows + row)]);
        target_logit =
            std::max(target_logit, static_cast<double>(values[3 * (p * rows + row) + 2]));
    }
    for (int64_t p = 0; p < parts; ++p) {
        const float most = values[3 * (p * rows + row)];
        const auto sum = static_cast<double>(values[3 * (p * rows + row) + 1]);
        // A part of nothing but -infinity has the sum 0, whatever the others have.
        all.sum += most == -INFINITY ? sum : sum * std::exp(static_cast<double>(most) - all.max);
    }
    return all;
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
    const bool parts = args.statistics.data != nullptr;
    const int64_t own = std::min(vocabulary, std::max<int64_t>(args.classes - args.first_class, 0));
    const Blocks blocks = row_blocks(rows, vocabulary);
    with_storage(args.logits.dtype, [&](auto tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        pool.run(blocks.count, [&](int64_t block, int) {
            for (int64_t i = blocks.begin(block); i < blocks.end(block); ++i) {
                T* const logits = row<T>(args.logits, i);
                if (i < used) {
                    const int64_t k = args.first + i;
                    const int64_t target = data<int32_t>(args.targets)[k];
                    double nll;
                    if (parts) {
                        double target_logit;
                        const SoftMax all = all_parts(args.statistics, i, target_logit);
                        nll = cross_entropy_part(logits, vocabulary, own, all, target_logit,
                                                 target - args.first_class, gradient, scale);
                    } else {
                        nll = cross_entropy_row(logits, vocabulary, target, gradient, scale);
                    }
                    data<float>(args.nll)[k] = static_cast<float>(nll);
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
