// Checks that the ops of sparse experts share.
#pragma once

#include "api/dispatch.h"
#include "core/experts.h"

namespace caravan {

inline void check_experts(const Check& check, int64_t experts) {
    check.that(experts >= 1 && experts <= CARAVAN_MAX_EXPERTS, "experts: got %lld, needs 1 to %d",
               static_cast<long long>(experts), CARAVAN_MAX_EXPERTS);
}

// Reads memory, so only for an op that runs on the CPU: offsets ascend from 0 to at most `rows`.
// Returns the last.
inline int64_t check_offsets(const Check& check, const caravan_tensor& offsets, int64_t rows) {
    const auto* values = static_cast<const int32_t*>(offsets.data);
    for (int64_t e = 0; e < offsets.shape[0]; ++e) {
        const int64_t least = e == 0 ? 0 : values[e - 1], most = e == 0 ? 0 : rows;
        check.that(values[e] >= least && values[e] <= most,
                   "offsets: got %d at %lld, needs %lld to %lld", values[e],
                   static_cast<long long>(e), static_cast<long long>(least),
                   static_cast<long long>(most));
    }
    return values[offsets.shape[0] - 1];
}

}  // namespace caravan
