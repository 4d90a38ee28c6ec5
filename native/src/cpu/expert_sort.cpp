// A stable counting sort of assignments by expert, with capacity. One thread: a few operations for
// each assignment, beside the thousands that its products take.
#include <algorithm>

#include "core/experts.h"
#include "core/random.h"
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

constexpr int32_t kDropped = -1, kKept = 0;

// The expert of an assignment among those that are sorted.
int32_t expert_of(const caravan_expert_sort_args& args, int64_t assignment) {
    const int32_t e = data<int32_t>(args.experts)[assignment] - args.first;
    return e < args.offsets.shape[0] - 1 ? e : -1;
}

// Whether the policy keeps a choice after the first.
bool keeps(const caravan_expert_sort_args& args, int64_t assignment) {
    if (args.policy == CARAVAN_SECOND_ALL) return true;
    const float weight = data<float>(args.weights)[assignment];
    if (args.policy == CARAVAN_SECOND_THRESHOLD) return weight > args.threshold;
    const auto& state = *data<caravan_step_state>(args.state);
    const uint64_t index = (static_cast<uint64_t>(static_cast<uint32_t>(args.salt)) << 32) +
                           static_cast<uint64_t>(assignment);
    const uint32_t bits = element_random(state.seed, static_cast<uint64_t>(state.step), index);
    return static_cast<float>(bits >> 8) * 0x1p-24f * args.threshold < weight;
}

// Marks the assignments of tokens [from, to) in slots.
void mark(const caravan_expert_sort_args& args, int64_t from, int64_t to) {
    const int64_t choices = args.experts.shape[1];
    int64_t taken[CARAVAN_MAX_EXPERTS] = {};
    for (int64_t c = 0; c < choices; ++c) {
        for (int64_t t = from; t < to; ++t) {
            const int64_t i = t * choices + c;
            const int32_t e = expert_of(args, i);
            bool kept = e >= 0 && (c == 0 || keeps(args, i));
            if (kept && args.capacity > 0) kept = taken[e]++ < args.capacity;
            data<int32_t>(args.slots)[i] = kept ? kKept : kDropped;
        }
    }
}

}  // namespace

void expert_sort_forward(Pool&, const caravan_expert_sort_args& args) {
    const int64_t tokens = args.experts.shape[0], all = tokens * args.experts.shape[1];
    const int64_t n = args.offsets.shape[0] - 1;
    auto* const slots = data<int32_t>(args.slots);
    auto* const offsets = data<int32_t>(args.offsets);
    auto* const assignments = data<int32_t>(args.assignments);
    const int64_t group = args.group == 0 ? std::max<int64_t>(tokens, 1) : args.group;
    for (int64_t from = 0; from < tokens; from += group) {
        mark(args, from, std::min(from + group, tokens));
    }
    int32_t next[CARAVAN_MAX_EXPERTS] = {};
    for (int64_t i = 0; i < all; ++i) {
        if (slots[i] == kKept) ++next[expert_of(args, i)];
    }
    int32_t sum = 0;
    for (int64_t e = 0; e < n; ++e) {
        offsets[e] = sum;
        sum += next[e];
        next[e] = offsets[e];
    }
    offsets[n] = sum;
    for (int64_t i = 0; i < all; ++i) {
        if (slots[i] != kKept) continue;
        slots[i] = next[expert_of(args, i)]++;
        assignments[slots[i]] = static_cast<int32_t>(i);
    }
    std::fill(assignments + sum, assignments + all, -1);
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
