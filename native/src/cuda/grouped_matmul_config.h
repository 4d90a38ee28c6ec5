// How the grouped products are cut for warpgroups (sm_90a): a pure function of shape, tested on the
// CPU. How many rows each expert has is not known here; blocks stay and find their tiles in the
// offsets.
//
// A block has 128 rows of one expert and 256 columns of the product: of a gated unit 128 of gates
// and the 128 that they multiply. Where experts have rows enough, two blocks of a cluster hold rows
// one below the other and fetch half of the weights each, for both. Gradients of weights are cut
// into the same tiles; what two blocks share there is the operand whose rows lie in order.
#pragma once

#include <algorithm>

#include "cuda/matmul_config.h"

namespace caravan {
namespace cuda {

inline constexpr int kGroupedColumns = 256;
inline constexpr int kGroupedStages = kWgmmaStages<kGroupedColumns>;

struct GroupedConfig {
    bool served;
    int cluster;     // blocks of a cluster: 1 or 2
    int64_t blocks;  // of a device that has so many multiprocessors
    int64_t shared_bytes;
};

// For `rows` rows of all experts and a product of `width` columns.
inline GroupedConfig grouped_config(int64_t rows, int64_t experts, int64_t width,
                                    int64_t multiprocessors) {
    // With fewer tiles, more and smaller ones by mma.sync occupy a device better.
    constexpr int64_t kFewest = 8;
    GroupedConfig config = {};
    const int64_t across = (width + kGroupedColumns - 1) / kGroupedColumns;
    config.served = rows / kWgmmaRows * across >= kFewest;
    // With fewer rows an expert's second block would mostly have none.
    config.cluster = rows / std::max<int64_t>(experts, 1) > kWgmmaRows ? 2 : 1;
    const int64_t tiles = (rows / (kWgmmaRows * config.cluster) + experts) * across;
    const int64_t clusters = std::max<int64_t>(multiprocessors / config.cluster, 1);
    config.blocks = std::min(tiles, clusters) * config.cluster;
    config.shared_bytes = kWgmmaRingBytes + kWgmmaConsumerWarps * 2 * kWgmmaBufferBytes +
                          2 * kGroupedStages * 8 + (experts + 1) * 4;  // mbarriers, first tiles
    return config;
}

struct GroupedOuterConfig {
    bool served;
    int cluster;  // blocks of a cluster: 1 or 2
    int64_t blocks;
    int64_t shared_bytes;
};

// For gradients [m, n] of `experts`. shares_a: blocks beside each other share rows of the gradient,
// else blocks below each other its columns.
inline GroupedOuterConfig grouped_outer_config(int64_t rows, int64_t experts, int64_t m, int64_t n,
                                               bool shares_a, int64_t multiprocessors) {
    constexpr int64_t kFewestRows = 256;
    const int64_t down = (m + kWgmmaRows - 1) / kWgmmaRows;
    const int64_t across = (n + kGroupedColumns - 1) / kGroupedColumns;
    GroupedOuterConfig config = {};
    config.cluster = (shares_a ? across : down) > 1 ? 2 : 1;
    const int64_t pairs =
        shares_a ? down * ((across + config.cluster - 1) / config.cluster)
                 : (down + config.cluster - 1) / config.cluster * across;
    // Where a wide tile would be mostly empty, narrower ones by mma.sync have less to do; numbers
    // of tiles are 32 bits wide.
    config.served = rows >= kFewestRows &&
                    down * across * kWgmmaRows * kGroupedColumns <= int64_t{2} * m * n &&
                    pairs * experts <= INT32_MAX / 4;
    const int64_t clusters = std::max<int64_t>(multiprocessors / config.cluster, 1);
    config.blocks = std::min(pairs * experts, clusters) * config.cluster;
    config.shared_bytes = kWgmmaRingBytes + 2 * kGroupedStages * 8;  // mbarriers
    return config;
}

}  // namespace cuda
}  // namespace caravan
