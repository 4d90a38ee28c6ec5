// The router against a double reference over hard routings; its gradient with those of the balance
// and z losses; ties, padding, NaN; refusals.
#include "tests/harness.h"
#include "tests/reference/experts.h"

namespace {

using reference::Numbers;
using reference::Router;
using test::Random;
using test::Stream;
using test::Tensor;

constexpr int32_t F32 = CARAVAN_F32, I32 = CARAVAN_I32;

std::vector<int64_t> whole(const Numbers& values) {
    return std::vector<int64_t>(values.begin(), values.end());
}

void check(const Router& r, const Numbers& logits, Random& random) {
    test::context() = test::shape_name({r.tokens, r.experts, r.choices, r.rows}) +
                      (r.sigmoid ? " sigmoid" : " soft-max") + (r.renormalise ? " shared out" : "");
    const int64_t assignments = r.tokens * r.choices;
    const auto experts = reference::choose(r, logits);
    const auto exact = reference::route<double>(r, logits, experts);
    const auto plain = reference::route<float>(r, logits, experts);
    const auto slope = random.normals(assignments);
    auto factors = random.normals(r.experts + 1);
    // Slots in some order, and a few assignments without one.
    Numbers by_slot(reference::at(assignments)), slots, by_assignment;
    for (int64_t i = 0; i < assignments; ++i) {
        const bool dropped = random.below(5) == 0;
        slots.push_back(dropped ? -1 : static_cast<double>(assignments - 1 - i));
        by_slot[reference::at(assignments - 1 - i)] = slope[reference::at(i)];
        by_assignment.push_back(dropped ? 0 : test::rounded(slope[reference::at(i)], F32));
    }
    factors = test::rounded(factors, F32);
    const auto exact_back =
        reference::route_back<double>(r, logits, experts, by_assignment, factors);
    const auto plain_back =
        reference::route_back<float>(r, logits, experts, by_assignment, factors);

    test::same_bits_for_threads([&](caravan_stream stream) {
        Tensor x = Tensor::of(F32, {r.tokens, r.experts}, logits);
        Tensor rows = Tensor::of(I32, {1}, {static_cast<double>(r.rows)});
        Tensor weights(F32, {r.tokens, r.choices}), chosen(I32, {r.tokens, r.choices});
        Tensor stats(F32, {3 * r.experts + 2});
        caravan_router_forward_args args = {};
        args.size = sizeof args;
        args.logits = x.view();
        args.rows = rows.view();
        args.weights = weights.view();
        args.experts = chosen.view();
        args.stats = stats.view();
        args.scoring = r.sigmoid ? CARAVAN_SIGMOID : CARAVAN_SOFTMAX;
        args.renormalise = r.renormalise;
        int64_t bytes = 0;
        CHECK_OK(caravan_router_forward_workspace(test::kind(), &args, &bytes));
        Tensor workspace(CARAVAN_U8, {std::max<int64_t>(bytes, 1)});
        args.workspace = workspace.view();
        CHECK_OK(caravan_router_forward(stream, &args));
        CHECK(whole(chosen.values()) == experts);
        CHECK_ACCURACY(weights.values(), plain.weights, exact.weights);
        CHECK_ACCURACY(stats.values(), plain.stats, exact.stats);

        Tensor d_weights = Tensor::of(F32, {assignments}, by_slot);
        Tensor places = Tensor::of(I32, {r.tokens, r.choices}, slots);
        Tensor of_losses = Tensor::of(F32, {r.experts + 1}, factors);
        Tensor d_logits(F32, {r.tokens, r.experts});
        caravan_router_backward_args back = {};
        back.size = sizeof back;
        back.logits = x.view();
        back.rows = rows.view();
        back.weights = weights.view();
        back.experts = chosen.view();
        back.d_weights = d_weights.view();
        back.slots = places.view();
        back.factors = of_losses.view();
        back.d_logits = d_logits.view();
        back.scoring = args.scoring;
        back.renormalise = args.renormalise;
        CHECK_OK(caravan_router_backward(stream, &back));
        CHECK_ACCURACY(d_logits.values(), plain_back, exact_back);
        return weights.bits() + chosen.bits() + stats.bits() + d_logits.bits();
    });
    test::context().clear();
}

void values() {
    Random random(1);
    const int64_t shapes[][4] = {{1, 1, 1, 1},      {1, 5, 2, 1},    {3, 4, 4, 2},
                                 {7, 8, 2, 7},      {9, 17, 3, 0},   {33, 64, 8, 30},
                                 {130, 16, 2, 130}, {70, 130, 6, 65}};
    for (const auto& s : shapes) {
        for (int mode = 0; mode < 4; ++mode) {
            const Router r = {s[0], s[1], s[2], s[3], (mode & 1) != 0, (mode & 2) != 0};
            auto logits = test::rounded(random.normals(r.tokens * r.experts, 2), F32);
            check(r, logits, random);
            // Every token alike, with ties: the lowest experts win.
            for (size_t i = 0; i < logits.size(); ++i) logits[i] = i % reference::at(r.experts) < 2;
            check(r, logits, random);
        }
    }
}

// The reference's gradient is that of a loss made of its own values.
void reference_gradient() {
    Random random(2);
    for (int mode = 0; mode < 4; ++mode) {
        const Router r = {5, 6, 3, 4, (mode & 1) != 0, (mode & 2) != 0};
        const auto logits = random.normals(r.tokens * r.experts);
        const auto experts = reference::choose(r, logits);
        const auto d_weights = random.normals(r.tokens * r.choices);
        const auto factors = random.normals(r.experts + 1);
        const auto gradient = reference::route_back<double>(r, logits, experts, d_weights, factors);
        CHECK_GRADIENT(logits, gradient, [&](const Numbers& x) {
            const auto routed = reference::route<double>(r, x, experts);
            double loss = test::dot(routed.weights, d_weights);
            for (int64_t e = 0; e < r.experts; ++e) {
                loss += factors[reference::at(e)] * routed.stats[reference::at(2 * r.experts + e)];
            }
            return loss +
                   factors[reference::at(r.experts)] * routed.stats[reference::at(3 * r.experts)];
        });
    }
}

// A NaN reaches every weight of its token and no other; an infinitely small logit is never chosen
// before a finite one.
void not_numbers() {
    Stream stream;
    Tensor x = Tensor::of(F32, {3, 4}, {1, NAN, 2, 3, -INFINITY, 1, -INFINITY, 0, 4, 3, 2, 1});
    for (int32_t scoring : {CARAVAN_SOFTMAX, CARAVAN_SIGMOID}) {
        Tensor weights(F32, {3, 3}), chosen(I32, {3, 3}), stats(F32, {14});
        caravan_router_forward_args args = {};
        args.size = sizeof args;
        args.logits = x.view();
        args.weights = weights.view();
        args.experts = chosen.view();
        args.stats = stats.view();
        args.scoring = scoring;
        int64_t bytes = 0;
        CHECK_OK(caravan_router_forward_workspace(test::kind(), &args, &bytes));
        Tensor workspace(CARAVAN_U8, {bytes});
        args.workspace = workspace.view();
        CHECK_OK(caravan_router_forward(stream, &args));
        CHECK(whole(chosen.values()) == std::vector<int64_t>({3, 2, 0, 1, 3, 0, 0, 1, 2}));
        for (int64_t c = 0; c < 3; ++c) {
            CHECK(std::isnan(weights.get(c)));
            CHECK(std::isfinite(weights.get(3 + c)) && std::isfinite(weights.get(6 + c)));
        }
    }
}

void refusals() {
    Stream stream;
    Tensor x(F32, {4, 3}), weights(F32, {4, 2}), many(F32, {4, 4}), chosen(I32, {4, 2});
    Tensor stats(F32, {11}), rows = Tensor::of(I32, {1}, {5}), workspace(CARAVAN_U8, {4096});
    caravan_router_forward_args good = {};
    good.size = sizeof good;
    good.logits = x.view();
    good.weights = weights.view();
    good.experts = chosen.view();
    good.stats = stats.view();
    good.workspace = workspace.view();
    const auto refused = [&](const char* part, auto&& change) {
        caravan_router_forward_args args = good;
        change(args);
        CHECK_REFUSED(caravan_router_forward(stream, &args), "router_forward", part);
    };
    refused("weights: got 4 choices, needs 1 to the 3 experts",
            [&](auto& args) { args.weights = many.view(); });
    refused("scoring: got 2", [](auto& args) { args.scoring = 2; });
    refused("stats: got shape [4]", [](auto& args) { args.stats.shape[0] = 4; });
    refused("workspace: got null", [](auto& args) { args.workspace.data = nullptr; });
    if (test::kind() == CARAVAN_CPU) {
        refused("rows: got 5, needs 0 to 4", [&](auto& args) { args.rows = rows.view(); });
    }
}

}  // namespace

int main() {
    reference_gradient();
    values();
    not_numbers();
    refusals();
    return test::finish();
}
