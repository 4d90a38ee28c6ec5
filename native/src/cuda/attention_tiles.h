// The tiles of every kernel of attention on tensor cores, by its route and widths: constants, so
// that what a device must have for them is tested on the CPU.
#pragma once

#include <type_traits>

#include "cuda/attention_config.h"

namespace caravan {
namespace cuda {

// Gradients of queries, of keys and values together, of either alone, and of all three.
enum class AttentionPass { kForward, kQueries, kKeysAndValues, kKeys, kValues, kAll };

// What is in a block: owned rows, whose results it computes, and passed ones, which it goes over.
struct AttentionTiles {
    int width, value_width;  // of heads, filled up
    int warps;               // that multiply
    int owned;               // rows; of the decoding kernel those of a tile
    int passed;              // rows of a tile
    int stages;              // tiles of passed rows in shared memory; when decoding, of each warp
    int owned_stages;        // sets of owned rows there
    int blocks;              // in a multiprocessor
};

constexpr AttentionTiles attention_mma_tiles(AttentionPass pass, AttentionWidths widths) {
    // Within the 99 KiB of sm_86, sm_89 and sm_120.
    const bool forward = pass == AttentionPass::kForward;
    switch (widths) {
        case AttentionWidths::k64:
            if (forward) return {64, 64, 4, 128, 64, 1, 1, 2};
            return {64, 64, 8, 128, 64, 2, 1, 1};
        case AttentionWidths::k128:
            if (forward) return {128, 128, 4, 128, 64, 1, 1, 2};
            return {128, 128, 8, 128, pass == AttentionPass::kQueries ? 64 : 32, 2, 1, 1};
        case AttentionWidths::k192:
            if (forward) return {192, 128, 8, 128, 64, 1, 1, 1};
            return {192, 128, 4, 64, 32, 2, 1, 1};
        case AttentionWidths::k256:
            if (forward) return {256, 256, 8, 128, 32, 1, 1, 1};
            return {256, 256, 4, 64, 32, 1, 1, 1};
    }
    return {};
}

constexpr AttentionTiles attention_sm90_tiles(AttentionPass pass, AttentionWidths widths) {
    const bool forward = pass == AttentionPass::kForward, queries = pass == AttentionPass::kQueries;
    switch (widths) {
        case AttentionWidths::k64:
            if (forward) return {64, 64, 12, 192, 128, 2, 2, 1};
            if (pass == AttentionPass::kAll) return {64, 64, 8, 128, 128, 2, 1, 1};
            return {64, 64, 8, 128, queries ? 128 : 96, queries ? 3 : 4, 1, 1};
        case AttentionWidths::k128:
            if (forward) return {128, 128, 8, 128, 128, 2, 2, 1};
            if (pass == AttentionPass::kAll) return {128, 128, 8, 128, 64, 3, 1, 1};
            return {128, 128, 8, 128, queries ? 96 : 64, queries ? 3 : 4, 1, 1};
        case AttentionWidths::k192:
            if (forward) return {192, 128, 8, 128, 128, 2, 1, 1};
            return {192, 128, 8, 128, queries ? 80 : 32, queries ? 2 : 4, 1, 1};
        case AttentionWidths::k256:
            if (forward) return {256, 256, 8, 128, 80, 2, 1, 1};
            return {256, 256, 8, 128, pass == AttentionPass::kValues ? 64 : 48, 2, 1, 1};
    }
    return {};
}

// Forward only: a backward pass of few queries is no other than one of many.
constexpr AttentionTiles attention_decode_tiles(AttentionWidths widths) {
    constexpr int kRows = static_cast<int>(kCudaDecodeRows), kKeys = 16, kStages = 2;
    switch (widths) {
        case AttentionWidths::k64:
            return {64, 64, 4, kRows, kKeys, kStages, 1, 1};
        case AttentionWidths::k128:
            return {128, 128, 4, kRows, kKeys, kStages, 1, 1};
        case AttentionWidths::k192:
            return {192, 128, 4, kRows, kKeys, kStages, 1, 1};
        case AttentionWidths::k256:
            return {256, 256, 2, kRows, kKeys, kStages, 1, 1};
    }
    return {};
}

// Registers a thread of a warpgroup of sm_90a once those that copy have given theirs away.
struct Sm90Registers {
    int producer, consumer;
};

constexpr Sm90Registers attention_sm90_registers(AttentionPass pass, AttentionWidths widths) {
    // Without biases. With fewer than 240 sums of d_q are not kept apart from those that run.
    if (pass == AttentionPass::kAll) return {24, 240};
    // With fewer for those that copy, find tiles and lay out biases something spills.
    return attention_sm90_tiles(pass, widths).warps == 12 ? Sm90Registers{32, 160}
                                                          : Sm90Registers{40, 232};
}

// The tiles of `passed` queries that a tile of keys goes over: each that begins in [from, to).
struct AttentionQueries {
    int from, to;  // rows of the document; from a tile's border on
};

// Of keys whose first has the position of query `position` and that are `rows` many; a query sees
// as many keys behind it and ahead as left and right say.
CARAVAN_HOST_DEVICE constexpr AttentionQueries attention_queries(int position, int rows, int left,
                                                                 int right, int queries,
                                                                 int passed) {
    const int first = position - right, end = position + rows + left;
    return {first > 0 ? first / passed * passed : 0, end < queries ? end : queries};
}

// Tiles of `owned` keys add to the gradients of a tile of queries in ascending order: how many do
// so before the one that begins at key `begin`, whose position is that of query `position`. As all
// go over the queries from the last to the first, and those of earlier keys are begun first, each
// finds the ones before it a tile ahead of it. query: the first of the tile.
CARAVAN_HOST_DEVICE constexpr int attention_turn(int begin, int position, int left, int query,
                                                 int owned) {
    const int first_seen = query + (begin - position) - left;
    return begin / owned - (first_seen > 0 ? first_seen / owned : 0);
}

// Calls body(std::integral_constant<AttentionWidths, widths>()).
template <typename Body>
void with_widths(AttentionWidths widths, const Body& body) {
    switch (widths) {
        case AttentionWidths::k64:
            return body(std::integral_constant<AttentionWidths, AttentionWidths::k64>());
        case AttentionWidths::k128:
            return body(std::integral_constant<AttentionWidths, AttentionWidths::k128>());
        case AttentionWidths::k192:
            return body(std::integral_constant<AttentionWidths, AttentionWidths::k192>());
        case AttentionWidths::k256:
            return body(std::integral_constant<AttentionWidths, AttentionWidths::k256>());
    }
}

}  // namespace cuda
}  // namespace caravan
