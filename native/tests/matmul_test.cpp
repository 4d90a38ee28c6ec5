// matmul against a double reference over storage types, layouts, scales, strides and limits on
// rows; the same bits for any number of threads; refusals.
#include "tests/reference/matmul.h"

#include <cmath>
#include <vector>

#include "tests/harness.h"
#include "tests/reference/sgemm.h"

namespace {

using test::Random;
using test::Stream;
using test::Tensor;

constexpr int32_t F32 = CARAVAN_F32, BF16 = CARAVAN_BF16;

struct Storage {
    int32_t a = F32, b = F32, c = F32;
    int64_t gap = 0;  // elements between rows
};

// A product with random operands and, unless beta is 0, a random c.
struct Problem {
    reference::Matmul how;
    Storage storage;
    Tensor a, b, c, rows;
    std::vector<float> workspace;

    Problem(const reference::Matmul& how_, const Storage& storage_, Random& random)
        : how(how_),
          storage(storage_),
          a(storage.a, stored(how.transpose_a, how.m, how.k), storage.gap),
          b(storage.b, stored(how.transpose_b, how.k, how.n), storage.gap),
          c(storage.c, {how.m, how.n}, storage.gap),
          rows(CARAVAN_I32, {1}) {
        a.set(random.normals(a.count()));
        b.set(random.normals(b.count()));
        if (how.beta != 0) c.set(random.normals(c.count()));
        if (how.rows >= 0) rows.set(0, static_cast<double>(how.rows));
    }

    static std::vector<int64_t> stored(bool transposed, int64_t rows, int64_t columns) {
        return transposed ? std::vector<int64_t>{columns, rows}
                          : std::vector<int64_t>{rows, columns};
    }

    caravan_matmul_args args() {
        caravan_matmul_args args = {};
        args.size = sizeof args;
        args.a = a.view();
        args.b = b.view();
        args.c = c.view();
        if (how.rows >= 0) args.rows = rows.view();
        args.transpose_a = how.transpose_a;
        args.transpose_b = how.transpose_b;
        args.alpha = static_cast<float>(how.alpha);
        args.beta = static_cast<float>(how.beta);
        int64_t bytes = 0;
        CHECK_OK(caravan_matmul_workspace(test::kind(), &args, &bytes));
        workspace.assign(static_cast<size_t>(bytes / 4), NAN);
        if (bytes > 0) args.workspace = test::bytes_of(workspace.data(), bytes / 4);  // CPU alone
        return args;
    }

