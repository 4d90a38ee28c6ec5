// How products of two bf16 matrices are cut for warpgroups (sm_90a): pure functions of shape,
// tested on the CPU.
//
// A block holds a tile of c of 128 rows by 128 or 256 columns. Two blocks of a cluster hold tiles
// one above the other: they need the same of b, and each fetches half of it for both. Blocks stay
// and take one pair of tiles after the other; which block takes which has no part in a result.
#pragma once

#include <algorithm>
#include <cstdint>

namespace caravan {
namespace cuda {

inline constexpr int kWgmmaRows = 128;  // of a tile: 64 for each consumer warpgroup
inline constexpr int kWgmmaDepth = 64;  // of k in a stage
inline constexpr int kWgmmaLine = 128;  // bytes of a line of a tile: 64 elements
inline constexpr int kWgmmaPanelBytes = 64 * kWgmmaLine;
inline constexpr int kWgmmaRingBytes = 192 << 10;

inline constexpr int kWgmmaGroup = 128;  // threads of a warpgroup
inline constexpr int kWgmmaConsumers = 2 * kWgmmaGroup;
inline constexpr int kWgmmaThreads = kWgmmaGroup + kWgmmaConsumers;
inline constexpr int kWgmmaConsumerWarps = kWgmmaConsumers / 32;
inline constexpr int kWgmmaWarpRows = 16;  // of c, of a warp
// What a warp writes into c at a time, from one of two buffers.
inline constexpr int kWgmmaBufferBytes = kWgmmaWarpRows * kWgmmaLine;

// Multiprocessors of the devices that this route is for, to weigh cuts with; the same on all.
inline constexpr int64_t kWgmmaProcessors = 132;

// Of a ring, for a tile of so many columns.
template <int kColumns>
inline constexpr int kWgmmaStageBytes = (kWgmmaRows + kColumns) * kWgmmaLine;
template <int kColumns>
inline constexpr int kWgmmaStages = kWgmmaRingBytes / kWgmmaStageBytes<kColumns>;

struct WgmmaConfig {
    int columns;    // of a tile: 128 or 256; 0: such a product is not served
    int cluster;    // blocks of a cluster: 1 or 2
    int64_t units;  // clusters' worth of tiles
    int64_t blocks;
    int64_t shared_bytes;
};

inline int64_t wgmma_units(int64_t m, int64_t n, int columns, int cluster) {
    const int64_t rows = int64_t{kWgmmaRows} * cluster;
    return (m + rows - 1) / rows * ((n + columns - 1) / columns);
}

// For c [m, n] and a device of `multiprocessors`, which decide about `blocks` alone.
inline WgmmaConfig wgmma_config(int64_t m, int64_t n, int64_t multiprocessors) {
    // With fewer tiles, more and smaller ones by mma.sync occupy a device better.
    constexpr int64_t kFewest = 32;
    WgmmaConfig config = {};
    if (wgmma_units(m, n, 128, 1) < kFewest) return config;
    config.cluster = m > kWgmmaRows ? 2 : 1;
    // Rounds that the devices need, times the work of a round. A narrow tile reads more of shared
    // memory for its work, so it must be better by a tenth.
    const auto cost = [&](int columns) {
        const int64_t tiles = wgmma_units(m, n, columns, config.cluster) * config.cluster;
        return (tiles + kWgmmaProcessors - 1) / kWgmmaProcessors * columns;
    };
    config.columns = 10 * cost(256) <= 11 * cost(128) ? 256 : 128;
    config.units = wgmma_units(m, n, config.columns, config.cluster);
    const int64_t clusters = std::max<int64_t>(multiprocessors / config.cluster, 1);
    config.blocks = std::min(config.units, clusters) * config.cluster;
    const int stages = config.columns == 256 ? kWgmmaStages<256> : kWgmmaStages<128>;
    config.shared_bytes = kWgmmaRingBytes + kWgmmaConsumerWarps * 2 * kWgmmaBufferBytes +
                          2 * stages * 8;  // mbarriers
    return config;
}

}  // namespace cuda
}  // namespace caravan
