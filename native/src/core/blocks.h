// How rows are cut into tasks and partial sums: by shapes alone, never by the number of threads, so
// that the order of every sum, and with it every bit, is the same for any number of them.
#pragma once

#include <algorithm>
#include <cstdint>

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

// Blocks of rows that each leave one partial sum in a workspace: at most 64, of at least 8 rows.
inline Blocks partial_blocks(int64_t rows) {
    return blocks_of(rows, std::max<int64_t>(8, (rows + 63) / 64));
}

}  // namespace caravan