    std::string name() const {
        return test::shape_name({how.m, how.n, how.k}) + " " + test::name(storage.a) + " " +
               test::name(storage.b) + " " + test::name(storage.c) + " transposed " +
               std::to_string(how.transpose_a) + std::to_string(how.transpose_b) + " alpha " +
               std::to_string(how.alpha) + " beta " + std::to_string(how.beta) + " gap " +
               std::to_string(storage.gap) + " rows " + std::to_string(how.rows);
    }
};

void check(const reference::Matmul& how, const Storage& storage, Random& random, Stream& stream) {
    Problem problem(how, storage, random);
    test::context() = problem.name();
    const auto a = problem.a.values(), b = problem.b.values(), c = problem.c.values();
    const auto exact = reference::matmul<double>(how, a, b, c);
    const auto plain = test::rounded(reference::matmul<float>(how, a, b, c), storage.c);

    // What lies beyond the limit must not be read.
    const int64_t width = how.transpose_a ? how.m : how.k;
    for (int64_t i = how.rows * width; how.rows >= 0 && i < problem.a.count(); ++i) {
        problem.a.set(i, NAN);
    }
    const auto args = problem.args();
    CHECK_OK(caravan_matmul_forward(stream, &args));
    CHECK_ACCURACY(problem.c.values(), plain, exact);
    test::context().clear();
}

void values(Stream& stream) {
    Random random(1);
    const Storage storages[] = {{F32, F32, F32},
                                {BF16, BF16, F32},
                                {BF16, BF16, BF16},
                                {F32, BF16, F32},
                                {BF16, F32, BF16}};
    const int64_t shapes[][3] = {{1, 1, 1},
                                 {3, 17, 1},
                                 {1, 33, 70},
                                 {2, 100, 3},
                                 {5, 9, 31},
                                 {8, 65, 64},
                                 {9, 15, 17},
                                 {17, 3, 40},
                                 {31, 33, 16},
                                 {64, 64, 64},
                                 {65, 63, 5},
                                 {130, 47, 9},
                                 {4, 1, 200},
                                 {7, 300, 20},
                                 // deeper than a packed panel of bfloat16 pairs, and odd
                                 {37, 70, 1101}};
    for (const auto& s : shapes) {
        for (Storage storage : storages) {
            for (int transposed = 0; transposed < 4; ++transposed) {
                reference::Matmul how = {s[0], s[1], s[2]};
                how.transpose_a = (transposed & 1) != 0;
                how.transpose_b = (transposed & 2) != 0;
                const double which = random.uniform(0, 1);
                how.alpha = which < 0.5 ? 1 : -0.75;
                how.beta = which < 0.3 ? 0 : which < 0.6 ? 1 : 0.375;
                const int64_t limited = how.transpose_a ? how.k : how.m;
                how.rows = random.below(3) == 0 ? random.below(limited + 1) : -1;
                storage.gap = 5 * random.below(2);
                check(how, storage, random, stream);
            }
        }
    }
}

// Extents of zero, a factor of zero, and every value of the limit on rows.
void edges(Stream& stream) {
    Random random(2);
    for (double beta : {0.0, 1.0, 0.5}) {
        for (int32_t dtype : {F32, BF16}) {
            for (const auto& s : {reference::Matmul{4, 5, 0}, {0, 5, 3}, {5, 0, 3}, {0, 0, 0}}) {
                reference::Matmul how = s;
                how.beta = beta;
                check(how, {F32, F32, dtype}, random, stream);
            }
            reference::Matmul none = {20, 20, 20};
            none.alpha = 0;
            none.beta = beta;
            check(none, {F32, F32, dtype}, random, stream);
        }
    }
    for (int64_t rows = 0; rows <= 12; ++rows) {
        for (double beta : {0.0, 1.0}) {
            for (bool transpose_a : {false, true}) {
                reference::Matmul how = {12, 20, 12};
                how.beta = beta;
                how.rows = rows;
                how.transpose_a = transpose_a;
                check(how, {}, random, stream);
            }
        }
    }
}

// Large enough for several tiles, tasks, and steps through k.
void threads() {
    Random random(3);
    std::vector<std::pair<reference::Matmul, Storage>> cases;
    for (int transposed = 0; transposed < 4; ++transposed) {
        for (int32_t dtype : {F32, BF16}) {
            reference::Matmul how = {260, 300, 40};
            how.transpose_a = (transposed & 1) != 0;
            how.transpose_b = (transposed & 2) != 0;
            how.beta = 0.5;
            cases.push_back({how, {dtype, dtype, dtype}});
        }
    }
    const int64_t wide = test::emulated() ? 700 : 20000, deep = test::emulated() ? 1000 : 40000;
    cases.push_back({{5, wide, 33, false, true}, {F32, BF16, F32}});
    cases.push_back({{8, 3000, 50}, {F32, F32, F32}});
    cases.push_back({{20, 24, deep, false, true}, {BF16, BF16, BF16}});
    cases.push_back({{24, 20, deep, true, false}, {F32, BF16, F32}});
    // Deep products in parts of k, with a limit that leaves some parts empty.
    for (int64_t rows : {-1, 0, 700, 2999}) {
        reference::Matmul how = {33, 50, 3000, true, false};
        how.beta = 1;
        how.rows = rows;
        cases.push_back({how, {F32, F32, F32}});
        how = {40, 50, 3000, false, true};
        how.rows = rows < 0 ? -1 : rows % 40;
        cases.push_back({how, {BF16, BF16, BF16}});
    }
    Stream two(2);
    for (const auto& [how, storage] : cases) {
        check(how, storage, random, two);
        const Problem before(how, storage, random);
        test::context() = before.name();
        test::same_bits_for_threads([&](caravan_stream stream) {
            Problem problem = before;
            const auto args = problem.args();
            CHECK_OK(caravan_matmul_forward(stream, &args));
            const std::string first = problem.c.bits();
            Problem again = before;
            const auto more = again.args();
            CHECK_OK(caravan_matmul_forward(stream, &more));
            CHECK(again.c.bits() == first);
            return first;
        });
        test::context().clear();
    }
}

// a and c may be column ranges of one buffer, as long as they share no element.
void slices(Stream& stream) {
    Random random(4);
    Tensor buffer(F32, {12, 50}), b(F32, {20, 20});
    const auto all = random.normals(buffer.count());
    buffer.set(all);
    b.set(random.normals(b.count()));
    const auto slice = [&](int64_t column) {
        caravan_tensor view = buffer.view();
        view.data = buffer.as<float>() + column;
        view.bytes -= column * 4;
        view.shape[1] = 20;
        return view;
    };
    std::vector<double> a;
    for (int64_t i = 0; i < 12 * 20; ++i) a.push_back(buffer.get(i / 20 * 50 + i % 20));
    const auto exact = reference::matmul<double>({12, 20, 20}, a, b.values(), {});

    caravan_matmul_args args = {};
    args.size = sizeof args;
    args.a = slice(0);
    args.b = b.view();
    args.c = slice(20);
    args.alpha = 1;
    CHECK_OK(caravan_matmul_forward(stream, &args));
    for (int64_t i = 0; i < buffer.count(); ++i) {
        const int64_t row = i / 50, column = i % 50;
        const bool written = column >= 20 && column < 40;
        const double expected = written ? exact[static_cast<size_t>(row * 20 + column - 20)]
                                        : test::rounded(all[static_cast<size_t>(i)], CARAVAN_F32);
        CHECK_NEAR(buffer.get(i), expected, written ? 1e-5 : 0);
    }
    args.c = slice(19);
    CHECK_REFUSED(caravan_matmul_forward(stream, &args), "matmul_forward",
                  "c: shares memory with a");
}

void refusals(Stream& stream) {
    Random random(5);
    const auto refused = [&](const char* part, auto change) {
        Problem problem({4, 6, 5}, {}, random);
        const std::string before = problem.c.bits();
        auto args = problem.args();
        change(args);
        test::context() = part;
        CHECK_REFUSED(caravan_matmul_forward(stream, &args), "matmul_forward", part);
        CHECK(problem.c.bits() == before);
        test::context().clear();
    };
    using Args = caravan_matmul_args&;
    refused("a: got null", [](Args args) { args.a.data = nullptr; });
    refused("a: got dtype i32", [](Args args) { args.a.dtype = CARAVAN_I32; });
    refused("a: needs 80 bytes", [](Args args) { args.a.bytes = 79; });
    refused("b: got shape [5, 6]", [](Args args) { args.transpose_b = 1; });
    refused("b: got shape [4, 6]", [](Args args) { args.b.shape[0] = 4; });
    refused("b: got stride 5", [](Args args) { args.b.stride[0] = 5; });
    refused("c: got shape [4, 5]", [](Args args) { args.c.shape[1] = 5; });
    refused("c: got last stride 2", [](Args args) { args.c.stride[1] = 2; });
    refused("c: shares memory with b", [](Args args) { args.c.data = args.b.data; });
    refused("transpose_a: got 2", [](Args args) { args.transpose_a = 2; });
    refused("transpose_b: got -1", [](Args args) { args.transpose_b = -1; });
    refused("a: got stride 4294967296", [](Args args) {
        args.a.stride[0] = int64_t{1} << 32;
        args.a.bytes = INT64_MAX;
    });
    Tensor rows(CARAVAN_I32, {1}), wide(CARAVAN_I32, {2});
    if (test::kind() == CARAVAN_CPU) {
        rows.set(0, 5);
        refused("rows: got 5, needs 0 to 4", [&](Args args) { args.rows = rows.view(); });
        rows.set(0, -1);
        refused("rows: got -1", [&](Args args) { args.rows = rows.view(); });
    }
    refused("rows: got shape [2]", [&](Args args) { args.rows = wide.view(); });

    Problem problem({40, 40, 40}, {}, random);
    const auto args = problem.args();
    CHECK_REFUSED(caravan_matmul_forward(stream, nullptr), "matmul_forward", "args");
    CHECK_REFUSED(caravan_matmul_forward(nullptr, &args), "matmul_forward", "stream");
    int64_t bytes = -1;
    CHECK_OK(caravan_matmul_workspace(test::kind(), &args, &bytes));
    CHECK_EQUAL(bytes, 0);
    Problem deep({40, 40, 4000}, {}, random);
    auto deep_args = deep.args();
    CHECK_OK(caravan_matmul_workspace(test::kind(), &deep_args, &bytes));
    if (test::kind() == CARAVAN_CUDA) {
        CHECK_EQUAL(bytes, 0);
        return;
    }
    CHECK(bytes > 0 && bytes % (40 * 40 * 4) == 0);
    deep_args.workspace.bytes -= 1;
    CHECK_REFUSED(caravan_matmul_forward(stream, &deep_args), "matmul_forward", "workspace: needs");
    deep_args.workspace.data = nullptr;
    CHECK_REFUSED(caravan_matmul_forward(stream, &deep_args), "matmul_forward",
                  "workspace: got null");
    deep_args.a.shape[0] = -1;
    CHECK_REFUSED(caravan_matmul_workspace(test::kind(), &deep_args, &bytes), "matmul_workspace",
                  "a: got shape [-1, 4000]");
    CHECK_REFUSED(caravan_matmul_workspace(test::kind(), &args, nullptr), "matmul_workspace",
                  "bytes");
    CHECK_REFUSED(caravan_matmul_workspace(7, &args, &bytes), "matmul_workspace", "kind: got 7");

    CHECK_OK(caravan_set_sgemm(nullptr));
    CHECK_UNSUPPORTED(caravan_matmul_forward(stream, &args), "caravan_set_sgemm");
    reference::set_sgemm();
}

// The host cannot see a limit in device memory before the kernel does: outside 0 .. M (or K) it
// makes all of c NaN, and nothing out of range is touched.
void limits_on_device(Stream& stream) {
    if (test::kind() != CARAVAN_CUDA) return;
    Random random(6);
    for (int32_t dtype : {F32, BF16}) {
        for (bool transpose_a : {false, true}) {
            for (int64_t rows : {-1, 71, INT32_MAX}) {
                reference::Matmul how = {70, 20, 70, transpose_a};
                how.beta = 1;
                how.rows = 0;
                Problem problem(how, {dtype, dtype, dtype}, random);
                problem.rows.set(0, static_cast<double>(rows));
                const auto args = problem.args();
                CHECK_OK(caravan_matmul_forward(stream, &args));
                for (double value : problem.c.values()) CHECK(std::isnan(value));
            }
        }
    }
}

// Products that take the large tiles, and bases and strides that rule out 16-byte accesses.
void routes(Stream& stream) {
    if (test::kind() != CARAVAN_CUDA) return;
    Random random(7);
    for (int transposed = 0; transposed < 4; ++transposed) {
        for (int64_t gap : {0, 8, 3}) {
            reference::Matmul how = {1200, 1216, 70};
            if (test::emulated() && gap != 0) how = {130, 136, 70};
            how.transpose_a = (transposed & 1) != 0;
            how.transpose_b = (transposed & 2) != 0;
            how.beta = gap == 8 ? 1 : 0;
            Storage storage = {BF16, BF16, gap == 0 ? F32 : BF16};
            storage.gap = gap;
            check(how, storage, random, stream);
        }
    }
}

// Enough tiles for warpgroups where they are: both widths of a tile, blocks alone and in pairs, a
// ring that goes round several times, tiles and a depth that are cut off, a c that no tensor copy
// reaches, limits within a tile, at its edge and before it.
void warpgroups(Stream& stream) {
    if (test::kind() != CARAVAN_CUDA) return;
    Random random(8);
    struct Shape {
        int64_t m, n, k;
    };
    const Shape shapes[] = {{520, 1160, 200}, {120, 4104, 328}, {264, 8712, 72}, {1144, 528, 392}};
    for (int transposed = 0; transposed < 4; ++transposed) {
        for (const Shape& shape : shapes) {
            reference::Matmul how = {shape.m, shape.n, shape.k};
            how.transpose_a = (transposed & 1) != 0;
            how.transpose_b = (transposed & 2) != 0;
            const int way = static_cast<int>(random.below(4));
            how.alpha = way < 2 ? 1 : 0.5;
            how.beta = way % 2 == 0 ? 0 : way == 1 ? 1 : -0.25;
            const int64_t limited = how.transpose_a ? how.k : how.m;
            const int64_t limits[] = {-1, random.below(limited + 1), limited / 128 * 128, 5};
            how.rows = limits[random.below(4)];
            Storage storage = {BF16, BF16, random.below(2) == 0 ? F32 : BF16};
            if (way == 3) storage.gap = 8;
            check(how, storage, random, stream);
        }
    }
    // Odd columns of c: rows that begin anywhere.
    reference::Matmul odd = {500, 1157, 136, false, true};
    for (int32_t dtype : {F32, BF16}) {
        odd.beta = dtype == F32 ? 1 : 0;
        odd.rows = dtype == F32 ? 300 : -1;
        check(odd, {BF16, BF16, dtype}, random, stream);
    }
    // A limit beyond its range makes all of c NaN here too.
    for (bool transpose_a : {false, true}) {
        reference::Matmul how = {512, 1032, 72, transpose_a};
        how.rows = 0;
        Problem problem(how, {BF16, BF16, BF16}, random);
        problem.rows.set(0, 513);
        const auto args = problem.args();
        CHECK_OK(caravan_matmul_forward(stream, &args));
        for (double value : problem.c.values()) CHECK(std::isnan(value));
    }
    // The same bits again.
    Problem problem({520, 1160, 328, false, true}, {BF16, BF16, F32}, random);
    const auto args = problem.args();
    CHECK_OK(caravan_matmul_forward(stream, &args));
    const std::string first = problem.c.bits();
    CHECK_OK(caravan_matmul_forward(stream, &args));
    CHECK(problem.c.bits() == first);
}

}  // namespace

int main() {
    reference::set_sgemm();
    Stream stream(2);
    values(stream);
    edges(stream);
    threads();
    slices(stream);
    limits_on_device(stream);
    routes(stream);
    warpgroups(stream);
    refusals(stream);
    return test::finish();
}
