// What the kernels of backward attention for sm_90a share, attention_backward_queries_sm90.cu for
// d_q and attention_backward_keys_sm90.cu for d_k and d_v. Heads of up to 128 without a bias take
// the second alone, by five products: its blocks add to d_q in memory, in turns
// (attention_query_sums.cuh). For the others both kernels own what they write, no sum passes
// through memory, and the five products become seven.
//
// In both one warpgroup fetches, by tensor copies, and two have 64 owned rows each: they take
// scores and gradients of weights from products of shared memory, turn these into weights and
// gradients of scores in registers, and multiply them from there. While one does that, the other's
// products run. Sources: Dao 2023, arXiv 2307.08691 (FlashAttention-2), algorithm 2; PTX ISA for
// the layouts.
#pragma once

#include "cuda/attention.h"
#include "cuda/attention_backward.cuh"
#include "cuda/attention_sm90.cuh"
#include "cuda/tile/fence.cuh"
#include "cuda/tile/matrix.cuh"
#include "cuda/tile/named_barrier.cuh"
#include "cuda/tile/opaque.cuh"
#include "cuda/tile/registers.cuh"

namespace caravan {
namespace cuda {
namespace sm90 {

// What is in a block of either kernel. Owned rows: those whose gradients the block computes, by
// warpgroups, [groups][panels][64][128 bytes]; passed rows: of a tile that it goes over. Each in
// two widths, that of queries and keys and that of values and d_out.
template <int kWidth_, int kValueWidth_, int kPassed_, int kStages_, Part kPart = Part::kBoth>
struct BackwardShape {
    static constexpr int kWidth = kWidth_, kValueWidth = kValueWidth_;
    static constexpr int kPassed = kPassed_, kStages = kStages_;
    static constexpr bool kOfKeys = kPart != Part::kValues, kOfValues = kPart != Part::kKeys;
    static constexpr bool kOfQueries = kPart == Part::kAll;
    static constexpr int kGroups = 2, kOwned = kGroups * 64, kConsumers = kGroups * kGroup;
    static constexpr int kThreads = kConsumers + kGroup;
    static constexpr Sm90Registers kRegisters =
        attention_sm90_registers(kOfQueries ? AttentionPass::kAll : AttentionPass::kQueries,
                                 attention_widths(kWidth, kValueWidth));
    static constexpr int kProducerRegisters = kRegisters.producer;
    static constexpr int kConsumerRegisters = kRegisters.consumer;
    static_assert(kGroup * kProducerRegisters + kConsumers * kConsumerRegisters <= 65536,
                  "a multiprocessor has so many registers");
    static constexpr int kOwnedBytes = kOwned * kWidth * 2;
    static constexpr int kOwnedValueBytes = kOfKeys ? kOwned * kValueWidth * 2 : 0;
    static constexpr int kPassedBytes = kPassed * kWidth * 2;
    static constexpr int kPassedValueBytes = kPassed * kValueWidth * 2;
    static constexpr int kStageBytes = kPassedBytes + kPassedValueBytes;
    // Gradients of scores [panels of 64 queries][owned][128 bytes], swizzled, a stage while it is
    // multiplied and one to write; each warpgroup's part of d_q [64][64] float32.
    static constexpr int kScoreStages = 2, kScoreBytes = kOfQueries ? kOwned * kPassed * 2 : 0;
    static constexpr int kPartBytes = kOfQueries ? 64 * kSumColumns * 4 : 0;
    static constexpr int kPanels = kWidth / kSumColumns;
    static_assert(!kOfQueries || (kPassed % 64 == 0 && kPassed / 64 * kPanels == kGroups),
                  "a part for each warpgroup");
    static_assert(!kOfQueries || (kGroups == kCudaAddedParts && kPassed >= kCudaAddedRows),
                  "the workspace has so many turns");
    static constexpr int kBytes = kOwnedBytes + kOwnedValueBytes + kStages * kStageBytes +
                                  kScoreStages * kScoreBytes + kGroups * kPartBytes;
    static_assert(kPassedBytes % 1024 == 0 && kPassedValueBytes % 1024 == 0,
                  "tiles begin with the pattern");
    static_assert(kOfKeys || (kOfValues && kValueWidth <= kWidth), "staged where the keys were");
    // Biases of a stage's tile and their gradient; beside sums of 256 columns there is no room.
    static constexpr bool kBiased = kWidth <= 192 && !kOfQueries;
    using Biases = BiasTile<kOwned, kPassed>;
    // In pieces of columns where tiles leave no room for more.
    using BiasSums =
        tensor::BiasSums<kOwned, kPassed, kWidth == 128 && kPassed == 96 ? 32 : kPassed>;
};

// Where a block's owned rows are, and what it passes.
struct Owner {
    int row, rows;    // first of all rows, and how many
    int position;     // of its first row among the document's passed rows
    int first, rest;  // the document's passed rows: the first of all, and how many
    int from, to;     // those that it goes over, from a tile's border on
    int begin;        // its first row in the document
    int slot;         // of the document's first passed tile, counted over all (find_tile)
};

// Behind the tiles in shared memory.
template <typename S>
struct Control {
    Owner owner;
    Mbarrier owned;
    Mbarrier arrived[S::kStages];  // tiles of passed rows, with the statistics of queries
    Mbarrier free[S::kStages];     // have been read by all consumer warps
    int single[S::kStages];        // of the biases, see BiasTile
    int number;                    // of the block among those that take turns
    Mbarrier scored[S::kScoreStages], spent[S::kScoreStages];  // gradients of scores: there, read
    Mbarrier summed[S::kGroups], added[S::kGroups];            // parts of d_q: there, read
};

// Bytes behind them: of the kernel of d_q biases with their buckets, the sums by bucket of each
// warp, and what they are made in; of that of d_k and d_v statistics and biases.
template <typename S>
constexpr int64_t query_bytes(int64_t buckets) {
    constexpr int kWarps = S::kConsumers / tile::kWarp;
    if (buckets == 0) return 0;
    return S::kStages * S::Biases::bytes(true) + kWarps * (buckets * 4 + S::BiasSums::kSkewedBytes);
}
template <typename S>
constexpr int64_t key_bytes(bool biased) {
    return int64_t{sizeof(float)} * S::kStages * 2 * S::kPassed +
           (biased ? S::kStages * S::Biases::bytes(false) : 0);
}

#if CARAVAN_SM90A

template <typename S>
struct Memory {
    unsigned char *owned, *owned_values, *stages, *score_stages, *parts;
    Control<S>* control;
    float* statistics;  // [stages][2][passed]: bases of weights and deltas of queries; not for d_q

