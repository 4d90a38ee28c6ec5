// Which kernels of attention a CUDA device runs follows from what its matrix instructions take.
#include "cuda/attention_config.h"

#include <algorithm>
#include <utility>

#include "core/relative_bias.h"
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
        return AttentionProblem(test::documents({{20, 20}}, 4, 2, width, value_width), dtype, 0, 1);
    };
    const auto route = [&](int32_t dtype, int64_t width, int64_t value_width) {
        AttentionProblem p = problem(dtype, width, value_width);
        const auto forward = attention_config(p.forward_args(), 80);
        const auto backward = attention_config(p.backward_args(), 80);
        CHECK(forward.route == backward.route && forward.widths == backward.widths);
        const auto ninety = attention_config(p.forward_args(), 90);
        const auto back = attention_config(p.backward_args(), 90);
        CHECK((ninety.route == AttentionRoute::kSm90) == (forward.route == AttentionRoute::kMma));
        CHECK(back.route == ninety.route);
        CHECK(ninety.widths == forward.widths && back.widths == forward.widths);
        CHECK(attention_config(p.forward_args(), 120).route == forward.route);
        return forward;
    };
    CHECK(route(BF16, 64, 64).route == AttentionRoute::kMma);
    CHECK(route(BF16, 64, 64).widths == AttentionWidths::k64);
    CHECK(route(BF16, 8, 56).widths == AttentionWidths::k64);
    CHECK(route(BF16, 96, 40).widths == AttentionWidths::k128);
    CHECK(route(BF16, 40, 128).widths == AttentionWidths::k128);
    CHECK(route(BF16, 192, 128).widths == AttentionWidths::k192);
    CHECK(route(BF16, 136, 64).widths == AttentionWidths::k192);
    CHECK(route(BF16, 192, 192).widths == AttentionWidths::k256);
    CHECK(route(BF16, 64, 136).widths == AttentionWidths::k256);
    CHECK(route(BF16, 256, 256).widths == AttentionWidths::k256);
    CHECK(route(BF16, 256, 256).route == AttentionRoute::kMma);
    CHECK(route(BF16, 264, 64).route == AttentionRoute::kPlain);
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
    AttentionProblem none(test::documents({{20, 0}}, 4, 2, 64, 64), BF16, 0, 1);
    CHECK(attention_config(none.forward_args(), 90).route == AttentionRoute::kMma);
    using Args = caravan_attention_backward_args&;
    CHECK(!changed([](Args) {}));
    CHECK(changed([](Args args) { args.k.data = static_cast<char*>(args.k.data) + 2; }));
    CHECK(changed([](Args args) { args.d_q.data = static_cast<char*>(args.d_q.data) + 8; }));
    CHECK(changed([](Args args) { args.v.stride[0] = 131; }));
    CHECK(changed([](Args args) { args.d_out.stride[1] = 60; }));
    CHECK(changed([](Args args) { args.scale = -1; }));
    CHECK(changed([](Args args) { args.q.shape[0] = int64_t{1} << 29; }));
}

// Few queries for each document, and pages, go to the kernel that reads keys once.
void decoding() {
    const auto route = [](const std::vector<std::pair<int, int>>& lengths, int32_t dtype,
                          bool paged) {
        AttentionProblem p(test::documents(lengths, 4, 2, 64, 64), dtype, 0, 1);
        auto args = p.forward_args();
        if (paged) {
            args.pages = args.cu_k;
            args.pages.rank = 2;
            args.pages.shape[1] = 4;
            args.page_rows = 16;
        }
        CHECK(attention_config(args, 80).route == attention_config(args, 90).route || !paged);
        return attention_config(args, 80).route;
    };
    CHECK(route({{1, 900}}, BF16, false) == AttentionRoute::kDecode);
    CHECK(route({{16, 900}}, BF16, false) == AttentionRoute::kDecode);
    CHECK(route({{17, 900}}, BF16, false) == AttentionRoute::kMma);
    CHECK(route({{1, 900}}, F32, false) == AttentionRoute::kPlain);
    CHECK(route(std::vector<std::pair<int, int>>(20, {2, 9}), BF16, false) ==
          AttentionRoute::kDecode);
    CHECK(route({{400, 900}}, BF16, true) == AttentionRoute::kDecode);
    CHECK(route({{400, 900}}, F32, true) == AttentionRoute::kPlain);
}

