// Appending copies, so what it gives is compared bit for bit.
#include <algorithm>

#include "tests/harness.h"

namespace {

using test::Tensor;

void matches_reference(int64_t rows, int64_t room, int64_t start, int64_t width, int64_t gap,
                       int32_t dtype, uint64_t seed) {
    test::context() = std::string(test::name(dtype)) + " " + std::to_string(rows) + " rows at " +
                      std::to_string(start) + " of " + std::to_string(room) + ", width " +
                      std::to_string(width) + " gap " + std::to_string(gap);
    const int64_t heads = 3;
    test::Random random(seed);
    const auto x = test::rounded(random.normals(rows * heads * width), dtype);
    const auto before = test::rounded(random.normals(room * heads * width), dtype);
    auto expected = before;
    std::copy(x.begin(), x.end(), expected.begin() + start * heads * width);
    test::same_bits_for_threads([&](caravan_stream stream) {
        Tensor in = Tensor::of(dtype, {rows, heads, width}, x, gap);
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
    CHECK_REFUSED(caravan_cache_append_forward(nullptr, &good), "cache_append_forward: stream");
    const std::string before = cache.bits();
    if (test::kind() != CARAVAN_CPU) return;  // what lies in memory is not looked at elsewhere
    for (int64_t wrong : {4, -1, 1 << 30}) {
        start.set(0, static_cast<double>(wrong));
        const std::string message = "start: got " + std::to_string(wrong) + ", needs 0 to 3";
        refused(message.c_str(), [](auto&) {});
    }
    CHECK(cache.bits() == before);  // nothing was written
}

// A device cannot refuse what lies in its memory: it stays within the tensors, and NaN shows.
void wrong_values() {
    test::Stream stream;
    Tensor x = Tensor::of(CARAVAN_F32, {2, 1, 4}, std::vector<double>(8, 1.0));
    Tensor cache(CARAVAN_F32, {5, 1, 4}), start(CARAVAN_I32, {1});
    caravan_cache_append_args args = {};
    args.size = sizeof args;
    args.x = x.view();
    args.cache = cache.view();
    args.start = start.view();
    for (double wrong : {4.0, -1.0, 2147483647.0, -2147483648.0}) {
        cache.set(std::vector<double>(20, 3.0));
        start.set(0, wrong);
        CHECK_OK(caravan_cache_append_forward(stream, &args));
        for (int64_t i = 0; i < 20; ++i) {
            const bool marked = wrong < 0 ? i < 8 : i >= 12;
            CHECK(marked ? std::isnan(cache.get(i)) : cache.get(i) == 3);
        }
    }
}

}  // namespace

int main() {
    uint64_t seed = 1;
    for (int32_t dtype : {CARAVAN_F32, CARAVAN_BF16}) {
        for (int64_t width : {17, 64}) {
            for (int64_t gap : {0, 2, 8}) {
                matches_reference(1, 1, 0, width, gap, dtype, ++seed);
                matches_reference(1, 9, 8, width, gap, dtype, ++seed);
                matches_reference(0, 9, 9, width, gap, dtype, ++seed);
                matches_reference(3, 9, 2, width, gap, dtype, ++seed);
                matches_reference(40, 50, 7, width, gap, dtype, ++seed);
            }
        }
        if (!test::emulated()) matches_reference(1000, 1500, 500, 17, 2, dtype, ++seed);
    }
    refusals();
    if (test::kind() != CARAVAN_CPU) wrong_values();
    return test::finish();
}
