// What each case put out on the emulation: name and hash of its words. Written by
// `tile_test --record tests/cuda/tile_recorded.h`.
#pragma once

#include <cstdint>

namespace tile_test {

struct Recorded {
    const char* name;
    uint64_t hash;
};

constexpr Recorded kRecorded[] = {
    {"", 0},
};

}  // namespace tile_test
