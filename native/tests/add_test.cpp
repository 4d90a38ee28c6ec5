// One rounding an element, so the sum is exact in its storage: compared bit for bit.
#include "tests/harness.h"

namespace {

using test::Tensor;

void matches_reference(const std::vector<int64_t>& shape, int32_t dtype, uint64_t seed) {
    test::Random random(seed);
    Tensor count(dtype, shape);
    test::context() =
        std::string(test::name(dtype)) + " " + std::to_string(count.count()) + " elements";
    const auto a = test::rounded(random.normals(count.count()), dtype);
    const auto b = test::rounded(random.normals(count.count(), 1e3), dtype);
    std::vector<double> sum(a.size());
    for (size_t i = 0; i < a.size(); ++i) {
        sum[i] = test::rounded(static_cast<float>(a[i]) + static_cast<float>(b[i]), dtype);
    }
    test::same_bits_for_threads([&](caravan_stream stream) {
        Tensor left = Tensor::of(dtype, shape, a), right = Tensor::of(dtype, shape, b);
        Tensor out(dtype, shape);
        caravan_add_args args = {};
        args.size = sizeof args;
        args.a = left.view();
        args.b = right.view();
        args.out = out.view();
        CHECK_OK(caravan_add_forward(stream, &args));
        CHECK(out.values() == sum);
        args.out = left.view();
        CHECK_OK(caravan_add_forward(stream, &args));
        CHECK(left.values() == sum);
        args.a = out.view();
        args.out = right.view();  // right = sum + right
        CHECK_OK(caravan_add_forward(stream, &args));
        return left.bits() + right.bits();
    });
    test::context().clear();
}

void refusals() {
    test::Stream stream;
    Tensor x(CARAVAN_F32, {4, 8}), flat(CARAVAN_F32, {32}), half(CARAVAN_BF16, {4, 8});
    Tensor ints(CARAVAN_I32, {4, 8});
    caravan_add_args good = {};
    good.size = sizeof good;
    good.a = good.b = good.out = x.view();
    const auto refused = [&](const char* part, auto&& change) {
        caravan_add_args args = good;
        change(args);
        CHECK_REFUSED(caravan_add_forward(stream, &args), "add_forward", part);
    };
    refused("a: got dtype i32", [&](auto& args) { args.a = ints.view(); });
    refused("a: got rank 5", [&](auto& args) { args.a.rank = 5; });
    refused("a: got stride 9 on axis 0", [&](auto& args) {
        args.a.stride[0] = 9;
        args.a.bytes *= 2;
    });
    refused("a: needs 128 bytes", [&](auto& args) { args.a.bytes = 127; });
    refused("a: got an address",
            [&](auto& args) { args.a.data = static_cast<char*>(args.a.data) + 2; });
    refused("a: got shape", [&](auto& args) {
        args.a.shape[0] = INT64_MAX;
        args.a.shape[1] = 0;
        args.a.rank = 3;
        args.a.shape[2] = INT64_MAX;
    });
    refused("b: got shape [32], needs [4, 8]", [&](auto& args) { args.b = flat.view(); });
    refused("b: got dtype bf16", [&](auto& args) { args.b = half.view(); });
    refused("out: got null", [&](auto& args) { args.out.data = nullptr; });
    refused("out: got dtype bf16", [&](auto& args) { args.out = half.view(); });
    CHECK_REFUSED(caravan_add_forward(nullptr, &good), "add_forward: stream");
    CHECK_REFUSED(caravan_add_forward(stream, nullptr), "add_forward: args");
    good.size = 5;
    CHECK_REFUSED(caravan_add_forward(stream, &good), "add_forward: args.size: got 5");
}

}  // namespace

int main() {
    uint64_t seed = 1;
    for (int32_t dtype : {CARAVAN_F32, CARAVAN_BF16}) {
        for (int64_t n : {0, 1, 3, 7, 8, 9, 15, 16, 17, 16384, 16385, 50000}) {
            matches_reference({n}, dtype, ++seed);
        }
        matches_reference({5, 7}, dtype, ++seed);
        matches_reference({3, 5, 7}, dtype, ++seed);
        matches_reference({2, 3, 5, 7}, dtype, ++seed);
    }
    refusals();
    return test::finish();
}
