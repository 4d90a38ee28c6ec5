// The sort by expert and its capacity against a plain loop over the definition; refusals.
#include "core/random.h"
#include "tests/harness.h"
#include "tests/reference/experts.h"

namespace {

using reference::at;
using reference::Ints;
using reference::Numbers;
using test::Random;
using test::Stream;
using test::Tensor;

constexpr int32_t F32 = CARAVAN_F32, I32 = CARAVAN_I32;

Ints whole(const Numbers& values) { return Ints(values.begin(), values.end()); }

struct Case {
    int64_t tokens, experts, choices, capacity, group;
    int32_t policy;
    int32_t first = 0, in_all = 0;  // the experts that are chosen among, where they are more

    int64_t known() const { return in_all == 0 ? experts : in_all; }
};

constexpr float kThreshold = 0.5f;
constexpr int64_t kSeed = 11, kStep = 3;
constexpr int32_t kSalt = 5;

// Whether a policy wants a choice after the first, by the header's definition.
bool wants(int32_t policy, int64_t assignment, double weight) {
    if (policy == CARAVAN_SECOND_ALL) return true;
    if (policy == CARAVAN_SECOND_THRESHOLD) return weight > static_cast<double>(kThreshold);
    const uint64_t index = (uint64_t{kSalt} << 32) + static_cast<uint64_t>(assignment);
    const uint32_t bits = caravan::element_random(kSeed, kStep, index);
    return (bits >> 8) * 0x1p-24 * static_cast<double>(kThreshold) < weight;
}

// Choices of a token are distinct; `skew` sends them to few experts; some tokens are padding.
Ints choices_of(const Case& c, int skew, Random& random) {
    Ints chosen;
    for (int64_t t = 0; t < c.tokens; ++t) {
        const int64_t first = skew == 0 ? random.below(c.known()) : skew == 1 ? 0 : t % 2;
        for (int64_t k = 0; k < c.choices; ++k) {
            chosen.push_back(t * 8 >= c.tokens * 7 ? -1 : (first + k) % c.known());
        }
    }
    return chosen;
}

void check(const Case& c, int skew, Random& random) {
    test::context() = test::shape_name({c.tokens, c.experts, c.choices, c.capacity, c.group}) +
                      " policy " + std::to_string(c.policy) + " skew " + std::to_string(skew);
    const Ints chosen = choices_of(c, skew, random);
    Ints own = chosen;
    for (auto& e : own) e = e >= c.first && e < c.first + c.experts ? e - c.first : -1;
    Numbers weights;
    std::vector<bool> wanted;
    for (int64_t i = 0; i < c.tokens * c.choices; ++i) {
        weights.push_back(test::rounded(random.uniform(0, 1), F32));
        wanted.push_back(i % c.choices == 0 || wants(c.policy, i, weights.back()));
    }
    const auto expected =
        reference::sort_experts(c.experts, c.choices, own, c.capacity,
                                c.group == 0 ? std::max<int64_t>(c.tokens, 1) : c.group, wanted);
    test::same_bits_for_threads([&](caravan_stream stream) {
        Tensor experts =
            Tensor::of(I32, {c.tokens, c.choices}, Numbers(chosen.begin(), chosen.end()));
        Tensor gates = Tensor::of(F32, {c.tokens, c.choices}, weights);
        Tensor offsets(I32, {c.experts + 1}), assignments(I32, {c.tokens * c.choices});
        Tensor slots(I32, {c.tokens, c.choices});
        test::Box<caravan_step_state> state;
        state->seed = kSeed;
        state->step = kStep;
        caravan_expert_sort_args args = {};
        args.size = sizeof args;
        args.experts = experts.view();
        args.weights = gates.view();
        args.offsets = offsets.view();
        args.assignments = assignments.view();
        args.slots = slots.view();
        args.state = state.view();
        args.salt = kSalt;
        args.capacity = c.capacity;
        args.group = c.group;
        args.policy = c.policy;
        args.threshold = kThreshold;
        args.first = c.first;
        args.in_all = c.in_all;
        int64_t bytes = 0;
        CHECK_OK(caravan_expert_sort_workspace(test::kind(), &args, &bytes));
        Tensor workspace(CARAVAN_U8, {std::max<int64_t>(bytes, 1)});
        args.workspace = workspace.view();
        CHECK_OK(caravan_expert_sort_forward(stream, &args));
        CHECK(whole(offsets.values()) == expected.offsets);
        CHECK(whole(assignments.values()) == expected.assignments);
        CHECK(whole(slots.values()) == expected.slots);
        return offsets.bits() + assignments.bits() + slots.bits();
    });
    test::context().clear();
}

void values() {
    Random random(3);
    const Case cases[] = {
        {0, 4, 2, 0, 0, 0},           {1, 1, 1, 0, 0, 0},         {1, 8, 8, 0, 0, 0},
        {9, 3, 2, 0, 0, 0},           {130, 17, 3, 0, 0, 0},      {64, 4, 2, 5, 16, 0},
        {70, 4, 2, 1, 16, 0},         {40, 8, 1, 3, 0, 0},        {33, 5, 3, 4, 10, 0},
        {48, 6, 2, 0, 0, 1},          {48, 6, 2, 3, 12, 1},       {600, 9, 2, 70, 600, 1},
        {48, 6, 3, 0, 0, 2},          {48, 6, 2, 3, 12, 2},       {600, 9, 2, 70, 250, 2},
        {50, 3, 3, 7, 20, 0},         {129, 4, 1, 9, 64, 0},      {90, 4, 3, 0, 0, 0, 0, 12},
        {90, 4, 3, 0, 0, 0, 8, 12},   {130, 1, 2, 0, 0, 0, 1, 2}, {64, 4, 2, 5, 16, 0, 4, 8},
        {600, 3, 2, 70, 250, 2, 3, 9}};
    for (const Case& c : cases) {
        for (int skew = 0; skew < 3; ++skew) check(c, skew, random);
    }
}

// The random policy keeps a second choice with the probability weight / threshold, anew every step.
void random_policy() {
    Stream stream;
    const int64_t tokens = 4000;
    Numbers chosen, weights;
    for (int64_t t = 0; t < tokens; ++t) {
        chosen.insert(chosen.end(), {0, 1});
        weights.insert(weights.end(), {0.7, 0.3});
    }
    Tensor experts = Tensor::of(I32, {tokens, 2}, chosen);
    Tensor gates = Tensor::of(F32, {tokens, 2}, weights);
    Tensor offsets(I32, {3}), assignments(I32, {2 * tokens}), slots(I32, {tokens, 2});
    test::Box<caravan_step_state> state;
    caravan_expert_sort_args args = {};
    args.size = sizeof args;
    args.experts = experts.view();
    args.weights = gates.view();
    args.offsets = offsets.view();
    args.assignments = assignments.view();
    args.slots = slots.view();
    args.policy = CARAVAN_SECOND_RANDOM;
    args.threshold = 0.5f;
    args.state = state.view();
    int64_t bytes = 0;
    CHECK_OK(caravan_expert_sort_workspace(test::kind(), &args, &bytes));
    Tensor workspace(CARAVAN_U8, {std::max<int64_t>(bytes, 1)});
    args.workspace = workspace.view();
    std::string before;
    for (int64_t step = 1; step <= 2; ++step) {
        state->step = step;
        CHECK_OK(caravan_expert_sort_forward(stream, &args));
        CHECK_EQUAL(offsets.get(1), static_cast<double>(tokens));
        const double kept = (offsets.get(2) - offsets.get(1)) / static_cast<double>(tokens);
        CHECK_NEAR(kept, 0.6, 0.04);  // five standard deviations
        CHECK(slots.bits() != before);
        before = slots.bits();
    }
}

void refusals() {
    Stream stream;
    Tensor experts = Tensor::of(I32, {2, 2}, {0, 1, 1, 3}), offsets(I32, {4});
    Tensor assignments(I32, {4}), slots(I32, {2, 2});
    caravan_expert_sort_args good = {};
    good.size = sizeof good;
    good.experts = experts.view();
    good.offsets = offsets.view();
    good.assignments = assignments.view();
    good.slots = slots.view();
    const auto refused = [&](const char* part, auto&& change) {
        caravan_expert_sort_args args = good;
        change(args);
        CHECK_REFUSED(caravan_expert_sort_forward(stream, &args), "expert_sort_forward", part);
    };
    if (test::kind() == CARAVAN_CPU) {
        refused("experts: got 3 at 3, needs -1 to 2", [](auto&) {});
    }
    refused("capacity: got -1", [](auto& args) { args.capacity = -1; });
    refused("weights: got null", [](auto& args) { args.policy = CARAVAN_SECOND_THRESHOLD; });
    refused("policy: got 3", [](auto& args) { args.policy = 3; });
    refused("first: got 1, needs 0 to 0 for 3 of 3 experts", [](auto& args) { args.first = 1; });
    refused("first: got -1, needs 0 to 5 for 3 of 8 experts", [](auto& args) {
        args.first = -1;
        args.in_all = 8;
    });
    refused("in_all: got 1025 experts", [](auto& args) { args.in_all = 1025; });
    refused("assignments: got shape [3]", [](auto& args) { args.assignments.shape[0] = 3; });
}

}  // namespace

int main() {
    values();
    random_policy();
    refusals();
    return test::finish();
}
