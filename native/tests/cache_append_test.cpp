// Appending copies, so what it gives is compared bit for bit.
#include <algorithm>

#include "tests/harness.h"

namespace {

using test::Tensor;

void matches_reference(int64_t rows, int64_t room, int64_t start, int32_t dtype, uint64_t seed) {
    test::context() = std::string(test::name(dtype)) + " " + std::to_string(rows) + " rows at " +
                      std::to_string(start) + " of " + std::to_string(room);
    const int64_t heads = 3, width = 17;
    test::Random random(seed);
    const auto x = test::rounded(random.normals(rows * heads * width), dtype);
    const auto before = test::rounded(random.normals(room * heads * width), dtype);
    auto expected = before;
    std::copy(x.begin(), x.end(), expected.begin() + start * heads * width);
    test::same_bits_for_threads([&](caravan_stream stream) {
        Tensor in = Tensor::of(dtype, {rows, heads, width}, x, 2);
        Tensor cache = Tensor::of(dtype, {room, heads, width}, before);
        Tensor at = Tensor::of(CARAVAN_I32, {1}, {static_cast<double>(start)});
        caravan_cache_append_args args = {};
        args.size = sizeof args;
        args.x = in.view();
        args.cache = cache.view();
        args.start = at.view();
        CHECK_OK(caravan_cache_append_forward(stream, &args));
        CHECK(cache.values() == expected);
        return cache.bits();
    });
    test::context().clear();
}

void refusals() {
    test::Stream stream;
    Tensor x(CARAVAN_F32, {2, 3, 8}), cache(CARAVAN_F32, {5, 3, 8}), half(CARAVAN_BF16, {5, 3, 8});
    Tensor start = Tensor::of(CARAVAN_I32, {1}, {3}), narrow(CARAVAN_F32, {5, 3, 7});
    caravan_cache_append_args good = {};
    good.size = sizeof good;
    good.x = x.view();
    good.cache = cache.view();
    good.start = start.view();
    const auto refused = [&](const char* part, auto&& change) {
        caravan_cache_append_args args = good;
        change(args);
        CHECK_REFUSED(caravan_cache_append_forward(stream, &args), "cache_append_forward", part);
    };
    refused("x: got null", [&](auto& args) { args.x.data = nullptr; });
    refused("cache: got shape [5, 3, 7]", [&](auto& args) { args.cache = narrow.view(); });
    refused("cache: got dtype bf16", [&](auto& args) { args.cache = half.view(); });
    refused("start: got null", [&](auto& args) { args.start.data = nullptr; });
    refused("x: got 5 rows, the cache has room for 2", [&](auto& args) {
        args.x = cache.view();
        args.cache = x.view();
    });
    const std::string before = cache.bits();
    for (int64_t wrong : {4, -1, 1 << 30}) {
        start.set(0, static_cast<double>(wrong));
        const std::string message = "start: got " + std::to_string(wrong) + ", needs 0 to 3";
        refused(message.c_str(), [](auto&) {});
    }
    CHECK(cache.bits() == before);  // nothing was written
    CHECK_REFUSED(caravan_cache_append_forward(nullptr, &good), "cache_append_forward: stream");
}

}  // namespace

int main() {
    uint64_t seed = 1;
    for (int32_t dtype : {CARAVAN_F32, CARAVAN_BF16}) {
        matches_reference(1, 1, 0, dtype, ++seed);
        matches_reference(1, 9, 8, dtype, ++seed);
        matches_reference(0, 9, 9, dtype, ++seed);
        matches_reference(3, 9, 2, dtype, ++seed);
        matches_reference(1000, 1500, 500, dtype, ++seed);
    }
    refusals();
    return test::finish();
}
