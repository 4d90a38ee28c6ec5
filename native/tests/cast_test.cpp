// Every bfloat16 survives the way to float32 and back; float32 goes to the nearest, ties to even.
#include "tests/harness.h"

namespace {

using test::Tensor;

std::vector<double> cast(caravan_stream stream, Tensor& x, Tensor& out) {
    caravan_cast_args args = {};
    args.size = sizeof args;
    args.x = x.view();
    args.out = out.view();
    CHECK_OK(caravan_cast_forward(stream, &args));
    return out.values();
}

void matches_reference(int64_t n, uint64_t seed) {
    test::context() = "[" + std::to_string(n) + "]";
    test::Random random(seed);
    Tensor wide(CARAVAN_F32, {n});
    for (int64_t i = 0; i < n; ++i) {  // any bits that are a number, many of them ties
        auto bits = static_cast<uint32_t>(random.next());
        if (i % 3 == 0) bits = (bits & 0xffff0000u) | 0x8000;
        if ((bits >> 23 & 0xff) == 0xff) bits &= 0xff800000u;
        std::memcpy(wide.as<char>() + 4 * i, &bits, sizeof bits);
    }
    const auto expected = test::rounded(wide.values(), CARAVAN_BF16);
    test::same_bits_for_threads([&](caravan_stream stream) {
        Tensor half(CARAVAN_BF16, {n}), back(CARAVAN_F32, {n}), copy(CARAVAN_BF16, {n});
        CHECK(cast(stream, wide, half) == expected);
        CHECK(cast(stream, half, back) == expected);
        CHECK(cast(stream, half, copy) == expected);
        CHECK(copy.bits() == half.bits());
        return half.bits() + back.bits();
    });
    test::context().clear();
}

void all_bf16() {
    test::Stream stream(2);
    Tensor half(CARAVAN_BF16, {65536}), wide(CARAVAN_F32, {65536}), back(CARAVAN_BF16, {65536});
    for (int i = 0; i < 65536; ++i) half.as<uint16_t>()[i] = static_cast<uint16_t>(i);
    cast(stream, half, wide);
    cast(stream, wide, back);
    for (int64_t i = 0; i < 65536; ++i) {
        const bool same = back.as<uint16_t>()[i] == half.as<uint16_t>()[i];
        CHECK(same || (std::isnan(half.get(i)) && std::isnan(back.get(i))));
    }
    Tensor not_numbers(CARAVAN_F32, {20});
    not_numbers.as<uint32_t>()[3] = 0x7f800001;  // a NaN whose upper half is that of infinity
    Tensor out(CARAVAN_BF16, {20});
    for (double value : cast(stream, not_numbers, out)) CHECK(std::isnan(value));
}

void refusals() {
    test::Stream stream;
    Tensor x(CARAVAN_F32, {4, 8}), flat(CARAVAN_BF16, {32}), ints(CARAVAN_I32, {4, 8});
    caravan_cast_args good = {};
    good.size = sizeof good;
    good.x = good.out = x.view();
    const auto refused = [&](const char* part, auto&& change) {
        caravan_cast_args args = good;
        change(args);
        CHECK_REFUSED(caravan_cast_forward(stream, &args), "cast_forward", part);
    };
    refused("x: got dtype i32", [&](auto& args) { args.x = ints.view(); });
    refused("x: got null", [&](auto& args) { args.x.data = nullptr; });
    refused("out: got shape [32], needs [4, 8]", [&](auto& args) { args.out = flat.view(); });
    refused("out: got dtype i32", [&](auto& args) { args.out = ints.view(); });
    CHECK_REFUSED(caravan_cast_forward(nullptr, &good), "cast_forward: stream");
}

}  // namespace

int main() {
    uint64_t seed = 1;
    for (int64_t n : {0, 1, 3, 7, 8, 9, 15, 16, 17, 16385, 50000}) matches_reference(n, ++seed);
    all_bf16();
    refusals();
    return test::finish();
}
