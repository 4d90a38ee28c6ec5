// d_q where blocks that own keys add to it in memory: the same bits however often it is computed,
// whatever order the blocks come in. On the emulation several blocks run beside each other, in
// another order at each launch, and copies that add land late; there the same sums without turns
// are seen to differ, so the shapes are such that order shows.
#include "core/attention_plan.h"

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "tests/attention_check.h"
#include "tests/harness.h"

namespace {

using test::AttentionProblem;
using test::Stream;

constexpr int32_t BF16 = CARAVAN_BF16;

struct Shape {
    std::vector<std::pair<int, int>> lengths;
    int64_t heads, kv_heads, width;
    bool causal;
    int64_t left, right;
};

// All gradients of one backward pass, bit by bit, and the float32 sums that d_q was rounded from.
std::string gradients(AttentionProblem& p, bool any_order, caravan_stream stream) {
    auto args = p.backward_args();
    args.any_order = any_order;
    CHECK_OK(caravan_attention_backward(stream, &args));
    std::string bits = p.d_q.bits() + p.d_k.bits() + p.d_v.bits();
    if (test::kind() == CARAVAN_CUDA) {
        const auto plan = caravan::plan_cuda_attention_backward(args);
        bits.append(static_cast<const char*>(args.workspace.data) +
                        4 * (plan.deltas + plan.bias_sums),
                    static_cast<size_t>(4 * plan.query_sums));
    }
    return bits;
}

void orders(Stream& stream) {
    const Shape shapes[] = {
        {{{150, 390}}, 2, 1, 64, true, -1, -1},
        {{{70, 530}}, 1, 1, 128, false, -1, -1},
        {{{40, 300}, {1, 1}, {0, 5}, {70, 390}}, 2, 1, 128, false, 300, 40},
    };
    const bool shuffled = std::getenv("CARAVAN_SIMT_RESIDENT") != nullptr;
    const int repeats = test::emulated() ? 2 : 1000;
    for (const Shape& shape : shapes) {
        reference::Attention how =
            test::documents(shape.lengths, shape.heads, shape.kv_heads, shape.width, shape.width);
        how.scale = 0.1;
        how.causal = shape.causal;
        how.window_left = shape.left;
        how.window_right = shape.right;
        AttentionProblem p(how, BF16, 0, 3000);
        test::context() = p.name();
        p.forward(stream);
        const std::string first = gradients(p, false, stream);
        const auto expected = p.d_q.values();
        for (int i = 0; i < repeats; ++i) CHECK(gradients(p, false, stream) == first);
        // In any order they are as good, but not the same.
        bool same = gradients(p, true, stream) == first;
        for (int64_t i = 0; i < p.d_q.count(); ++i) {
            CHECK_NEAR(p.d_q.get(i), expected[static_cast<size_t>(i)],
                       0x1p-7 * test::largest(expected));
        }
        for (int i = 0; shuffled && same && i < 10; ++i) same = gradients(p, true, stream) == first;
        CHECK(!shuffled || !same);
        test::context().clear();
    }
}

}  // namespace

int main() {
    Stream stream(2);
    orders(stream);
    return test::finish();
}
