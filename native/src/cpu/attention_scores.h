// Soft-cap, bias and mask on a tile of scores [keys][kTileQueries]. Only for src/cpu.
#pragma once

#include "cpu/attention.h"
#include "cpu/attention_tile.h"

namespace caravan {
namespace CARAVAN_ISA {

// A tile of scores of one document: queries [query, query + queries) against keys [key, key +
// keys).
struct ScoreTile {
    int64_t query, queries, key, keys;
    Band band;       // for key row k, query lanes k + low .. k + high are allowed
    bool masked;     // whether the band excludes anything
    float soft_cap;  // 0 = none
    const float*
        diagonal;  // bias of query lane q and key row k at [q - k + kTileKeys - 1], or null

    // The same band seen from the queries.
    Band transposed() const { return {-band.high, -band.low}; }
    bool plain() const { return !masked && soft_cap == 0 && diagonal == nullptr; }

    // Where the biases for key row k begin, lane 0 first.
    static int64_t diagonal_row(int64_t k) { return kTileKeys - 1 - k; }
};

inline constexpr int64_t kDiagonals = kTileQueries + kTileKeys;  // one more than there are

inline ScoreTile score_tile(const Attention& a, const Document& document, int64_t query,
                            int64_t queries, int64_t key, int64_t keys) {
    ScoreTile tile = {query, queries, key, keys, kNoBand, false, a.soft_cap, nullptr};
    const int64_t offset = key - document.shift() - query;
    const Band band = {offset - a.right, offset + a.left};
    tile.masked = band.low + keys - 1 > 0 || band.high < queries - 1;
    if (tile.masked) {
        // As far as any lane reaches, so that 32-bit lanes hold the limits.
        tile.band = {std::max<int64_t>(band.low, -kDiagonals), std::min(band.high, kDiagonals)};
    }
    return tile;
}

// Biases of all diagonals of a tile for one head; the tile then points to them.
inline void set_diagonal(const Attention& a, const Document& document, int64_t head, float* biases,
                         ScoreTile& tile) {
    const int64_t corner = tile.key - tile.query - document.shift() + kTileKeys - 1;
    const int64_t far = a.buckets.max_distance();
    const int64_t nearest = corner - (kDiagonals - 1);
    if (nearest >= far || corner <= -far) {
        std::fill_n(biases, kDiagonals, a.bias(corner, head));
    } else {
        for (int64_t e = 0; e < kDiagonals; ++e) biases[e] = a.bias(corner - e, head);
    }
    tile.diagonal = biases;
}

// The lanes (queries) that key row k is allowed for.
inline VecI allowed(const ScoreTile& tile, VecI lane, int64_t k) {
    const auto low = static_cast<int32_t>(std::max(k + tile.band.low, -kDiagonals));
    const auto high = static_cast<int32_t>(std::min(k + tile.band.high, kDiagonals));
    return (lane >= low) & (lane <= high);
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
