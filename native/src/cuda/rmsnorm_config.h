// How rmsnorm lays rows on threads: pure functions of shape and device, tested on the CPU.
//
// A row is cut into parts of 16 bytes. A group of threads (a power of two below a warp, or whole
// warps) holds the row, each thread a few parts: part number p * group + lane. Rows that
// are too wide for a block are shared by the blocks of a cluster, from compute capability 9.0 on;
// those that none can hold are read twice.
#pragma once

#include <algorithm>
#include <cstdint>

namespace caravan {
namespace cuda {

struct RmsNormConfig {
    int parts;            // that a thread holds of a row; 0: rows are read twice
    int rows;             // that a thread works on at once
    int group;            // threads of a block that share a row
    int threads;          // of a block: threads / group rows side by side
    int cluster;          // blocks that share a row
    int stages;           // backward: iterations whose rows are in shared memory or on their way
    int64_t stage_bytes;  // backward: of one of them
    int64_t shared_bytes;

    int side_by_side() const { return threads / group; }
    int64_t rows_at_once() const { return static_cast<int64_t>(side_by_side()) * rows; }
};

inline constexpr int kRmsNormThreads = 512;  // most of a block
inline constexpr int kRmsNormCluster = 8;    // blocks of a cluster that every device can hold
inline constexpr int kRmsNormScratch = 32;   // partial sums of a block's warps, in floats
inline constexpr int kRmsNormExchangeBytes = 80;  // what the blocks of a cluster send each other

inline int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline int power_of_two_from(int64_t count) {
    int power = 1;
    while (power < count) power *= 2;
    return power;
}

inline int whole_warps(int64_t threads) {
    return static_cast<int>(ceil_divide(std::max<int64_t>(threads, 1), 32) * 32);
}

// Blocks of a cluster, a power of two, so that each has at most `most` parts of `parts`; 0 when no
// cluster is large enough or the device has none.
inline int rmsnorm_cluster(int64_t parts, int64_t most, int32_t capability) {
    const int64_t blocks = ceil_divide(parts, most);
    if (blocks <= 1) return 1;
    if (capability < 90 || blocks > kRmsNormCluster) return 0;
    return power_of_two_from(blocks);
}

// Rows of `width` elements of `element_bytes`; wide: all of them begin at a multiple of 16 bytes
// and are one.
inline RmsNormConfig rmsnorm_forward_config(int64_t rows, int64_t width, int64_t element_bytes,
                                            bool wide, int32_t capability) {
    const int64_t parts = ceil_divide(width * element_bytes, 16);
    RmsNormConfig config = {};
    config.cluster = 1;
    config.shared_bytes =
        kRmsNormScratch * static_cast<int64_t>(sizeof(float)) + kRmsNormExchangeBytes;
    if (parts <= 128) {  // within a warp
        config.group = std::min(32, power_of_two_from(parts));
        config.parts = power_of_two_from(ceil_divide(parts, config.group));
        config.rows = 4 / config.parts;
        // As many rows side by side as there are, up to 256 threads.
        const int64_t side = std::min<int64_t>(256 / config.group, ceil_divide(rows, config.rows));
        config.threads = whole_warps(power_of_two_from(side) * config.group);
        return config;
    }
    config.rows = 1;
    // 4 parts where that suffices, by up to 8 blocks; then 8, and for float32 16. Element by
    // element that many would take more registers than there are.
    for (int held = 4; held <= (!wide ? 4 : element_bytes == 4 ? 16 : 8); held *= 2) {
        const int cluster =
            rmsnorm_cluster(parts, static_cast<int64_t>(kRmsNormThreads) * held, capability);
        if (cluster == 0) continue;
        config.parts = held;
        config.cluster = cluster;
        config.group = whole_warps(ceil_divide(ceil_divide(parts, cluster), held));
        config.threads = config.group;
        return config;
    }
    config.group = config.threads = kRmsNormThreads;
    return config;
}

// The backward keeps `streams` rows (d_y, x, and d_sum where given) of each iteration in shared
// memory, with a rstd for each thread of a row, and the sums of d_weight over a block's rows in
// registers. `block_rows` are the rows of one block of partial_blocks.
inline RmsNormConfig rmsnorm_backward_config(int64_t block_rows, int64_t width,
                                             int64_t element_bytes, int streams, bool wide,
                                             int32_t capability, int64_t shared_bytes) {
    const int most_parts = wide ? 8 : 2;  // as above
    const int64_t parts = ceil_divide(width * element_bytes, 16);
    const int64_t scratch =
        2 * kRmsNormScratch * static_cast<int64_t>(sizeof(float)) + kRmsNormExchangeBytes;
    const int64_t usable = shared_bytes - scratch;
    RmsNormConfig config = {};
    config.cluster = 1;
    if (parts <= 32) {
        config.group = power_of_two_from(parts);
        config.parts = 1;
        config.rows = 2;
    } else {
        config.rows = 1;
        config.cluster = 0;
        for (int held = 2; held <= most_parts && config.cluster == 0; held *= 2) {
            // 2 parts leave room for two blocks of a multiprocessor, so they are for one block
            // only.
            const int64_t most = static_cast<int64_t>(kRmsNormThreads) * held;
            if (held == 2 && wide && parts > most) continue;
            config.parts = held;
            config.cluster = rmsnorm_cluster(parts, most, capability);
        }
        if (config.cluster != 0) {
            config.group =
                whole_warps(ceil_divide(ceil_divide(parts, config.cluster), config.parts));
        }
    }
    if (config.cluster != 0) {
        const int64_t side =
            std::min<int64_t>(kRmsNormThreads / config.group, ceil_divide(block_rows, config.rows));
        config.threads =
            whole_warps(config.group *
                        (config.group < 32 ? power_of_two_from(side) : std::max<int64_t>(side, 1)));
        config.stage_bytes = static_cast<int64_t>(config.rows) * config.threads *
                             (config.parts * 16 * streams + static_cast<int64_t>(sizeof(float)));
        // Two blocks of a multiprocessor when each still has two stages, or one.
        const int64_t two = (usable - 1024) / 2 / config.stage_bytes;
        const int64_t stages = two >= 2 ? two : usable / config.stage_bytes;
        if (stages >= 1) {
            config.stages = static_cast<int>(std::min<int64_t>(stages, 4));
            config.shared_bytes = scratch + config.stages * config.stage_bytes;
            return config;
        }
    }
    config.parts = 0;
    config.rows = 1;
    config.cluster = 1;
    config.group = config.threads = kRmsNormThreads;
    config.shared_bytes = scratch;
    return config;
}

}  // namespace cuda
}  // namespace caravan
