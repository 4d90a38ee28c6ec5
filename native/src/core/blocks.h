// How rows are cut into tasks and partial sums: by shapes alone, never by the number of threads, so
// that the order of every sum, and with it every bit, is the same for any number of them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "caravan/caravan.h"

namespace caravan {

struct Blocks {
    int64_t total;  // rows, or elements
    int64_t size;   // of a block; the last may be smaller
    int64_t count;

    int64_t begin(int64_t block) const { return block * size; }
    int64_t end(int64_t block) const { return std::min(total, begin(block) + size); }
};

inline Blocks blocks_of(int64_t total, int64_t size) {
    return {total, size, (total + size - 1) / size};
}

// Blocks of independent rows: about 16 Ki elements each, enough to hide the start of a task and few
// enough to share out evenly.
inline Blocks row_blocks(int64_t rows, int64_t width) {
    return blocks_of(rows, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, width)));
}

inline Blocks element_blocks(int64_t count) { return blocks_of(count, 16384); }

// Blocks of rows that each leave one partial sum in a workspace: on the CPU at most 64, of at least
// 8 rows; on CUDA at most 264, two for each of the 132 multiprocessors of the largest Hopper parts.
inline Blocks partial_blocks(int32_t kind, int64_t rows) {
    const int64_t most = kind == CARAVAN_CUDA ? 264 : 64, least = kind == CARAVAN_CUDA ? 4 : 8;
    return blocks_of(rows, std::max<int64_t>(least, (rows + most - 1) / most));
}

// Blocks of elements that each leave one partial sum: small on the CPU, whose threads take them one
// by one; on CUDA at most 1,056, eight for each multiprocessor, whose sizes are multiples of 4,096,
// so that all begin at a multiple of 16 bytes when the first does.
inline Blocks partial_element_blocks(int32_t kind, int64_t count) {
    if (kind == CARAVAN_CPU) return element_blocks(count);
    constexpr int64_t most = 1056, unit = 4096;
    return blocks_of(count, std::max<int64_t>(1, (count + most * unit - 1) / (most * unit)) * unit);
}

}  // namespace caravan
