// How grouped products are cut for warpgroups, by shape alone.
#include "cuda/grouped_matmul_config.h"

#include "tests/harness.h"

namespace {

using caravan::cuda::grouped_config;
using caravan::cuda::grouped_outer_config;
using caravan::cuda::GroupedConfig;
using caravan::cuda::GroupedOuterConfig;

constexpr int64_t kSharedBytes = 227 << 10;  // of a block on sm_90

// Few rows are for other kernels, however many experts there are.
void served() {
    CHECK(!grouped_config(0, 64, 2048, 132).served);
    CHECK(!grouped_config(127, 64, 1 << 20, 132).served);
    CHECK(!grouped_config(7 * 128, 64, 256, 132).served);
    CHECK(grouped_config(8 * 128, 64, 256, 132).served);
    CHECK(grouped_config(128, 64, 7 * 256 + 1, 132).served);
}

void clusters() {
    CHECK_EQUAL(grouped_config(64 * 128, 64, 2048, 132).cluster, 1);
    CHECK_EQUAL(grouped_config(64 * 129, 64, 2048, 132).cluster, 2);
    for (int64_t processors : {1, 2, 3, 78, 114, 132}) {
        for (int64_t rows : {1024, 8192, 131072}) {
            const GroupedConfig config = grouped_config(rows, 64, 2048, processors);
            CHECK_EQUAL(config.blocks % config.cluster, 0);
            CHECK(config.blocks >= config.cluster);
            CHECK(config.blocks <= std::max<int64_t>(processors, config.cluster));
            // What decides about results does not follow the device.
            const GroupedConfig other = grouped_config(rows, 64, 2048, 132);
            CHECK(config.served == other.served && config.cluster == other.cluster);
        }
    }
}

void memory() {
    CHECK(grouped_config(131072, 512, 2048, 132).shared_bytes <= kSharedBytes);
    CHECK_EQUAL(grouped_config(131072, 65, 2048, 132).shared_bytes,
                grouped_config(131072, 64, 2048, 132).shared_bytes + 4);
}

// Gradients of weights: pairs where there are two tiles to share something.
void gradients() {
    CHECK(!grouped_outer_config(255, 64, 2048, 4096, true, 132).served);
    CHECK(grouped_outer_config(256, 64, 2048, 4096, true, 132).served);
    CHECK(!grouped_outer_config(4096, 64, 64, 200, true, 132).served);  // 39 % of a tile
    CHECK(!grouped_outer_config(4096, 1 << 25, 2048, 4096, true, 132).served);
    CHECK_EQUAL(grouped_outer_config(4096, 64, 2048, 256, true, 132).cluster, 1);
    CHECK_EQUAL(grouped_outer_config(4096, 64, 2048, 257, true, 132).cluster, 2);
    CHECK_EQUAL(grouped_outer_config(4096, 64, 128, 4096, false, 132).cluster, 1);
    CHECK_EQUAL(grouped_outer_config(4096, 64, 129, 4096, false, 132).cluster, 2);
    // Three tiles by one, two of which share: two pairs an expert.
    CHECK_EQUAL(grouped_outer_config(4096, 3, 384, 256, false, 132).blocks, 12);
    CHECK_EQUAL(grouped_outer_config(4096, 3, 128, 768, true, 132).blocks, 12);
    for (int64_t processors : {1, 2, 3, 78, 114, 132}) {
        const GroupedOuterConfig config =
            grouped_outer_config(131072, 64, 2048, 4096, true, processors);
        CHECK_EQUAL(config.blocks, std::max<int64_t>(processors / 2, 1) * 2);
        CHECK(config.served && config.cluster == 2 && config.shared_bytes <= kSharedBytes);
    }
}

}  // namespace

int main() {
    served();
    clusters();
    memory();
    gradients();
    return test::finish();
}
