#include "tests/reference/embedding.h"

#include "tests/harness.h"

namespace {

using test::Tensor;

struct Case {
    int64_t tokens, vocabulary, width;
    int32_t dtype, out_dtype;
};

void matches_reference(const Case& c, uint64_t seed) {
    test::context() = std::string("table ") + test::name(c.dtype) + " out " +
                      test::name(c.out_dtype) + " " +
                      test::shape_name({c.tokens, c.vocabulary, c.width});
    test::Random random(seed);
    const auto table = test::rounded(random.normals(c.vocabulary * c.width), c.dtype);
    const auto d_table = test::rounded(random.normals(c.vocabulary * c.width), c.dtype);
    const auto d_out = test::rounded(random.normals(c.tokens * c.width), c.out_dtype);
    std::vector<int64_t> ids(static_cast<size_t>(c.tokens));
    for (int64_t& id : ids) id = random.below(c.vocabulary);
    const int64_t used = c.tokens - c.tokens / 3;
    const bool limited = seed % 2 == 0;
    const std::vector<int64_t> used_ids(ids.begin(), ids.begin() + (limited ? used : c.tokens));
    const auto width = static_cast<size_t>(c.width);

    test::same_bits_for_threads([&](caravan_stream stream) {
        const int64_t gap = seed % 3 == 0 ? 8 : 1;  // rows at multiples of 16 bytes, or not
        Tensor id(CARAVAN_I32, {c.tokens}), out(c.out_dtype, {c.tokens, c.width}, 3 * gap);
        id.set({ids.begin(), ids.end()});
        Tensor weights = Tensor::of(c.dtype, {c.vocabulary, c.width}, table, 2 * gap);
        caravan_embedding_forward_args forward = {};
        forward.size = sizeof forward;
        forward.ids = id.view();
        forward.table = weights.view();
        forward.out = out.view();
        CHECK_OK(caravan_embedding_forward(stream, &forward));
        CHECK(out.values() ==
              test::rounded(reference::embedding_forward<double>(ids, table, width), c.out_dtype));

        Tensor d = Tensor::of(c.out_dtype, {c.tokens, c.width}, d_out, gap);
        Tensor gradient = Tensor::of(c.dtype, {c.vocabulary, c.width}, d_table);
        Tensor rows = Tensor::of(CARAVAN_I32, {1}, {static_cast<double>(used)});
        caravan_embedding_backward_args backward = {};
        backward.size = sizeof backward;
        backward.ids = id.view();
        backward.d_out = d.view();
        backward.d_table = gradient.view();
        if (limited) {
            backward.rows = rows.view();
            for (int64_t t = used; t < c.tokens; ++t) id.set(t, -7);  // not read
        }
        int64_t bytes = -1;
        CHECK_OK(caravan_embedding_backward_workspace(test::kind(), &backward, &bytes));
        Tensor workspace(CARAVAN_U8, {bytes});
        backward.workspace = workspace.view();
        CHECK_OK(caravan_embedding_backward(stream, &backward));
        // Every addition is stored, so with bf16 each is rounded: the order is part of the result.
        const auto round = [&](double value) { return test::rounded(value, c.dtype); };
        CHECK(gradient.values() ==
              reference::embedding_backward(used_ids, d_out, d_table, width, round));
        return out.bits() + gradient.bits();
    });
    test::context().clear();
}

void reference_gradient() {
    test::Random random(4);
    const std::vector<int64_t> ids = {2, 0, 2, 1};
    const auto table = random.normals(4 * 3), d_out = random.normals(4 * 3);
    const auto gradient = reference::embedding_backward(ids, d_out, std::vector<double>(12), 3,
                                                        [](double value) { return value; });
    CHECK_GRADIENT(table, gradient, [&](const std::vector<double>& values) {
        return test::dot(reference::embedding_forward<double>(ids, values, 3), d_out);
    });
}

// Parts of a table, the last one padded: their rows add up to those of the whole table, and each
// gets the gradient of its own rows.
void parts_make_the_whole() {
    constexpr int64_t kTokens = 9, kVocabulary = 11, kWidth = 5, kParts = 3, kRows = 4;
    test::Random random(77);
    const auto table = random.normals(kParts * kRows * kWidth);
    const auto d_out = random.normals(kTokens * kWidth);
    std::vector<int64_t> ids;
    for (int64_t t = 0; t < kTokens; ++t) ids.push_back(random.below(kVocabulary));
    ids[0] = 0;
    ids[1] = kVocabulary - 1;
    test::Stream stream;
    Tensor id(CARAVAN_I32, {kTokens});
    id.set({ids.begin(), ids.end()});
    Tensor d = Tensor::of(CARAVAN_F32, {kTokens, kWidth}, d_out);
    std::vector<double> sum(kTokens * kWidth), gradient;
    for (int64_t part = 0; part < kParts; ++part) {
        const auto from = table.begin() + part * kRows * kWidth;
        Tensor own = Tensor::of(CARAVAN_F32, {kRows, kWidth}, {from, from + kRows * kWidth});
        Tensor out(CARAVAN_F32, {kTokens, kWidth});
        caravan_embedding_forward_args forward = {};
        forward.size = sizeof forward;
        forward.ids = id.view();
        forward.table = own.view();
        forward.out = out.view();
        forward.first = part * kRows;
        forward.whole = kVocabulary;
        CHECK_OK(caravan_embedding_forward(stream, &forward));
        for (size_t i = 0; i < sum.size(); ++i) sum[i] += out.get(static_cast<int64_t>(i));
        own.set(std::vector<double>(kRows * kWidth, 0.0));
        caravan_embedding_backward_args backward = {};
        backward.size = sizeof backward;
        backward.ids = id.view();
        backward.d_out = d.view();
        backward.d_table = own.view();
        backward.first = forward.first;
        backward.whole = kVocabulary;
        int64_t bytes = -1;
        CHECK_OK(caravan_embedding_backward_workspace(test::kind(), &backward, &bytes));
        Tensor workspace(CARAVAN_U8, {bytes});
        backward.workspace = workspace.view();
        CHECK_OK(caravan_embedding_backward(stream, &backward));
        const auto values = own.values();
        gradient.insert(gradient.end(), values.begin(), values.end());
    }
    const auto floats = test::rounded(table, CARAVAN_F32);
    CHECK(sum == reference::embedding_forward<double>(ids, floats, kWidth));
    CHECK(gradient == reference::embedding_backward(
                          ids, test::rounded(d_out, CARAVAN_F32),
                          std::vector<double>(gradient.size(), 0.0), kWidth,
                          [](double x) { return static_cast<double>(static_cast<float>(x)); }));
}

void refusals() {
    test::Stream stream;
    Tensor ids = Tensor::of(CARAVAN_I32, {3}, {0, 4, 2}), table(CARAVAN_F32, {5, 8});
    Tensor out(CARAVAN_F32, {3, 8}), narrow(CARAVAN_F32, {3, 7}), count(CARAVAN_I32, {1});
    caravan_embedding_forward_args good = {};
    good.size = sizeof good;
    good.ids = ids.view();
    good.table = table.view();
    good.out = out.view();
    caravan_embedding_backward_args back = {};
    back.size = sizeof back;
    back.ids = ids.view();
    back.d_table = table.view();
    back.d_out = out.view();
    const auto refused = [&](const char* part, auto&& change) {
        caravan_embedding_forward_args args = good;
        change(args);
        CHECK_REFUSED(caravan_embedding_forward(stream, &args), "embedding_forward", part);
    };
    const auto back_refused = [&](const char* part, auto&& change) {
        caravan_embedding_backward_args args = back;
        change(args);
        CHECK_REFUSED(caravan_embedding_backward(stream, &args), "embedding_backward", part);
    };
    refused("ids: got dtype f32", [&](auto& args) { args.ids = table.view(); });
    refused("table: got null", [&](auto& args) { args.table.data = nullptr; });
    refused("out: got shape [3, 7], needs [3, 8]", [&](auto& args) { args.out = narrow.view(); });
    back_refused("d_out: got shape [3, 7]", [&](auto& args) { args.d_out = narrow.view(); });
    back_refused("d_table: got stride 0", [&](auto& args) { args.d_table.stride[0] = 0; });
    refused("first: got 1 of a whole table of 0 rows", [](auto& args) { args.first = 1; });
    refused("first: got 8 of a whole table of 7 rows", [](auto& args) {
        args.first = 8;
        args.whole = 7;
    });
    back_refused("first: got -1 of", [](auto& args) { args.first = -1; });
    back_refused("first: got 0 of a whole table of -1", [](auto& args) { args.whole = -1; });
    CHECK_REFUSED(caravan_embedding_forward(nullptr, &good), "stream");
    CHECK_REFUSED(caravan_embedding_backward(nullptr, &back), "stream");
    int64_t bytes = -1;
    CHECK_OK(caravan_embedding_backward_workspace(CARAVAN_CPU, &back, &bytes));
    CHECK_EQUAL(bytes, 0);
    CHECK_OK(caravan_embedding_backward_workspace(CARAVAN_CUDA, &back, &bytes));
    CHECK_EQUAL(bytes, 48);
    CHECK_REFUSED(caravan_embedding_backward_workspace(2, &back, &bytes), "kind: got 2");
    if (test::kind() != CARAVAN_CPU) {
        back_refused("workspace: got null, needs 48 bytes", [](auto&) {});
        return;  // what lies in memory is not looked at
    }
    for (int64_t wrong : {4, -1}) {
        count.set(0, static_cast<double>(wrong));
        back_refused("rows: got ", [&](auto& args) { args.rows = count.view(); });
    }
    const std::string before = out.bits() + table.bits();
    for (int64_t wrong : {5, -1, 1 << 30}) {
        ids.set(2, static_cast<double>(wrong));
        const std::string message = "ids: got " + std::to_string(wrong) + " at 2, needs 0 to 4";
        refused(message.c_str(), [](auto&) {});
        back_refused(message.c_str(), [](auto&) {});
    }
    CHECK(out.bits() + table.bits() == before);  // nothing was written
}

// A device cannot refuse what lies in its memory: it stays within the tensors, and NaN shows.
void wrong_values() {
    test::Stream stream;
    Tensor ids(CARAVAN_I32, {3}), table(CARAVAN_F32, {4, 8}), out(CARAVAN_F32, {3, 8});
    Tensor workspace(CARAVAN_U8, {48}), rows(CARAVAN_I32, {1});
    const auto fill = [](Tensor& tensor, double value) {
        tensor.set(std::vector<double>(static_cast<size_t>(tensor.count()), value));
    };
    caravan_embedding_forward_args forward = {};
    forward.size = sizeof forward;
    forward.ids = ids.view();
    forward.table = table.view();
    forward.out = out.view();
    caravan_embedding_backward_args backward = {};
    backward.size = sizeof backward;
    backward.ids = ids.view();
    backward.d_out = out.view();
    backward.d_table = table.view();
    backward.workspace = workspace.view();
    for (double wrong : {4.0, -1.0, 2147483647.0, -2147483648.0}) {
        ids.set({3, wrong, 0});
        fill(table, 2);
        CHECK_OK(caravan_embedding_forward(stream, &forward));
        for (int64_t i = 0; i < 24; ++i) {
            CHECK(i / 8 == 1 ? std::isnan(out.get(i)) : out.get(i) == 2);
        }
        fill(out, 1);
        CHECK_OK(caravan_embedding_backward(stream, &backward));
        for (int64_t i = 0; i < 32; ++i) {
            CHECK_EQUAL(table.get(i), i / 8 == 0 || i / 8 == 3 ? 3.0 : 2.0);
        }
    }
    // Rows 5 to 8 of a table of 7: ids past it mean nothing, those before it another part.
    forward.first = backward.first = 5;
    forward.whole = backward.whole = 7;
    for (double wrong : {7.0, 8.0, 9.0, -1.0, 2147483647.0, -2147483648.0}) {
        ids.set({6, wrong, 4});
        fill(table, 2);
        CHECK_OK(caravan_embedding_forward(stream, &forward));
        for (int64_t i = 0; i < 24; ++i) {
            CHECK(i / 8 == 1 ? std::isnan(out.get(i)) : out.get(i) == (i / 8 == 0 ? 2 : 0));
        }
        fill(out, 1);
        CHECK_OK(caravan_embedding_backward(stream, &backward));
        for (int64_t i = 0; i < 32; ++i) CHECK_EQUAL(table.get(i), i / 8 == 1 ? 3.0 : 2.0);
    }
    forward.first = backward.first = forward.whole = backward.whole = 0;
    ids.set({1, 3, 1});
    backward.rows = rows.view();
    for (double wrong : {4.0, -1.0}) {
        rows.set(0, wrong);
        fill(table, 2);
        CHECK_OK(caravan_embedding_backward(stream, &backward));
        for (int64_t i = 0; i < 32; ++i) {
            CHECK(i / 8 % 2 == 1 ? std::isnan(table.get(i)) : table.get(i) == 2);
        }
    }
}

}  // namespace

int main() {
    reference_gradient();
    uint64_t seed = 1;
    for (int32_t dtype : {CARAVAN_F32, CARAVAN_BF16}) {
        for (int32_t out_dtype : {CARAVAN_F32, CARAVAN_BF16}) {
            for (int64_t width : {1, 3, 17, 64, 288}) {
                for (int64_t tokens : {0, 1, 3, 17, 300}) {
                    if (test::emulated() && tokens == 300 && width != 17) continue;
                    matches_reference(
                        {tokens, 1 + static_cast<int64_t>(seed % 40), width, dtype, out_dtype},
                        seed);
                    ++seed;
                }
            }
        }
    }
    // Tokens beyond what one, two and three passes of a sort take; many of one id.
    matches_reference({2100, 700, 8, CARAVAN_F32, CARAVAN_BF16}, ++seed);
    if (!test::emulated()) {
        matches_reference({2048, 3, 24, CARAVAN_BF16, CARAVAN_F32}, ++seed);
        matches_reference({17000, 90000, 8, CARAVAN_F32, CARAVAN_F32}, ++seed);
    }
    parts_make_the_whole();
    refusals();
    if (test::kind() != CARAVAN_CPU) wrong_values();
    return test::finish();
}
