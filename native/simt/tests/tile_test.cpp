// The tile wrappers on the emulation: every case of tests/cuda/tile_cases.h in order and under
// several seeds, always with the same bits, which tests/cuda/tile_recorded.h keeps for the run on a
// GPU; and the layouts, which are pure functions, for themselves. Then misuse of each wrapper, seen
// to be caught.
//
//   tile_test [--record FILE]
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <set>
#include <string>

#include "cuda/tile/matrix.cuh"
#include "cuda/tile/mma.cuh"
#include "cuda/tile/swizzle.cuh"
#include "cuda/tile/tensor_map.h"
#include "cuda/tile/wgmma.cuh"
#include "simt/tests/faults_tile.h"
#include "simt/tests/plant.h"
#include "simt/tests/simt_device.h"
#include "tests/cuda/tile_recorded.h"
#include "tests/harness.h"

namespace {

namespace tile = caravan::tile;
using tile_test::Case;
using tile_test::Result;

constexpr int kSeeds = 4;

// ------------------------------------------------------------------------------- cases

void check(const Case& test, const Result& result) {
    test::context() = test.name + ", seed " + std::to_string(simt::settings().seed) +
                      (simt::settings().in_order ? ", in order" : "");
    test::check(result.fault.empty(), __FILE__, __LINE__, "fault: " + result.fault);
    if (!result.fault.empty()) return;
    size_t wrong = 0;
    std::string first;
    CHECK_EQUAL(result.got.size(), result.expected.size());
    for (size_t i = 0; i < std::min(result.got.size(), result.expected.size()); ++i) {
        if (result.got[i] == result.expected[i]) continue;
        char text[100];
        std::snprintf(text, sizeof text, "word %zu: got %08x, expected %08x", i, result.got[i],
                      result.expected[i]);
        if (wrong++ == 0) first = text;
    }
    test::check(wrong == 0, __FILE__, __LINE__, std::to_string(wrong) + " words differ; " + first);
    test::context().clear();
}

void cases() {
    tile_test::SimtDevice device;
    std::set<std::string> names;
    for (const Case& test : tile_test::all_cases()) {
        CHECK(names.insert(test.name).second);
        simt::settings().capability = test.capability;
        simt::settings().in_order = true;
        check(test, test.run(device));
        simt::settings().in_order = false;
        for (int seed = 1; seed <= kSeeds; ++seed) {
            simt::settings().seed = static_cast<uint64_t>(seed);
            simt::settings().resident = seed;
            const Result result = test.run(device);
            check(test, result);
            uint64_t expected = 0;
            for (const auto& entry : tile_test::kRecorded) {
                if (test.name == entry.name) expected = entry.hash;
            }
            test::check(expected == tile_test::hash(result.got), __FILE__, __LINE__,
                        test.name + " is not as recorded");
        }
        simt::settings().resident = 1;
    }
    CHECK_EQUAL(names.size(), sizeof tile_test::kRecorded / sizeof *tile_test::kRecorded);
}

int record(const char* path) {
    tile_test::SimtDevice device;
    std::string text;
    for (const Case& test : tile_test::all_cases()) {
        const Result result = test.run(device);
        check(test, result);
        char line[200];
        std::snprintf(line, sizeof line, "    {\"%s\", 0x%016llx},\n", test.name.c_str(),
                      static_cast<unsigned long long>(tile_test::hash(result.got)));
        text += line;
    }
    if (test::failures() > 0) return test::finish();
    std::FILE* file = std::fopen(path, "w");
    if (file == nullptr) return 1;
    std::fputs(
        "// What each case put out on the emulation: name and hash of its words. Written by\n"
        "// `tile_test --record tests/cuda/tile_recorded.h`.\n"
        "#pragma once\n\n#include <cstdint>\n\nnamespace tile_test {\n\n"
        "struct Recorded {\n    const char* name;\n    uint64_t hash;\n};\n\n"
        "// clang-format off\nconstexpr Recorded kRecorded[] = {\n",
        file);
    std::fputs(text.c_str(), file);
    std::fputs("};\n// clang-format on\n\n}  // namespace tile_test\n", file);
    return std::fclose(file);
}

// ------------------------------------------------------------------------------- layouts

// Every element of [rows, columns] belongs to exactly one (thread, i).
template <typename Row, typename Column>
void check_covers(int threads, int count, int rows, int columns, Row row, Column column) {
    CHECK_EQUAL(threads * count, rows * columns);
    std::set<std::pair<int, int>> seen;
    for (int t = 0; t < threads; ++t) {
        for (int i = 0; i < count; ++i) {
            const int r = row(t, i), c = column(t, i);
            CHECK(r >= 0 && r < rows && c >= 0 && c < columns);
            CHECK(seen.insert({r, c}).second);
        }
    }
}

void fragments() {
    using A = tile::Mma16816;
    check_covers(32, 8, 16, 16, A::a_row, A::a_column);
    check_covers(32, 4, 16, 8, A::b_row, A::b_column);
    check_covers(32, 4, 16, 8, A::sum_row, A::sum_column);
    using B = tile::Mma1688;
    check_covers(32, 4, 16, 8, B::a_row, B::a_column);
    check_covers(32, 2, 8, 8, B::b_row, B::b_column);
    check_covers(32, 4, 16, 8, B::sum_row, B::sum_column);
    using C = tile::Wgmma64;
    check_covers(128, 8, 64, 16, C::a_row, C::a_column);
    for (int n = 16; n <= 256; n += 16) {
        check_covers(128, n / 2, 64, n, C::sum_row, C::sum_column);
    }
    check_covers(
        32, 2, 8, 8, [](int lane, int) { return tile::matrix_row(lane); }, tile::matrix_column);

    // ldmatrix x4 over a 16 x 16 tile, lanes 0-15 at its rows and 16-31 eight columns on, gives
    // what mma takes as a; and the sums of one product, packed, are half of the next one's a.
    for (int lane = 0; lane < 32; ++lane) {
        for (int i = 0; i < 8; ++i) {
            const int m = i / 2;
            CHECK_EQUAL(A::a_row(lane, i), m % 2 * 8 + tile::matrix_row(lane));
            CHECK_EQUAL(A::a_column(lane, i), m / 2 * 8 + tile::matrix_column(lane, i % 2));
        }
        for (int i = 0; i < 4; ++i) {
            CHECK_EQUAL(A::sum_row(lane, i), A::a_row(lane, i));
            CHECK_EQUAL(A::sum_column(lane, i), A::a_column(lane, i));
        }
    }
}

void swizzles() {
    for (auto swizzle :
         {tile::Swizzle::kNone, tile::Swizzle::k32, tile::Swizzle::k64, tile::Swizzle::k128}) {
        std::set<uint32_t> seen;
        for (uint32_t offset = 0; offset < 4096; ++offset) {
            const uint32_t to = tile::swizzled(swizzle, offset);
            CHECK(seen.insert(to).second);
            CHECK_EQUAL(tile::swizzled(swizzle, to), offset);
            CHECK_EQUAL(to / 128, offset / 128);  // never leaves its line
            CHECK_EQUAL(to % 16, offset % 16);    // nor tears 16 bytes
            const uint32_t period = tile::swizzle_period(swizzle);
            CHECK_EQUAL(tile::swizzled(swizzle, offset + period), to + period);
        }
    }
    // Eight rows of a tile, the same 16-byte column: in eight different parts of the 128 bytes that
    // the banks span, so that ldmatrix, which reads such a set at a time, meets no conflict.
    const auto conflicts = [](tile::Swizzle swizzle) {
        const uint32_t width = tile::swizzle_width(swizzle);
        int worst = 0;
        for (uint32_t column = 0; column < width; column += 16) {
            int uses[8] = {};
            for (uint32_t row = 0; row < 8; ++row) {
                const uint32_t at = tile::swizzled(swizzle, row * width + column);
                worst = std::max(worst, ++uses[at % 128 / 16]);
            }
        }
        return worst;
    };
    CHECK_EQUAL(conflicts(tile::Swizzle::k128), 1);
    CHECK_EQUAL(conflicts(tile::Swizzle::k64), 1);
    CHECK_EQUAL(conflicts(tile::Swizzle::k32), 1);
}

void descriptors() {
    const uint64_t bits = tile::wgmma_descriptor(0x12340, 0x1000, 1024, tile::Swizzle::k128);
    CHECK_EQUAL(bits & 0x3fff, uint64_t{0x1234});
    CHECK_EQUAL(bits >> 16 & 0x3fff, uint64_t{0x100});
    CHECK_EQUAL(bits >> 32 & 0x3fff, uint64_t{64});
    CHECK_EQUAL(bits >> 49 & 7, uint64_t{0});
    CHECK_EQUAL(bits >> 62, uint64_t{1});
    CHECK_EQUAL(tile::wgmma_advance(bits, 32) & 0x3fff, uint64_t{0x1236});
    CHECK_EQUAL(tile::wgmma_descriptor(0, 0, 0, tile::Swizzle::k64) >> 62, uint64_t{2});
    CHECK_EQUAL(tile::wgmma_descriptor(0, 0, 0, tile::Swizzle::k32) >> 62, uint64_t{3});
}

void maps() {
    alignas(16) static unsigned char data[4096];
    tile::TensorMapShape good;
    good.data = data;
    good.rank = 2;
    good.extent[0] = 64;
    good.extent[1] = 16;
    good.stride_bytes[1] = 128;
    good.box[0] = 64;
    good.box[1] = 8;
    good.swizzle = tile::Swizzle::k128;
    tile::TensorMap map;
    CHECK(tile::make_tensor_map(good, &map));
    const auto refused = [&](const char* part, auto change) {
        tile::TensorMapShape shape = good;
        change(shape);
        const char* fault = tile::tensor_map_fault(shape);
        CHECK(fault != nullptr && std::strstr(fault, part) != nullptr);
        CHECK(!tile::make_tensor_map(shape, &map));
    };
    using Shape = tile::TensorMapShape&;
    refused("rank", [](Shape shape) { shape.rank = 4; });
    refused("rank", [](Shape shape) { shape.rank = 0; });
    refused("data", [](Shape shape) { shape.data = data + 8; });
    refused("extent", [](Shape shape) { shape.extent[1] = 0; });
    refused("stride", [](Shape shape) { shape.stride_bytes[1] = 120; });
    refused("box", [](Shape shape) { shape.box[1] = 257; });
    refused("multiple of 16", [](Shape shape) { shape.box[0] = 60; });
    refused("swizzle", [](Shape shape) { shape.box[0] = 32; });
    refused("swizzle", [](Shape shape) { shape.box[0] = 128; });
}

}  // namespace

int main(int count, char** arguments) {
    if (count == 3 && std::strcmp(arguments[1], "--record") == 0) return record(arguments[2]);
    fragments();
    swizzles();
    descriptors();
    maps();
    cases();
    plant::test_tile_copies();
    plant::test_tile_bulk();
    plant::test_tile_products();
    CHECK_EQUAL(plant::failures(), 0);
    return test::finish();
}
