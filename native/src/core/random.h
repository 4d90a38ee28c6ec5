// Counter-based random numbers: a pure function of (key, counter), so they need no state, no order
// and no storage, and every device draws the same. Philox4x32-10, from Salmon et al. 2011,
// "Parallel random numbers: as easy as 1, 2, 3" (SC11), section 3.3 and its constants in table 2.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace caravan {

inline constexpr uint32_t kPhiloxMultiplier0 = 0xd2511f53;
inline constexpr uint32_t kPhiloxMultiplier1 = 0xcd9e8d57;
inline constexpr uint32_t kPhiloxWeyl0 = 0x9e3779b9;
inline constexpr uint32_t kPhiloxWeyl1 = 0xbb67ae85;
inline constexpr int kPhiloxRounds = 10;

// Encrypts the counter words[0..3] in place. Word is uint32_t, or a vector of them for as many
// counters at once; multiply(a, m, high, low) gives the two halves of the 64-bit product.
template <typename Word, typename Multiply>
CARAVAN_HOST_DEVICE inline void philox(Word words[4], uint64_t key, Multiply&& multiply) {
    auto key0 = static_cast<uint32_t>(key);
    auto key1 = static_cast<uint32_t>(key >> 32);
    for (int round = 0; round < kPhiloxRounds; ++round) {
        Word high0, low0, high1, low1;
        multiply(words[0], kPhiloxMultiplier0, high0, low0);
        multiply(words[2], kPhiloxMultiplier1, high1, low1);
        words[0] = high1 ^ words[1] ^ key0;
        words[1] = low1;
        words[2] = high0 ^ words[3] ^ key1;
        words[3] = low0;
        key0 += kPhiloxWeyl0;
        key1 += kPhiloxWeyl1;
    }
}

CARAVAN_HOST_DEVICE inline void philox(uint32_t words[4], uint64_t key) {
    philox(words, key, [](uint32_t a, uint32_t m, uint32_t& high, uint32_t& low) {
        const uint64_t product = static_cast<uint64_t>(a) * m;
        high = static_cast<uint32_t>(product >> 32);
        low = static_cast<uint32_t>(product);
    });
}

// The 32 bits that element `index` draws in `step`. The 64 elements of a group share 16 counters:
// of element i, word (i % 64) / 16 of counter (i / 64) * 16 + i % 16, so that 16 lanes of one
// vector are 16 elements side by side.
CARAVAN_HOST_DEVICE inline uint32_t element_random(uint64_t seed, uint64_t step, uint64_t index) {
    const uint64_t counter = index / 64 * 16 + index % 16;
    uint32_t words[4] = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32),
                         static_cast<uint32_t>(step), static_cast<uint32_t>(step >> 32)};
    philox(words, seed);
    return words[index % 64 / 16];
}

}  // namespace caravan
