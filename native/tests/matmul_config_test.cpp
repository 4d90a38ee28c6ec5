// How products are cut for warpgroups: every tile of c has a place, blocks fit their device, and
// the cut does not depend on the device.
#include "cuda/matmul_config.h"

#include "tests/harness.h"

namespace {

using caravan::cuda::wgmma_config;
using caravan::cuda::WgmmaConfig;

constexpr int64_t kShared = 227 << 10;  // of a block on Hopper at most

void check_cut(int64_t m, int64_t n) {
    test::context() = test::shape_name({m, n});
    const WgmmaConfig cut = wgmma_config(m, n, 132);
    const int64_t tiles = (m + 127) / 128 * ((n + 127) / 128);
    CHECK_EQUAL(cut.columns == 0, tiles < 32);
    if (cut.columns != 0) {
        CHECK(cut.columns == 128 || cut.columns == 256);
        CHECK_EQUAL(cut.cluster, m > 128 ? 2 : 1);
        const int64_t rows = 128 * cut.cluster;
        const int64_t down = (m + rows - 1) / rows, across = (n + cut.columns - 1) / cut.columns;
        CHECK_EQUAL(cut.units, down * across);
        CHECK(cut.shared_bytes <= kShared);
        for (int64_t multiprocessors : {1, 3, 114, 132, 1000}) {
            const WgmmaConfig other = wgmma_config(m, n, multiprocessors);
            CHECK_EQUAL(other.columns, cut.columns);
            CHECK_EQUAL(other.cluster, cut.cluster);
            CHECK_EQUAL(other.units, cut.units);
            CHECK(other.blocks >= cut.cluster && other.blocks % cut.cluster == 0);
            CHECK(other.blocks <= std::max<int64_t>(multiprocessors, cut.cluster));
            CHECK(other.blocks <= cut.units * cut.cluster);
        }
    }
    test::context().clear();
}

}  // namespace

int main() {
    for (int64_t m : {1, 64, 127, 128, 129, 255, 256, 257, 1000, 4096, 5000, 70000}) {
        for (int64_t n : {1, 100, 128, 129, 288, 768, 4095, 4096, 4224, 32000, 128256}) {
            check_cut(m, n);
        }
    }
    // Large products take wide tiles; so many that a second round of them would be nearly empty,
    // narrow ones.
    CHECK_EQUAL(wgmma_config(8192, 8192, 132).columns, 256);
    CHECK_EQUAL(wgmma_config(4096, 4096, 132).columns, 256);
    CHECK_EQUAL(wgmma_config(1024, 1024, 132).columns, 128);
    CHECK(caravan::cuda::kWgmmaStages<256> >= 4);
    CHECK(caravan::cuda::kWgmmaStages<128> >= 4);
    return test::finish();
}
