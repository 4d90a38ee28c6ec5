// The balance and z losses from the layers' statistics, and their derivatives: a few sums over
// layers and experts, on one thread.
#include "core/experts.h"
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {

void balance_forward(Pool&, const caravan_balance_args& args) {
    const int64_t layers = args.stats.shape[0], width = args.stats.shape[1];
    const int64_t n = args.factors.shape[1] - 1;
    const auto* const stats = data<float>(args.stats);
    const auto inverse = static_cast<double>(data<caravan_step_state>(args.state)->inv_tokens);
    const auto stat = [&](int64_t layer, int64_t i) {
        return static_cast<double>(stats[layer * width + i]);
    };
    const bool all = args.definition == CARAVAN_BALANCE_CHOSEN;
    const int64_t counts = args.definition == CARAVAN_BALANCE_FIRST ? n : 0;
    double tokens_of_all = 0;
    for (int64_t l = 0; l < layers; ++l) tokens_of_all += stat(l, 3 * n + 1);
    for (int64_t l = 0; l < layers; ++l) {
        const double tokens = stat(l, 3 * n + 1);
        const double share = tokens * inverse;
        float* const factors = data<float>(args.factors) + l * (n + 1);
        double* const totals = data<double>(args.totals) + l * (n + 3);
        double assigned = 0;
        for (int64_t e = 0; e < n; ++e) {
            assigned += stat(l, e);
            totals[3 + e] += stat(l, e);
            factors[e] = 0;
            if (args.definition == CARAVAN_BALANCE_NONE || tokens == 0) continue;
            double count = stat(l, counts + e);
            for (int64_t other = 0; all && other < layers; ++other) {
                if (other != l) count += stat(other, e);
            }
            const double over = all ? tokens_of_all : tokens;
            const double slope = static_cast<double>(n) * (count / over) / over;  // of a p
            totals[0] += slope * stat(l, 2 * n + e) * share;
            factors[e] = static_cast<float>(static_cast<double>(args.weight) * slope * share);
        }
        factors[n] =
            tokens == 0 ? 0.0f : static_cast<float>(static_cast<double>(args.z_weight) * inverse);
        totals[1] += tokens == 0 ? 0.0 : stat(l, 3 * n) * inverse;
        if (args.offsets.data != nullptr) {
            totals[2] += assigned - data<int32_t>(args.offsets)[l * (n + 1) + n];
        }
    }
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
