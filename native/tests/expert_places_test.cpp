// Rows to the devices that share experts, behind a sort, against a plain loop over the tokens;
// refusals.
#include "tests/harness.h"
#include "tests/reference/experts.h"

namespace {

using reference::at;
using reference::Ints;
using reference::Numbers;
using test::Random;
using test::Stream;
using test::Tensor;

constexpr int32_t I32 = CARAVAN_I32;

Ints whole(const Numbers& values) { return Ints(values.begin(), values.end()); }
Numbers numbers(const Ints& values) { return Numbers(values.begin(), values.end()); }

struct Case {
    int64_t tokens, experts, choices, devices, each, capacity;
};

struct Places {
    Ints sent, tokens, experts, places;
};

// A device's rows: of each of its experts in turn, the tokens that the sort kept, in their order.
Places places(const Case& c, const Ints& chosen, const Ints& slots) {
    const int64_t share = c.experts / c.devices;
    const Ints empty(at(c.devices * c.each), -1);
    Places result = {empty, empty, empty, Ints(chosen.size(), -1)};
    for (int64_t device = 0; device < c.devices; ++device) {
        int64_t place = 0;
        for (int64_t e = device * share; e < (device + 1) * share; ++e) {
            for (int64_t t = 0; t < c.tokens; ++t) {
                for (int64_t k = 0; k < c.choices; ++k) {
                    const int64_t i = t * c.choices + k;
                    if (chosen[at(i)] != e || slots[at(i)] < 0 || place == c.each) continue;
                    result.sent[at(device * c.each + place)] = i;
                    result.tokens[at(device * c.each + place)] = t;
                    result.experts[at(device * c.each + place)] = e;
                    result.places[at(i)] = device * c.each + place++;
                }
            }
        }
    }
    return result;
}

void check(const Case& c, int skew, Random& random) {
    test::context() = test::shape_name({c.tokens, c.experts, c.choices, c.devices, c.each}) +
                      " skew " + std::to_string(skew);
    Ints
        chosen;  // a token's are distinct; skew 1: of one device alone; the last tokens are padding
    for (int64_t t = 0; t < c.tokens; ++t) {
        const int64_t first = skew == 0 ? random.below(c.experts) : 0;
        for (int64_t k = 0; k < c.choices; ++k) {
            chosen.push_back(t * 8 >= c.tokens * 7 ? -1 : (first + k) % c.experts);
        }
    }
    const auto sorted = reference::sort_experts(c.experts, c.choices, chosen, c.capacity,
                                                std::max<int64_t>(c.tokens, 1),
                                                std::vector<bool>(chosen.size(), true));
    const Places expected = places(c, chosen, sorted.slots);
    test::same_bits_for_threads([&](caravan_stream stream) {
        Tensor experts = Tensor::of(I32, {c.tokens, c.choices}, numbers(chosen));
        Tensor offsets = Tensor::of(I32, {c.experts + 1}, numbers(sorted.offsets));
        Tensor assignments = Tensor::of(I32, {c.tokens * c.choices}, numbers(sorted.assignments));
        Tensor slots = Tensor::of(I32, {c.tokens, c.choices}, numbers(sorted.slots));
        Tensor sent(I32, {c.devices, c.each}), tokens(I32, {c.devices, c.each});
        Tensor sent_experts(I32, {c.devices, c.each}), place(I32, {c.tokens, c.choices});
        caravan_expert_places_args args = {};
        args.size = sizeof args;
        args.experts = experts.view();
        args.offsets = offsets.view();
        args.assignments = assignments.view();
        args.slots = slots.view();
        args.sent = sent.view();
        args.tokens = tokens.view();
        args.sent_experts = sent_experts.view();
        args.places = place.view();
        CHECK_OK(caravan_expert_places_forward(stream, &args));
        CHECK(whole(sent.values()) == expected.sent);
        CHECK(whole(tokens.values()) == expected.tokens);
        CHECK(whole(sent_experts.values()) == expected.experts);
        CHECK(whole(place.values()) == expected.places);
        return sent.bits() + tokens.bits() + sent_experts.bits() + place.bits();
    });
    test::context().clear();
}

void values() {
    Random random(17);
    const Case cases[] = {{0, 4, 2, 2, 3, 0},      {1, 1, 1, 1, 1, 0},     {9, 4, 2, 4, 9, 0},
                          {40, 6, 3, 2, 120, 0},   {40, 6, 3, 3, 11, 0},   {64, 8, 2, 4, 10, 5},
                          {130, 16, 4, 2, 80, 10}, {300, 64, 8, 8, 64, 8}, {20, 4, 1, 2, 0, 0}};
    for (const Case& c : cases) {
        for (int skew = 0; skew < 2; ++skew) check(c, skew, random);
    }
}

void refusals() {
    Stream stream;
    Tensor experts = Tensor::of(I32, {2, 2}, {0, 1, 2, 3}),
           slots = Tensor::of(I32, {2, 2}, {0, 1, 2, 3});
    Tensor offsets = Tensor::of(I32, {5}, {0, 1, 2, 3, 4});
    Tensor assignments = Tensor::of(I32, {4}, {0, 1, 2, 3}), places(I32, {2, 2});
    Tensor sent(I32, {2, 3}), tokens(I32, {2, 3}), sent_experts(I32, {2, 3});
    caravan_expert_places_args good = {};
    good.size = sizeof good;
    good.experts = experts.view();
    good.offsets = offsets.view();
    good.assignments = assignments.view();
    good.slots = slots.view();
    good.sent = sent.view();
    good.tokens = tokens.view();
    good.sent_experts = sent_experts.view();
    good.places = places.view();
    CHECK_OK(caravan_expert_places_forward(stream, &good));
    const auto refused = [&](const char* part, auto&& change) {
        caravan_expert_places_args args = good;
        change(args);
        CHECK_REFUSED(caravan_expert_places_forward(stream, &args), "expert_places_forward", part);
    };
    refused("sent: got 3 devices for 4 experts, needs a divisor", [](auto& args) {
        args.sent.shape[0] = 3;
        args.sent.shape[1] = args.sent.stride[0] = 2;
    });
    refused("assignments: got shape [3]", [](auto& args) { args.assignments.shape[0] = 3; });
    refused("tokens: got shape [2, 2]",
            [](auto& args) { args.tokens.shape[1] = args.tokens.stride[0] = 2; });
    refused("experts: got 0, needs 1 to 1024", [](auto& args) { args.offsets.shape[0] = 1; });
    if (test::kind() == CARAVAN_CPU) {
        experts.set({0, 1, 2, 4});
        refused("experts: got 4 at 3, needs -1 to 3", [](auto&) {});
        experts.set({0, 1, 2, 3});
        slots.set({0, 1, 2, 7});
        refused("slots: got 7 at 3, needs -1 to 3", [](auto&) {});
        offsets.set({0, 1, 2, 3, 9});
        refused("offsets: got 9 at 4, needs 3 to 4", [](auto&) {});
    }
}

}  // namespace

int main() {
    values();
    refusals();
    return test::finish();
}
