// The fifth product of backward attention on sm_90a, d_q += d_scores keys, where a block owns keys
// and every tile of queries gets a share from many blocks.
//
// Gradients of scores pass through shared memory, as each of the two warpgroups needs those of both
// for its part of d_q: 64 queries by 64 columns. So that neither waits for the other, a part is
// multiplied one tile behind the scores. A part goes to shared memory and from there to memory by a
// bulk copy that adds, which a warp for each warpgroup starts. The copies to a part take turns, in
// ascending order of keys (attention_turn): float32 sums then have one order, whatever the order of
// blocks. A block waits for blocks of earlier keys alone, and takes its keys when it begins
// (tile::counter_take), so those have begun.
#pragma once

#include "cuda/attention_backward_sm90.cuh"
#include "cuda/tile/counter.cuh"

namespace caravan {
namespace cuda {
namespace sm90 {

#if CARAVAN_SM90A

// The tile of keys and key/value head that a block works on, of gridDim.x and .y, counted by tiles.
// All threads call.
template <typename S>
__device__ __forceinline__ int take_number(const Backward& a, Control<S>* control) {
    if (a.any_order) return static_cast<int>(blockIdx.y * gridDim.x + blockIdx.x);
    if (threadIdx.x == 0) control->number = static_cast<int>(tile::counter_take(a.next_tile));
    __syncthreads();
    return control->number;
}

// Of a warpgroup's part of a tile: the first of its 64 queries, and its panel of 64 columns.
template <typename S>
__device__ __forceinline__ int part_row(int group) {
    return group / S::kPanels * 64;
}
template <typename S>
__device__ __forceinline__ int part_panel(int group) {
    return group % S::kPanels;
}

// Makes 0 of the gradients of a warp's rows from `valid` on, which are no keys of the document.
template <int kN>
__device__ __forceinline__ void clear_rows(float (&gradients)[1][kN][4], int valid) {
#pragma unroll
    for (int n = 0; n < kN; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            if (e / 2 * 8 + lane() / 4 >= valid) gradients[0][n][e] = 0;
        }
    }
}

// Gradients of scores pass through a ring: number 0 is zeros, which the first tile finds in place of
// those of one before it, and number i + 1 is of number i of the tiles.

// Stores a warp's rounded gradients of scores, rows of keys, as number i.
template <typename S>
__device__ __forceinline__ void store_scores(const Memory<S>& memory, int i, int warp_row,
                                             const uint32_t (&rounded)[S::kPassed / 16][1][4]) {
    const Turn<S::kScoreStages> turn(i);
    unsigned char* const to = memory.score_stages + turn.stage * S::kScoreBytes;
    const int at = Tile<kPanel>::lane_down(tile::opaque(warp_row));
    tile::mbarrier_wait(memory.control->spent + turn.stage, turn.parity ^ 1);
#pragma unroll
    for (int step = 0; step < S::kPassed / 16; ++step) {
        const Tile<kPanel> panel = {to + step / 4 * S::kOwned * kLine};
        tile::store_matrices(panel.at_lane(at, 0, step % 4 * 2), rounded[step][0]);
    }
    tile::fence_async_shared();
    __syncwarp();
    release(memory.control->scored + turn.stage);
}

// Stores number 0. All consumers call.
template <typename S>
__device__ __forceinline__ void clear_scores(const Memory<S>& memory) {
    const tile::Vector<uint32_t, 4> zeros = {};
    for (int i = threadIdx.x - kGroup; i < S::kScoreBytes / 16; i += S::kConsumers) {
        tile::store(reinterpret_cast<uint32_t*>(memory.score_stages + i * 16), zeros);
    }
    tile::fence_async_shared();
    __syncwarp();
    release(memory.control->scored);
}

// Until all consumers have stored number i.
template <typename S>
__device__ __forceinline__ void wait_scores(const Memory<S>& memory, int i) {
    const Turn<S::kScoreStages> turn(i);
    tile::mbarrier_wait(memory.control->scored + turn.stage, turn.parity);
}

// Starts sums = gradients of scores^T keys, a warpgroup's part, of number i.
template <typename S>
__device__ __forceinline__ void start_query_sums(float (&sums)[1][kSumColumns / 8][4],
                                                 const Memory<S>& memory, int i, int group) {
    const int stage = Turn<S::kScoreStages>(i).stage;
    const uint64_t a = tile::wgmma_mn_major(
        memory.score_stages + stage * S::kScoreBytes + part_row<S>(group) / 64 * S::kOwned * kLine,
        S::kOwned * kLine);
    const uint64_t b =
        tile::wgmma_mn_major(memory.owned + part_panel<S>(group) * 64 * kLine, 64 * kLine);
#pragma unroll
    for (int step = 0; step < S::kOwned / 16; ++step) {
        tile::wgmma<kSumColumns, Major::kMN, Major::kMN>(
            flat(sums), tile::wgmma_advance(a, step * 16 * kLine),
            tile::wgmma_advance(b, step / 4 * (S::kOwnedBytes / S::kGroups) + step % 4 * 16 * kLine),
            step > 0);
    }
}

// Number i of the gradients of scores has been multiplied.
template <typename S>
__device__ __forceinline__ void release_scores(const Memory<S>& memory, int i) {
    release(memory.control->spent + Turn<S::kScoreStages>(i).stage);
}

// Hands a warpgroup's part of number i of the tiles, whose first query is row `row` of all, to the
// warp that adds it.
template <typename S>
__device__ __forceinline__ void store_query_sums(const float (&sums)[1][kSumColumns / 8][4],
                                                 const Memory<S>& memory, int i, int row,
                                                 int group) {
    auto* const control = memory.control;
    const int thread = tile::opaque(static_cast<int>(threadIdx.x % kGroup));
    const int at = thread / 32 * 16 + thread % 32 / 4;
    // Of rows 8 apart the same.
    const int mixed = sum_chunk(row + part_row<S>(group) + at, thread % 4 / 2) * 4 + thread % 2 * 2;
    float* const to =
        reinterpret_cast<float*>(memory.parts + group * S::kPartBytes) + at * kSumColumns;
    tile::mbarrier_wait(control->added + group, static_cast<uint32_t>(i % 2) ^ 1);
#pragma unroll
    for (int n = 0; n < kSumColumns / 8; ++n) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const tile::Vector<float, 2> pair = {
                {sums[0][n][half * 2], sums[0][n][half * 2 + 1]}};
            tile::store(to + half * 8 * kSumColumns + ((n * 8) ^ mixed), pair);
        }
    }
    tile::fence_async_shared();
    __syncwarp();
    release(control->summed + group);
}

