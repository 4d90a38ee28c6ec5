// Which kernels of attention a CUDA device runs follows from what its matrix instructions take.
#include "cuda/attention_config.h"

#include <algorithm>
#include <utility>

#include "core/relative_bias.h"
#include "cuda/attention_tiles.h"
#include "tests/attention_problem.h"
#include "tests/harness.h"

namespace {

using caravan::cuda::attention_config;
using caravan::cuda::AttentionPass;
using caravan::cuda::AttentionRoute;
using caravan::cuda::AttentionTiles;
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
    // Heads that share their memory have no tensor map.
    const auto ninety = [&](auto change) {
        AttentionProblem p = problem(BF16, 64, 64);
        auto args = p.backward_args();
        change(args);
        return attention_config(args, 90).route;
    };
    CHECK(ninety([](Args) {}) == AttentionRoute::kSm90);
    CHECK(ninety([](Args args) { args.k.stride[1] = 0; }) == AttentionRoute::kMma);
    CHECK(ninety([](Args args) { args.q.stride[0] = 0; }) == AttentionRoute::kMma);
    CHECK(ninety([](Args args) { args.d_out.stride[0] = 0; }) == AttentionRoute::kMma);
    CHECK(ninety([](Args args) {
              args.workspace.data = static_cast<char*>(args.workspace.data) + 8;
          }) == AttentionRoute::kMma);
    CHECK(ninety([](Args args) { args.v.stride[1] = int64_t{1} << 39; }) == AttentionRoute::kMma);
    CHECK(ninety([](Args args) { args.q.shape[1] = 1 << 26, args.q.shape[0] = 1 << 28; }) ==
          AttentionRoute::kMma);  // more tiles than are counted
    // One head's stride may be anything.
    AttentionProblem single(test::documents({{20, 20}}, 1, 1, 64, 64), BF16, 0, 1);
    auto args = single.forward_args();
    args.k.stride[1] = 0;
    CHECK(attention_config(args, 90).route == AttentionRoute::kSm90);
    // Later GPUs run what sm_80 does.
    CHECK(attention_config(args, 100).route == AttentionRoute::kMma);
}

// Gradients of queries are added up in memory where heads are narrow and have no bias: four bytes a
// column, and turns.
void workspaces() {
    const auto plan = [](int32_t dtype, int64_t tokens, int64_t width, int64_t value_width,
                         int64_t buckets) {
        reference::Attention how = test::documents(
            {{static_cast<int>(tokens), static_cast<int>(tokens)}}, 4, 2, width, value_width);
        how.buckets = buckets;
        how.max_distance = 200;
        AttentionProblem p(how, dtype, 0, 1);
        const auto args = p.backward_args();
        const auto made = caravan::plan_cuda_attention_backward(args);
        int64_t bytes = 0;
        CHECK_OK(caravan_attention_backward_workspace(CARAVAN_CUDA, &args, &bytes));
        CHECK_EQUAL(bytes, 4 * made.count());
        return made;
    };
    CHECK_EQUAL(plan(BF16, 300, 128, 128, 0).query_sums, int64_t{300} * 4 * 128);
    CHECK_EQUAL(plan(BF16, 300, 72, 40, 0).query_sums, int64_t{300} * 4 * 128);
    CHECK_EQUAL(plan(BF16, 300, 64, 8, 0).query_sums, int64_t{300} * 4 * 64);
    CHECK_EQUAL(plan(BF16, 300, 128, 128, 0).turns, (int64_t{300 / 64} + 2) * 4 * 2 + 1);
    CHECK_EQUAL(plan(BF16, 33, 64, 64, 0).deltas % 4, int64_t{0});
    for (const auto& none : {plan(F32, 300, 128, 128, 0), plan(BF16, 300, 136, 128, 0),
                             plan(BF16, 300, 64, 136, 0), plan(BF16, 300, 128, 128, 32)}) {
        CHECK(none.query_sums == 0 && none.turns == 0);
    }
}

