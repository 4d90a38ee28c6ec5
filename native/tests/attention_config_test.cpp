// Which kernels of attention a CUDA device runs follows from what its matrix instructions take.
#include "cuda/attention_config.h"

#include "tests/attention_problem.h"
#include "tests/harness.h"

namespace {

using caravan::cuda::attention_config;
using caravan::cuda::AttentionRoute;
using caravan::cuda::AttentionWidths;
using test::AttentionProblem;

constexpr int32_t F32 = CARAVAN_F32, BF16 = CARAVAN_BF16;

void routes() {
    const auto problem = [](int32_t dtype, int64_t width, int64_t value_width) {
        return AttentionProblem(test::documents({{8, 8}}, 4, 2, width, value_width), dtype, 0, 1);
    };
    const auto route = [&](int32_t dtype, int64_t width, int64_t value_width) {
        AttentionProblem p = problem(dtype, width, value_width);
        const auto forward = attention_config(p.forward_args(), 80);
        const auto backward = attention_config(p.backward_args(), 80);
        CHECK(forward.route == backward.route && forward.widths == backward.widths);
        const auto ninety = attention_config(p.forward_args(), 90);
        CHECK((ninety.route == AttentionRoute::kSm90) == (forward.route == AttentionRoute::kMma));
        CHECK(ninety.widths == forward.widths);
        CHECK(attention_config(p.forward_args(), 120).route == forward.route);
        return forward;
    };
    CHECK(route(BF16, 64, 64).route == AttentionRoute::kMma);
    CHECK(route(BF16, 64, 64).widths == AttentionWidths::k64);
    CHECK(route(BF16, 8, 56).widths == AttentionWidths::k64);
    CHECK(route(BF16, 96, 40).widths == AttentionWidths::k128);
    CHECK(route(BF16, 40, 128).widths == AttentionWidths::k128);
    CHECK(route(F32, 64, 64).route == AttentionRoute::kPlain);
    CHECK(route(BF16, 60, 64).route == AttentionRoute::kPlain);
    CHECK(route(BF16, 64, 60).route == AttentionRoute::kPlain);
    CHECK(route(BF16, 1024, 1024).route == AttentionRoute::kPlain);
    const auto changed = [&](auto change) {
        AttentionProblem p = problem(BF16, 64, 64);
        auto args = p.backward_args();
        change(args);
        return attention_config(args, 80).route == AttentionRoute::kPlain;
    };
    AttentionProblem none(test::documents({{8, 0}}, 4, 2, 64, 64), BF16, 0, 1);
    CHECK(attention_config(none.forward_args(), 90).route == AttentionRoute::kMma);
    using Args = caravan_attention_backward_args&;
    CHECK(!changed([](Args) {}));
    CHECK(changed([](Args args) { args.k.data = static_cast<char*>(args.k.data) + 2; }));
    CHECK(changed([](Args args) { args.d_q.data = static_cast<char*>(args.d_q.data) + 8; }));
    CHECK(changed([](Args args) { args.v.stride[0] = 131; }));
    CHECK(changed([](Args args) { args.d_out.stride[1] = 60; }));
    CHECK(changed([](Args args) { args.scale = -1; }));
    CHECK(changed([](Args args) { args.q.shape[0] = int64_t{1} << 29; }));
    CHECK(changed([](Args args) { args.bias_table = args.lse; }));
}

}  // namespace

int main() {
    routes();
    return test::finish();
}
