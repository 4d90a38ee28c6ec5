// How the grouped products are cut for warpgroups (sm_90a): a pure function of shape, tested on the
// CPU. How many rows each expert has is not known here; blocks stay and find their tiles in the
// offsets.
//
// A block has 128 rows of one expert and 256 columns of the product: of a gated unit 128 of gates
// and the 128 that they multiply. Where experts have rows enough, two blocks of a cluster hold rows
// one below the other and fetch half of the weights each, for both.
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

}  // namespace cuda
}  // namespace caravan