// Tiles of keys that go over a tile of queries have the turns 0, 1, 2 ... in it, earlier keys first.
void turns() {
    test::Random random(40);
    for (int i = 0; i < 3000; ++i) {
        const int passed = random.below(2) == 0 ? 64 : 128, owned = 128;
        const auto length = [&] {
            return static_cast<int>(random.below(random.below(3) == 0 ? 3 : 900));
        };
        const int queries = length(), keys = length(), unlimited = queries + keys;
        const auto window = [&] {
            return random.below(3) == 0 ? unlimited : static_cast<int>(random.below(400));
        };
        const int left = window(), right = random.below(2) == 0 ? 0 : window();
        std::vector<int> next(static_cast<size_t>(queries / passed + 1), 0);
        for (int begin = 0; begin < keys; begin += owned) {
            const int rows = std::min(owned, keys - begin), position = begin - (keys - queries);
            const auto seen = caravan::cuda::attention_queries(position, rows, left, right,
                                                               queries, passed);
            CHECK(seen.from % passed == 0 && seen.from >= 0 && seen.to <= queries);
            // Each query that sees one of these keys is among them.
            for (int q = 0; q < queries; ++q) {
                const int at = q + keys - queries;
                if (at - left <= begin + rows - 1 && at + right >= begin) {
                    CHECK(q >= seen.from && q < seen.to);
                }
            }
            for (int query = seen.from; query < seen.to; query += passed) {
                CHECK_EQUAL(caravan::cuda::attention_turn(begin, position, left, query, owned),
                            next[static_cast<size_t>(query / passed)]++);
            }
        }
    }
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
    // More keys than are counted in 32 bits.
    AttentionProblem p(test::documents({{1, 64}}, 4, 2, 64, 64), BF16, 0, 1);
    auto args = p.forward_args();
    args.pages = args.cu_k;
    args.pages.shape[1] = 1 << 25;
    args.page_rows = 16;
    CHECK(attention_config(args, 90).route == AttentionRoute::kPlain);
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

// A bias of few buckets and without a cap goes to the matrix instructions.
void biases() {
    const auto route = [](int64_t buckets, double soft_cap, int32_t capability,
                          int64_t width = 64) {
        reference::Attention how = test::documents({{20, 20}}, 4, 2, width, width);
        how.buckets = buckets;
        how.max_distance = 200;
        how.soft_cap = soft_cap;
        AttentionProblem p(how, BF16, 0, 1);
        const auto forward = attention_config(p.forward_args(), capability).route;
        CHECK(attention_config(p.backward_args(), capability).route == forward);
        return forward;
    };
    for (int32_t capability : {80, 90, 120}) {
        const AttentionRoute products =
            capability == 90 ? AttentionRoute::kSm90 : AttentionRoute::kMma;
        CHECK(route(32, 0, capability) == products);
        CHECK(route(64, 0, capability) == products);
        CHECK(route(65, 0, capability) == AttentionRoute::kPlain);
        CHECK(route(32, 5, capability) == AttentionRoute::kPlain);
        CHECK(route(32, 0, capability, 128) == products);
        CHECK(route(32, 0, capability, 256) == AttentionRoute::kMma);
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

constexpr AttentionWidths kAllWidths[] = {AttentionWidths::k64, AttentionWidths::k128,
                                          AttentionWidths::k192, AttentionWidths::k256};
constexpr AttentionPass kAllPasses[] = {AttentionPass::kForward, AttentionPass::kQueries,
                                        AttentionPass::kKeysAndValues, AttentionPass::kKeys,
                                        AttentionPass::kValues, AttentionPass::kAll};

// Bytes of owned and passed rows; a kernel's other needs are some KiB.
int64_t tile_bytes(const AttentionTiles& tiles, bool owned_values) {
    const int64_t both = tiles.width + tiles.value_width;
    return 2 * (tiles.owned_stages * tiles.owned * (owned_values ? both : tiles.width) +
                tiles.stages * tiles.passed * both);
}

// Every kernel's tiles are what its instructions take and a multiprocessor has room for.
void tiles() {
    for (AttentionWidths widths : kAllWidths) {
        const AttentionTiles decode = caravan::cuda::attention_decode_tiles(widths);
        CHECK(caravan::cuda::attention_widths(decode.width, decode.value_width) == widths);
        CHECK(decode.owned == 16 && decode.passed % 16 == 0 && decode.warps <= 32);
        CHECK(decode.owned * decode.width * 2 + decode.warps * decode.stages * decode.passed *
                                                    (decode.width + decode.value_width) * 2 <=
              96 << 10);
        for (AttentionPass pass : kAllPasses) {
            const bool forward = pass == AttentionPass::kForward;
            const AttentionTiles mma = caravan::cuda::attention_mma_tiles(pass, widths);
            CHECK(caravan::cuda::attention_widths(mma.width, mma.value_width) == widths);
            CHECK(mma.owned % (16 * mma.warps) == 0 && mma.passed % 16 == 0);
            // sm_86, sm_89 and sm_120 have 99 KiB for a block; two blocks need twice theirs.
            const bool in_front =
                !forward && !(pass == AttentionPass::kQueries && mma.width <= 128);
            const int64_t bytes = forward || in_front
                                      ? tile_bytes(mma, !forward)
                                      : std::max<int64_t>(mma.owned, mma.stages * mma.passed) * 2 *
                                            (mma.width + mma.value_width);
            CHECK(bytes <= 97 << 10);

            const AttentionTiles sm90 = caravan::cuda::attention_sm90_tiles(pass, widths);
            CHECK(caravan::cuda::attention_widths(sm90.width, sm90.value_width) == widths);
            // 64 rows a warpgroup; products are 8 to 256 wide, and a tensor copy 256 rows.
            CHECK(sm90.owned == sm90.warps / 4 * 64);
            CHECK(sm90.passed % 16 == 0 && sm90.passed <= 256);
            CHECK(sm90.width % 64 == 0 && sm90.width <= 256 && sm90.value_width <= sm90.width);
            CHECK(sm90.passed * sm90.width * 2 % 1024 == 0);  // whole patterns of a swizzle
            int64_t sm90_bytes = tile_bytes(sm90, !forward && pass != AttentionPass::kValues);
            if (pass == AttentionPass::kAll && sm90.width <= caravan::kCudaAddedWidth) {
                // Two stages of gradients of scores, and a tile of d_q in float32.
                sm90_bytes += 2 * sm90.owned * sm90.passed * 2 + sm90.passed * sm90.width * 4;
                CHECK(sm90.passed * sm90.width == sm90.warps / 4 * 64 * 64);
            }
            CHECK(sm90_bytes <= 226 << 10);
            const auto registers = caravan::cuda::attention_sm90_registers(pass, widths);
            CHECK(registers.producer % 8 == 0 && registers.consumer % 8 == 0);
            CHECK(registers.producer >= 24 && registers.consumer <= 240);
            // What warpgroups claim others must have released: a block has no more than its launch
            // gave it, in eights of each thread, and a claim beyond waits for ever.
            const int threads = (sm90.warps + 4) * 32, launched = 65536 / threads / 8 * 8;
            CHECK(128 * registers.producer + sm90.warps * 32 * registers.consumer <=
                  launched * threads);
            CHECK(threads <= 1024);
        }
    }
}

// Every width up to 256 has the tiles of the next that a kernel is made for.
void every_width() {
    for (int64_t width = 8; width <= 256; width += 8) {
        for (int64_t values = 8; values <= 256; values += 8) {
            const auto tiles = caravan::cuda::attention_sm90_tiles(
                AttentionPass::kForward, caravan::cuda::attention_widths(width, values));
            CHECK(tiles.width >= width && tiles.value_width >= values);
        }
    }
}

}  // namespace

int main() {
    routes();
    order();
    biases();
    borders();
    decoding();
    splits();
    workspaces();
    turns();
    tiles();
    every_width();
    return test::finish();
}