// Splits follow from shapes: enough to fill a device, none below 256 keys.
void splits() {
    CHECK(caravan::cuda_decode_splits(1, 64, 8, 1, 16384) == 64);
    CHECK(caravan::cuda_decode_splits(1, 64, 8, 1, 300) == 2);
    CHECK(caravan::cuda_decode_splits(64, 64, 8, 64, 1 << 20) == 2);
    CHECK(caravan::cuda_decode_splits(512, 64, 8, 1, 1 << 20) == 1);
    CHECK(caravan::cuda_decode_splits(0, 4, 4, 0, 0) == 1);
    CHECK(caravan::cuda_split_keys(16384, 64) == 256);
    CHECK(caravan::cuda_split_keys(16385, 64) == 320);
    CHECK(caravan::cuda_split_keys(0, 3) == 256);
}

// A bias of few buckets and without a cap goes to the matrix instructions of mma.sync.
void biases() {
    const auto route = [](int64_t buckets, double soft_cap, int32_t capability) {
        reference::Attention how = test::documents({{20, 20}}, 4, 2, 64, 64);
        how.buckets = buckets;
        how.max_distance = 200;
        how.soft_cap = soft_cap;
        AttentionProblem p(how, BF16, 0, 1);
        const auto forward = attention_config(p.forward_args(), capability).route;
        CHECK(attention_config(p.backward_args(), capability).route == forward);
        return forward;
    };
    for (int32_t capability : {80, 90, 120}) {
        CHECK(route(32, 0, capability) == AttentionRoute::kMma);
        CHECK(route(64, 0, capability) == AttentionRoute::kMma);
        CHECK(route(65, 0, capability) == AttentionRoute::kPlain);
        CHECK(route(32, 5, capability) == AttentionRoute::kPlain);
    }
}

// The distance at which each bucket begins, which kernels search, is that of the bucket's formula.
void borders() {
    for (const bool bidirectional : {false, true}) {
        for (const auto& [count, most] : {std::pair<int64_t, int64_t>{32, 128},
                                          {2, 5},
                                          {12, 40},
                                          {64, 2147483647},
                                          {32, 17},
                                          {8, 1000}}) {
            if (bidirectional && count < 4) continue;
            const caravan::RelativeBuckets buckets(count, bidirectional, most);
            for (int64_t b = buckets.exact() + 1; b < buckets.side(); ++b) {
                const int64_t at = buckets.reaches(b);
                CHECK(buckets.of(-at) >= b && buckets.of(1 - at) < b);
            }
        }
    }
}

// Every tile comes once, a section of heads at a time, and in it the last slots first.
void order() {
    using caravan::cuda::AttentionOrder;
    for (const AttentionOrder& order : {AttentionOrder{5, 6, 2}, AttentionOrder{5, 6, 6},
                                        AttentionOrder{3, 7, 4}, AttentionOrder{1, 1, 1}}) {
        std::vector<int> seen(order.slots * order.heads);
        AttentionOrder::Tile before = {order.slots, 0};
        for (uint32_t i = 0; i < order.slots * order.heads; ++i) {
            const AttentionOrder::Tile tile = order.tile(i);
            CHECK(tile.slot < order.slots && tile.head < order.heads);
            ++seen[tile.slot * order.heads + tile.head];
            const uint32_t section = tile.head / order.section;
            CHECK(section == before.head / order.section
                      ? tile.slot <= before.slot
                      : section == before.head / order.section + 1);
            before = tile;
        }
        for (int times : seen) CHECK(times == 1);
    }
    AttentionProblem p(test::documents({{300, 300}, {8, 40}}, 8, 2, 64, 64), BF16, 0, 1);
    caravan_attention_forward_args args = p.forward_args();
    const AttentionOrder small = caravan::cuda::attention_order(args, 128);
    CHECK(small.slots == 308 / 128 + 3 && small.heads == 8 && small.section == 8);
    args.k.shape[0] = 65536;  // 16 MB for each head of keys
    CHECK(caravan::cuda::attention_order(args, 128).section == 4);
    args.k.shape[0] = int64_t{1} << 28;
    CHECK(caravan::cuda::attention_order(args, 128).section == 4);
}

}  // namespace

int main() {
    routes();
    order();
    biases();
    borders();
    decoding();
    splits();
    return test::finish();
}