// One thread for each warpgroup: adds its part of number i of the tiles, whose first query is
// `query` of the document, to those of a head.
template <typename S>
__device__ __forceinline__ void add_query_sums(const Backward& a, const Memory<S>& memory,
                                               const Owner& owner, int i, int head, int query,
                                               int group) {
    // Few registers: numbers of rows and turns fit 32 bits.
    tile::mbarrier_wait(memory.control->summed + group, static_cast<uint32_t>(i % 2));
    const int first = query + part_row<S>(group), rows = min(owner.rest - first, 64);
    uint32_t* const turns =
        a.turns + static_cast<uint32_t>(((owner.slot + query / S::kPassed) * a.rules.heads + head) *
                                            S::kGroups + group);
    if (rows > 0) {
        if (!a.any_order) {
            const int turn = attention_turn(owner.begin, owner.position,
                                            static_cast<int>(a.rules.left), query, S::kOwned);
            tile::counter_wait(turns, static_cast<uint32_t>(turn));
            tile::fence_async_global();
        }
        const uint64_t row = uint64_t{static_cast<uint32_t>(head * S::kPanels +
                                                            part_panel<S>(group))} *
                                 static_cast<uint32_t>(a.rules.query_rows) +
                             static_cast<uint32_t>(owner.first + first);
        tile::tma_add_out(a.query_sums + row * kSumColumns,
                          reinterpret_cast<const float*>(memory.parts + group * S::kPartBytes),
                          static_cast<uint32_t>(rows * kSumColumns * 4));
        tile::tma_commit();
        tile::tma_wait_read<0>();
    }
    tile::mbarrier_arrive(memory.control->added + group);
    if (rows > 0 && !a.any_order) {
        tile::tma_wait<0>();
        tile::fence_async_global();
        tile::counter_add(turns);
    }
}

#endif  // CARAVAN_SM90A

}  // namespace sm90
}  // namespace cuda
}  // namespace caravan