    __device__ __forceinline__ explicit Memory(unsigned char* from)
        : owned(from),
          owned_values(from + S::kOwnedBytes),
          stages(owned_values + S::kOwnedValueBytes),
          score_stages(stages + S::kStages * S::kStageBytes),
          parts(score_stages + S::kScoreStages * S::kScoreBytes),
          control(reinterpret_cast<Control<S>*>(from + S::kBytes)),
          statistics(reinterpret_cast<float*>(control + 1)) {}

    __device__ __forceinline__ unsigned char* passed(int stage) const {
        return stages + stage * S::kStageBytes;
    }
    __device__ __forceinline__ unsigned char* passed_values(int stage) const {
        return passed(stage) + S::kPassedBytes;
    }
    // Of keys that are owned and queries that pass.
    __device__ __forceinline__ typename S::Biases biases(int stage) const {
        auto* const all =
            reinterpret_cast<unsigned char*>(statistics + S::kStages * 2 * S::kPassed);
        return S::Biases::in(all + stage * S::Biases::bytes(false), false);
    }
    // Of queries that are owned and keys that pass.
    __device__ __forceinline__ typename S::Biases query_biases(int stage) const {
        auto* const all = reinterpret_cast<unsigned char*>(control + 1);
        return S::Biases::in(all + stage * S::Biases::bytes(true), true);
    }
    // Of all consumer warps.
    __device__ __forceinline__ float* bucket_sums() const {
        return reinterpret_cast<float*>(reinterpret_cast<unsigned char*>(control + 1) +
                                        S::kStages * S::Biases::bytes(true));
    }
    // Of one of them.
    __device__ __forceinline__ typename S::BiasSums bias_sums(int buckets, int warp) const {
        float* const all = bucket_sums();
        constexpr int kWarps = S::kConsumers / tile::kWarp;
        return {all + warp * buckets,
                all + kWarps * buckets + warp * (S::BiasSums::kSkewedBytes / 4)};
    }
};

template <typename S>
__device__ __forceinline__ void begin(const Memory<S>& memory, const Owner& owner,
                                      uint32_t arrivals) {
    auto* const control = memory.control;
    control->owner = owner;
    tile::mbarrier_init(&control->owned, 1);
    for (int stage = 0; stage < S::kStages; ++stage) {
        tile::mbarrier_init(control->arrived + stage, arrivals);
        tile::mbarrier_init(control->free + stage, S::kConsumers / tile::kWarp);
    }
    for (int stage = 0; S::kOfQueries && stage < S::kScoreStages; ++stage) {
        tile::mbarrier_init(control->scored + stage, S::kConsumers / tile::kWarp);
        tile::mbarrier_init(control->spent + stage, S::kConsumers / tile::kWarp);
    }
    for (int group = 0; S::kOfQueries && group < S::kGroups; ++group) {
        tile::mbarrier_init(control->summed + group, kGroup / tile::kWarp);
        tile::mbarrier_init(control->added + group, 1);
    }
    tile::mbarrier_init_fence();
}

__device__ __forceinline__ bool sees(const Owner& owner) { return owner.from < owner.to; }

// One thread.
template <typename S>
__device__ __forceinline__ void load_owned(const Memory<S>& memory, const Owner& owner,
                                           const tile::TensorMap& map,
                                           const tile::TensorMap& value_map, int head) {
    auto* const control = memory.control;
    tile::mbarrier_arrive_expect(&control->owned, S::kOwnedBytes + S::kOwnedValueBytes);
    for (int group = 0; group < S::kGroups; ++group) {
        const int row = owner.row + group * 64;
        load_rows<S::kWidth>(memory.owned + group * (S::kOwnedBytes / S::kGroups), 64, map, head,
                             row, &control->owned);
        if (S::kOwnedValueBytes == 0) continue;
        load_rows<S::kValueWidth>(memory.owned_values + group * (S::kOwnedValueBytes / S::kGroups),
                                  64, value_map, head, row, &control->owned);
    }
}

// Number i of the tiles, from the document's row `at` on, once what was there has been read. One
// thread.
template <typename S>
__device__ __forceinline__ void load_passed(const Memory<S>& memory, const Owner& owner,
                                            const tile::TensorMap& map,
                                            const tile::TensorMap& value_map, int head, int i,
                                            int at) {
    const Turn<S::kStages> turn(i);
    Mbarrier* const arrived = memory.control->arrived + turn.stage;
    tile::mbarrier_wait(memory.control->free + turn.stage, turn.parity ^ 1);
    tile::mbarrier_arrive_expect(arrived, S::kStageBytes);
    load_rows<S::kWidth>(memory.passed(turn.stage), S::kPassed, map, head, owner.first + at,
                         arrived);
    load_rows<S::kValueWidth>(memory.passed_values(turn.stage), S::kPassed, value_map, head,
                              owner.first + at, arrived);
}

// Makes 0 of a warpgroup's owned rows from `valid` on, which are another document's or nobody's.
template <int kWidth>
__device__ __forceinline__ void clear_owned(unsigned char* owned, int valid) {
    const tile::Vector<uint32_t, 4> zeros = {};
    const int chunks = (64 - valid) * (kLine / 16);
    for (int i = threadIdx.x % kGroup; i < chunks * (kWidth / kPanel); i += kGroup) {
        tile::store(reinterpret_cast<uint32_t*>(owned + (i / chunks * 64 + valid) * kLine +
                                                i % chunks * 16),
                    zeros);
    }
}

// Makes 0 of a stage's rows from `valid` on, which belong to another document or to none: what is
// multiplied with them is 0, but what they hold may not be a number. All consumers call.
template <typename S>
__device__ __forceinline__ void clear_passed(unsigned char* stage, int valid) {
    const tile::Vector<uint32_t, 4> zeros = {};
    const int chunks = (S::kPassed - valid) * (kLine / 16);
    constexpr int kPanels = (S::kWidth + S::kValueWidth) / kPanel;
    for (int i = threadIdx.x - kGroup; i < chunks * kPanels; i += S::kConsumers) {
        tile::store(reinterpret_cast<uint32_t*>(stage + (i / chunks * S::kPassed + valid) * kLine +
                                                i % chunks * 16),
                    zeros);
    }
    tile::fence_async_shared();
    tile::barrier_sync(1, S::kConsumers);
}

// Starts sums = owned passed^T over kWidth, 64 rows by a stage's.
template <typename S, int kWidth>
__device__ __forceinline__ void start_scores(float (&sums)[1][S::kPassed / 8][4],
                                             const unsigned char* owned,
                                             const unsigned char* passed) {
    const uint64_t a = tile::wgmma_k_major(owned), b = tile::wgmma_k_major(passed);
#pragma unroll
    for (int step = 0; step < kWidth / 16; ++step) {
        const int panel = step / 4, inside = step % 4 * 32;
        tile::wgmma<S::kPassed, Major::kK, Major::kK>(
            flat(sums), tile::wgmma_advance(a, panel * 64 * kLine + inside),
            tile::wgmma_advance(b, panel * S::kPassed * kLine + inside), step > 0);
    }
}

// Starts sums += left passed, kWidth wide.
template <typename S, int kWidth>
__device__ __forceinline__ void start_sums(float (&sums)[1][kWidth / 8][4],
                                           const uint32_t (&left)[S::kPassed / 16][1][4],
                                           const unsigned char* passed) {
    const uint64_t b = tile::wgmma_mn_major(passed, S::kPassed * kLine);
#pragma unroll
    for (int step = 0; step < S::kPassed / 16; ++step) {
        tile::wgmma<kWidth, Major::kMN>(flat(sums), left[step][0],
                                        tile::wgmma_advance(b, step * 16 * kLine), true);
    }
}

template <int kSteps, int kN>
__device__ __forceinline__ void round_left(uint32_t (&left)[kSteps][1][4],
                                           const float (&sums)[1][kN][4]) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) to_left(left[step], sums, step);
}

__device__ __forceinline__ void release(Mbarrier* barrier) {
    if (lane() == 0) tile::mbarrier_arrive(barrier);
}

// Rounds a warpgroup's sums, times factor, and stores them through its owned tile, once all of its
// warps have read that.
template <typename S, int kWidth>
__device__ __forceinline__ void store_owned(const float (&sums)[1][kWidth / 8][4],
                                            unsigned char* owned, const Heads<bf16>& to,
                                            const Owner& owner, int head, int group, int width,
                                            float factor) {
    const int warp_row = group * 64 + warp() % 4 * 16;
    const Tile<kWidth> stage = {owned + warp() % 4 * 16 * kWidth * 2};
    store_rows(sums, stage, to.at(owner.row + warp_row, head), to.row, owner.rows - warp_row, width,
               [&](int, int) { return factor; });
}

#endif  // CARAVAN_SM90A

inline tile::Config config(int64_t slots, int64_t heads, int threads, int64_t bytes) {
    return {dim3(static_cast<unsigned>(slots), static_cast<unsigned>(heads)),
            dim3(static_cast<unsigned>(threads)), bytes, 1};
}

inline void refuse_maps(tile::Launcher& launcher) {
    launcher.refuse("attention_backward: needs a driver that makes tensor maps");
}

template <AttentionPass kPass, AttentionWidths kWidths>
inline constexpr AttentionTiles kTilesOf = attention_sm90_tiles(kPass, kWidths);

template <AttentionPass kPass, AttentionWidths kWidths, Part kPart = Part::kBoth>
using ShapeOf =
    BackwardShape<kTilesOf<kPass, kWidths>.width, kTilesOf<kPass, kWidths>.value_width,
                  kTilesOf<kPass, kWidths>.passed, kTilesOf<kPass, kWidths>.stages, kPart>;

}  // namespace sm90
}  // namespace cuda
}  // namespace caravan
