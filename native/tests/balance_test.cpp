// Balance and z losses against the formulas of their sources, written out token by token; that
// their factors are the derivatives of the losses; empty layers; refusals.
#include "tests/harness.h"
#include "tests/reference/experts.h"

namespace {

using reference::at;
using reference::Numbers;
using reference::Router;
using test::Random;
using test::Stream;
using test::Tensor;

constexpr int32_t F32 = CARAVAN_F32;

// The weighted loss of all layers; p [layer][token][expert] and the choices are what a router gave.
double loss(int32_t definition, double weight, double z_weight, int64_t experts, int64_t choices,
            const std::vector<Numbers>& logits, const std::vector<reference::Ints>& chosen) {
    double sum = 0, z = 0;
    const auto layers = static_cast<int64_t>(logits.size());
    Numbers share(at(experts)), mean(at(experts));
    double counted = 0;
    for (int64_t l = 0; l < layers; ++l) {
        const auto tokens = static_cast<int64_t>(logits[at(l)].size()) / experts;
        const Router r = {tokens, experts, choices, tokens, false, false};
        if (definition == CARAVAN_BALANCE_FIRST) {
            share.assign(at(experts), 0);
            mean.assign(at(experts), 0);
            counted = 0;
        }
        for (int64_t t = 0; t < tokens; ++t) {
            const auto s = reference::scores<double>(r, logits[at(l)], t);
            const int64_t taken = definition == CARAVAN_BALANCE_FIRST ? 1 : choices;
            for (int64_t c = 0; c < taken; ++c) {
                share[at(chosen[at(l)][at(t * choices + c)])] += 1;
            }
            for (int64_t e = 0; e < experts; ++e) mean[at(e)] += s.p[at(e)];
            z += s.lse * s.lse / static_cast<double>(tokens);
            counted += 1;
        }
        if (definition == CARAVAN_BALANCE_CHOSEN && l + 1 < layers) continue;
        for (int64_t e = 0; e < experts; ++e) {
            sum += static_cast<double>(experts) * share[at(e)] / counted * mean[at(e)] / counted;
        }
    }
    return (definition == CARAVAN_BALANCE_NONE ? 0 : weight * sum) + z_weight * z;
}

void check(int32_t definition, int64_t layers, int64_t tokens, int64_t experts, int64_t choices) {
    test::context() = "definition " + std::to_string(definition) + " " +
                      test::shape_name({layers, tokens, experts, choices});
    Random random(static_cast<uint64_t>(definition * 100 + layers));
    Stream stream;
    const Router r = {tokens, experts, choices, tokens, false, true};
    std::vector<Numbers> logits;
    std::vector<reference::Ints> chosen;
    Numbers stats;
    for (int64_t l = 0; l < layers; ++l) {
        logits.push_back(random.normals(tokens * experts));
        chosen.push_back(reference::choose(r, logits.back()));
        const auto routed = reference::route<double>(r, logits.back(), chosen.back());
        stats.insert(stats.end(), routed.stats.begin(), routed.stats.end());
    }
    const double weight = 0.25, z_weight = 0.125;
    Tensor in = Tensor::of(F32, {layers, 3 * experts + 2}, stats);
    Tensor factors(F32, {layers, experts + 1});
    Tensor totals =
        Tensor::of(CARAVAN_F64, {layers, experts + 3}, Numbers(at(layers * (experts + 3)), 1));
    Tensor offsets =
        Tensor::of(CARAVAN_I32, {layers, experts + 1}, Numbers(at(layers * (experts + 1)), 1));
    test::Box<caravan_step_state> state;
    state->inv_tokens = static_cast<float>(1 / (2.0 * static_cast<double>(tokens)));
    caravan_balance_args args = {};
    args.size = sizeof args;
    args.stats = in.view();
    args.state = state.view();
    args.factors = factors.view();
    args.totals = totals.view();
    args.offsets = offsets.view();
    args.weight = static_cast<float>(weight);
    args.z_weight = static_cast<float>(z_weight);
    args.definition = definition;
    args.choices = static_cast<int32_t>(choices);
    CHECK_OK(caravan_balance_forward(stream, &args));

    const double exact = loss(definition, weight, z_weight, experts, choices, logits, chosen);
    double got = 0, z = 0;
    for (int64_t l = 0; l < layers; ++l) {
        got += weight * (totals.get(l * (experts + 3)) - 1);
        z += z_weight * (totals.get(l * (experts + 3) + 1) - 1);
        CHECK_NEAR(totals.get(l * (experts + 3) + 2), 1 + static_cast<double>(tokens * choices - 1),
                   1e-9);
        for (int64_t e = 0; e < experts; ++e) {
            CHECK_NEAR(totals.get(l * (experts + 3) + 3 + e),
                       1 + stats[at(l * (3 * experts + 2) + e)], 1e-9);
        }
    }
    CHECK_NEAR(2 * (got + z), exact, 2e-6 * std::fabs(exact));  // half of the step's tokens
    // The factors, by way of the router's gradient, are the derivative of the loss.
    for (int64_t l = 0; l < layers; ++l) {
        Numbers own;
        for (int64_t e = 0; e <= experts; ++e)
            own.push_back(2 * factors.get(l * (experts + 1) + e));
        const auto gradient = reference::route_back<double>(r, logits[at(l)], chosen[at(l)],
                                                            Numbers(at(tokens * choices), 0), own);
        for (int64_t i = 0; i < tokens * experts; ++i) {
            auto moved = logits;
            moved[at(l)][at(i)] += 1e-5;
            const double above =
                loss(definition, weight, z_weight, experts, choices, moved, chosen);
            moved[at(l)][at(i)] -= 2e-5;
            const double below =
                loss(definition, weight, z_weight, experts, choices, moved, chosen);
            CHECK_NEAR(gradient[at(i)], (above - below) / 2e-5, 1e-6);
        }
    }
    test::context().clear();
}

void no_tokens() {
    Stream stream;
    Tensor stats = Tensor::of(F32, {2, 8}, Numbers(16, 0)), factors(F32, {2, 3});
    Tensor totals = Tensor::of(CARAVAN_F64, {2, 5}, Numbers(10, 0));
    test::Box<caravan_step_state> state;
    state->inv_tokens = 0.1f;
    caravan_balance_args args = {};
    args.size = sizeof args;
    args.stats = stats.view();
    args.state = state.view();
    args.factors = factors.view();
    args.totals = totals.view();
    args.weight = args.z_weight = 1;
    args.choices = 1;
    for (int32_t definition : {CARAVAN_BALANCE_FIRST, CARAVAN_BALANCE_CHOSEN}) {
        args.definition = definition;
        CHECK_OK(caravan_balance_forward(stream, &args));
        for (double value : factors.values()) CHECK_EQUAL(value, 0.0);
        for (double value : totals.values()) CHECK_EQUAL(value, 0.0);
    }
    args.definition = 3;
    CHECK_REFUSED(caravan_balance_forward(stream, &args), "balance_forward", "definition: got 3");
    args.definition = 0;
    args.choices = 3;
    CHECK_REFUSED(caravan_balance_forward(stream, &args),
                  "choices: got 3, needs 1 to the 2 experts");
    args.choices = 1;
    args.stats.shape[1] = args.stats.stride[0] = 7;
    CHECK_REFUSED(caravan_balance_forward(stream, &args), "stats: got rows of 7");
}

}  // namespace

int main() {
    for (int32_t definition :
         {CARAVAN_BALANCE_NONE, CARAVAN_BALANCE_FIRST, CARAVAN_BALANCE_CHOSEN}) {
        check(definition, 1, 6, 4, 2);
        check(definition, 3, 5, 3, 3);
        check(definition, 2, 9, 5, 1);
    }
    no_tokens();
    return test::finish();
}
