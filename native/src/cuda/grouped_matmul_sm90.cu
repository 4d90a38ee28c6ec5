// The grouped products on sm_90a (grouped_matmul_config.h). A producer warpgroup keeps a ring of
// tiles full: weights by tensor copies, shared by the blocks of a cluster, rows of x by tensor
// copies where they lie in order and by cp.async where they are gathered. Two consumer warpgroups
// multiply by wgmma and apply the activation, or its gradient, to the sums in registers. Blocks
// stay for one tile after the other, which they find in the offsets in device memory; the ring runs
// on across tiles.
#include "cuda/grouped_matmul.cuh"
#include "cuda/grouped_matmul_config.h"
#include "cuda/tile/cluster.cuh"
#include "cuda/tile/copy_async.cuh"
#include "cuda/tile/fence.cuh"
#include "cuda/tile/mbarrier.cuh"
#include "cuda/tile/registers.cuh"
#include "cuda/tile/shared.cuh"
#include "cuda/tile/tma.cuh"
#include "cuda/tile/wgmma.cuh"
#include "cuda/warp_lines.cuh"
#include "cuda/wgmma_ring.cuh"

namespace caravan {
namespace cuda {
namespace {

using tile::bf16;
using tile::TensorMap;

constexpr int kHalf = kGroupedColumns / 2;

#if CARAVAN_SM90A
using tile::Major;
using tile::Mbarrier;

constexpr int kStageBytes = kWgmmaStageBytes<kGroupedColumns>;
constexpr int kRowBytes = kWgmmaRows * kWgmmaLine;  // of a stage: the rows of x
constexpr unsigned kAllLanes = 0xffffffffu;

// One warp: first[e] becomes how many clusters' worth of rows the experts before e have.
__device__ __forceinline__ void count_clusters(const Grouped& g, int32_t* first) {
    const int lane = threadIdx.x % tile::kWarp;
    const int32_t step = kWgmmaRows * static_cast<int32_t>(tile::cluster_size());
    int32_t before = 0;
    for (int32_t base = 0; base < g.experts; base += tile::kWarp) {
        const int32_t e = base + lane;
        const int32_t rows = e < g.experts ? max(rows_of(g.offsets, e, g.rows).rows, 0) : 0;
        const int32_t own = (rows + step - 1) / step;
        int32_t sum = own;
#pragma unroll
        for (int distance = 1; distance < tile::kWarp; distance *= 2) {
            const int32_t other = __shfl_up_sync(kAllLanes, sum, distance);
            if (lane >= distance) sum += other;
        }
        if (e < g.experts) first[e] = before + sum - own;
        before += __shfl_sync(kAllLanes, sum, tile::kWarp - 1);
    }
    if (lane == 0) first[g.experts] = before;
}

// Calls body(rows of this block, number of the tile's columns) for each tile that the cluster
// takes. An expert's tiles are walked in groups of rows, so that those which run at one time share
// rows and weights in the second-level cache. kAllColumns: a cluster takes all columns of its rows.
template <bool kAllColumns, typename Body>
__device__ __forceinline__ void each_tile(const Grouped& g, const int32_t* first, Body&& body) {
    constexpr int32_t kGroup = 8;
    const int32_t columns = g.gated && !kAllColumns ? kHalf : kGroupedColumns;
    const int32_t end = g.gated && !kAllColumns ? g.units : g.width;
    const int32_t across = (end + columns - 1) / columns;
    const int32_t per_row = kAllColumns ? 1 : across;
    const auto cluster = static_cast<int32_t>(tile::cluster_size());
    const int32_t clusters = static_cast<int32_t>(gridDim.x) / cluster;
    const int32_t all = first[g.experts] * per_row;
    for (int32_t unit = static_cast<int32_t>(blockIdx.x) / cluster; unit < all; unit += clusters) {
        int32_t low = 0, high = g.experts - 1;  // the expert is in [low, high]
        while (low < high) {
            const int32_t middle = (low + high + 1) / 2;
            if (first[middle] * per_row <= unit) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        const int32_t down = first[low + 1] - first[low];
        const int32_t inside = unit - first[low] * per_row;
        const int32_t group = inside / (kGroup * per_row) * kGroup;
        const int32_t height = min(kGroup, down - group);
        const int32_t place = inside % (kGroup * per_row);
        const int32_t begin =
            ((group + place % height) * cluster + static_cast<int32_t>(tile::cluster_rank())) *
            kWgmmaRows;
        ExpertRows rows = rows_of(g.offsets, low, g.rows);
        rows.first += begin;
        rows.rows = min(rows.rows - begin, kWgmmaRows);
        if constexpr (kAllColumns) {
            for (int32_t column = 0; column < across; ++column) body(rows, column);
        } else {
            body(rows, place / height);
        }
    }
}

// Where the two halves of a tile's columns begin.
struct Halves {
    int32_t low, high;
};

template <bool kAllColumns>
__device__ __forceinline__ Halves halves(const Grouped& g, int32_t column) {
    if (g.gated && !kAllColumns) return {column * kHalf, g.units + column * kHalf};
    return {column * kGroupedColumns, column * kGroupedColumns + kHalf};
}

// Rows of x that a producer thread gathers: sixteen apart, the same 16 bytes of each line.
struct Gathered {
    static constexpr int kRows = kWgmmaRows * (kWgmmaLine / 16) / kWgmmaGroup;
    static constexpr int kStep = kWgmmaRows / kRows;
    int32_t source[kRows];

    __device__ __forceinline__ Gathered(const Grouped& g, const ExpertRows& rows) {
        const Gather index = {g.assignments, rows.first, g.choices, g.x_rows};
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
            const int row = static_cast<int>(threadIdx.x) / 8 + i * kStep;
            source[i] = row < rows.rows ? static_cast<int32_t>(index(row)) : -1;
        }
    }

    // Starts the copies of 64 elements from k on. Rows that are none, and what lies beyond the
    // depth, become 0.
    __device__ __forceinline__ void fetch(const Grouped& g, unsigned char* to, int32_t k) const {
        const int line = static_cast<int>(threadIdx.x) / 8, part = threadIdx.x % 8;
        const bf16* const x = static_cast<const bf16*>(g.x);
        const int32_t from = k + part * 8;
        unsigned char* const place =
            to + tile::swizzle_128(static_cast<uint32_t>(line * kWgmmaLine + part * 16));
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
            const bool some = source[i] >= 0 && from < g.depth;
            tile::copy_async_filled<16>(place + i * kStep * kWgmmaLine,
                                        some ? x + source[i] * g.x_stride + from : x,
                                        some ? 16 : 0);
        }
    }
};
static_assert(Gathered::kStep % 8 == 0, "the swizzle is the same for all rows of a thread");

// The producer: one thread, or where rows are gathered a whole warpgroup.
template <bool kAlongK, bool kGathered, bool kAllColumns>
__device__ __forceinline__ void produce(const Grouped& g, const int32_t* first, const Ring& ring,
                                        const TensorMap& x, const TensorMap& w) {
    constexpr int kLag = 2;  // stages whose gathered rows are still on their way
    const int cluster = static_cast<int>(tile::cluster_size());
    const int rank = static_cast<int>(tile::cluster_rank());
    const int32_t steps = (g.depth + kWgmmaDepth - 1) / kWgmmaDepth;
    const auto load_w = [&](unsigned char* to, int across, int down, Mbarrier* full) {
        load_for_all(to, w, across, down, full, cluster);
    };
    const auto load_half = [&](unsigned char* to, int32_t expert, int32_t column, int32_t k,
                               Mbarrier* full) {
        if constexpr (kAlongK) {
            load_w(to, k, expert * g.width + column, full);
        } else {
            load_w(to, column, expert * g.depth + k, full);
            load_w(to + kWgmmaPanelBytes, column + 64, expert * g.depth + k, full);
        }
    };
    Turn<kGroupedStages> turn;
    int pending = 0;
    // The copies of `ago` stages before the next one have landed.
    const auto landed = [&](int ago) {
        tile::fence_async_shared();
        tile::mbarrier_arrive(ring.full + (turn.stage + kGroupedStages - ago) % kGroupedStages);
    };
    each_tile<kAllColumns>(g, first, [&](const ExpertRows& rows, int32_t column) {
        const Halves at = halves<kAllColumns>(g, column);
        const Gathered gathered(g, rows);
        for (int32_t step = 0; step < steps; ++step) {
            const int32_t k = step * kWgmmaDepth;
            unsigned char* const x_tile = ring.stages + turn.stage * kStageBytes;
            unsigned char* const w_tile = x_tile + kRowBytes;
            Mbarrier* const full = ring.full + turn.stage;
            tile::mbarrier_wait(ring.free + turn.stage, turn.parity ^ 1);
            if (threadIdx.x == 0) {
                tile::mbarrier_arrive_expect(full, kStageBytes - (kGathered ? kRowBytes : 0));
                if (cluster == 1 || rank == 0) load_half(w_tile, rows.expert, at.low, k, full);
                if (cluster == 1 || rank == 1) {
                    load_half(w_tile + kHalf * kWgmmaLine, rows.expert, at.high, k, full);
                }
                if (!kGathered) tile::tma_load(x_tile, x, k, rows.first, full);
            }
            turn.next();
            if constexpr (kGathered) {
                gathered.fetch(g, x_tile, k);
                tile::copy_async_commit();
                if (pending == kLag) {
                    tile::copy_async_wait<kLag>();
                    landed(kLag + 1);
                } else {
                    ++pending;
                }
            }
        }
    });
    if constexpr (kGathered) {
        if (pending == 2) {
            tile::copy_async_wait<1>();
            landed(2);
        }
        tile::copy_async_wait<0>();
        if (pending > 0) landed(1);
    }
}

// The product of a tile; all threads of a consumer warpgroup.
template <bool kAlongK>
__device__ __forceinline__ void multiply(float (&sums)[kGroupedColumns / 2], const Ring& ring,
                                         Turn<kGroupedStages>& turn, int32_t steps) {
    constexpr Major kMajor = kAlongK ? Major::kK : Major::kMN;
    const auto cluster = static_cast<int>(tile::cluster_size());
    const int lane = threadIdx.x % tile::kWarp;
    const uint64_t x_tile =
        tile::wgmma_k_major(ring.stages + (threadIdx.x / kWgmmaGroup - 1) * kWgmmaPanelBytes);
    const unsigned char* const columns = ring.stages + kRowBytes;
    const uint64_t w_tile =
        kAlongK ? tile::wgmma_k_major(columns) : tile::wgmma_mn_major(columns, kWgmmaPanelBytes);
    int last = 0;
    for (int32_t step = 0; step < steps; ++step) {
        tile::mbarrier_wait(ring.full + turn.stage, turn.parity);
        const auto at = static_cast<uint32_t>(turn.stage * kStageBytes);
        tile::wgmma_fence();
#pragma unroll
        for (int k = 0; k < kWgmmaDepth; k += 16) {
            tile::wgmma<kGroupedColumns, Major::kK, kMajor>(
                sums, tile::wgmma_advance(x_tile, at + k * 2),
                tile::wgmma_advance(w_tile, at + (kAlongK ? k * 2 : k * kWgmmaLine)), true);
        }
        tile::wgmma_commit();
        // The products before this step's are done: their stage may be filled again.
        tile::wgmma_wait<1>();
        if (step > 0) ring.release(last, lane, cluster);
        last = turn.stage;
        turn.next();
    }
    tile::wgmma_wait<0>(sums);
    if (steps > 0) ring.release(last, lane, cluster);
}

// ------------------------------------------------------------------ from registers to rows

// Calls body(f) with the function of an activation.
template <typename Body>
__device__ __forceinline__ void with_activation(int32_t activation, Body&& body) {
    switch (activation) {
        case CARAVAN_EXPERT_SWIGLU:
        case CARAVAN_EXPERT_SILU:
            return body(Silu());
        case CARAVAN_EXPERT_GEGLU:
        case CARAVAN_EXPERT_GELU:
            return body(Gelu());
        default:
            return body(GeluTanh());
    }
}

// A warp's 16 rows from `row` on: the sums, and what the activation makes of them.
__device__ __forceinline__ void finish(const Grouped& g, const ForwardOut<bf16>& to,
                                       const float (&sums)[kGroupedColumns / 2], int64_t row,
                                       int32_t column, const Lines& lines) {
    const Halves at = halves<false>(g, column);
    const int32_t end = g.gated ? g.units : g.width;
    bf16* const out = to.out + row * to.out_stride;
#pragma unroll
    for (int part = 0; part < 4; ++part) {
        const int32_t inside = part * 64 % kHalf;
        const int32_t begin = (part < 2 ? at.low : at.high) + inside;
        put_columns(lines, out + begin, to.out_stride,
                    g.gated ? end - at.low - inside : end - begin, [&](int j, int half) {
                        const int i = (part * 8 + j) * 4 + half * 2;
                        return tile::pack_bf16(sums[i], sums[i + 1]);
                    });
    }
    if (g.activation == CARAVAN_EXPERT_NONE) return;
    bf16* const act = to.act + row * to.act_stride + at.low;
    with_activation(g.activation, [&](auto f) {
        using F = decltype(f);
#pragma unroll
        for (int part = 0; part < 4; ++part) {
            if (g.gated && part >= 2) continue;
            put_columns(lines, act + part * 64, to.act_stride, end - at.low - part * 64,
                        [&](int j, int half) {
                            const int i = (part * 8 + j) * 4 + half * 2;
                            float low = F::template of<bf16>(sums[i]).value;
                            float high = F::template of<bf16>(sums[i + 1]).value;
                            if (part < 2 && g.gated) {
                                low *= sums[i + kHalf / 2];
                                high *= sums[i + 1 + kHalf / 2];
                            }
                            return tile::pack_bf16(low, high);
                        });
        }
    });
}

// The same in the backward: d_h and the weighted act of a tile's columns; `share` gathers this
// thread's part of <g, act> of its two rows.
__device__ __forceinline__ void finish(const Grouped& g, const BackwardOut<bf16>& to,
                                       const float (&sums)[kGroupedColumns / 2], int64_t row,
                                       int32_t column, const Lines& gates, const Lines& ups,
                                       const float (&weight)[2], float (&share)[2]) {
    const bf16* const h = to.h + row * to.h_stride;
    bf16* const d_h = to.d_h + row * to.d_h_stride;
    bf16* const act = to.act + row * to.act_stride;
    with_activation(g.activation, [&](auto f) {
        using F = decltype(f);
#pragma unroll
        for (int part = 0; part < 4; ++part) {
            const int32_t begin = column * kGroupedColumns + part * 64;
            const int32_t columns = g.units - begin;
            if (columns <= 0) continue;
            if (g.gated) ups.take(h + g.units + begin, to.h_stride, columns);
            gates.take(h + begin, to.h_stride, columns);
            uint32_t acts[16];
#pragma unroll
            for (int j = 0; j < 8; j += 2) {
                uint32_t gate[4], up[4] = {};
                tile::load_matrices(gate, gates.pairs(j));
                if (g.gated) tile::load_matrices(up, ups.pairs(j));
#pragma unroll
                for (int q = 0; q < 4; ++q) {
                    const int half = q % 2, i = (part * 8 + j + q / 2) * 4 + half * 2;
                    float to_gate[2], to_up[2], value[2];
#pragma unroll
                    for (int e = 0; e < 2; ++e) {
                        const float slope = sums[i + e], by_weight = slope * weight[half];
                        // In float32, as d_weights is.
                        const Activation<float> a = F::template of<float>(
                            e == 0 ? tile::unpack_low(gate[q]) : tile::unpack_high(gate[q]));
                        value[e] = a.value;
                        to_gate[e] = by_weight * a.derivative;
                        to_up[e] = by_weight * a.value;
                        if (g.gated) {
                            const float other =
                                e == 0 ? tile::unpack_low(up[q]) : tile::unpack_high(up[q]);
                            value[e] *= other;
                            to_gate[e] *= other;
                        }
                        share[half] += slope * value[e];
                        value[e] *= weight[half];
                    }
                    gate[q] = tile::pack_bf16(to_gate[0], to_gate[1]);
                    up[q] = tile::pack_bf16(to_up[0], to_up[1]);
                    acts[j * 2 + q] = tile::pack_bf16(value[0], value[1]);
                }
                tile::store_matrices(gates.pairs(j), gate);
                if (g.gated) tile::store_matrices(ups.pairs(j), up);
            }
            gates.put(d_h + begin, to.d_h_stride, columns);
            if (g.gated) ups.put(d_h + g.units + begin, to.d_h_stride, columns);
            put_columns(gates, act + begin, to.act_stride, columns,
                        [&](int j, int half) { return acts[j * 2 + half]; });
        }
    });
}

template <bool kAlongK>
__device__ __forceinline__ void consume(const Grouped& g, const ForwardOut<bf16>& to,
                                        const int32_t* first, const Ring& ring,
                                        unsigned char* buffers) {
    const int warp = (static_cast<int>(threadIdx.x) - kWgmmaGroup) / tile::kWarp;
    const int warp_row = warp * kWgmmaWarpRows;
    Turn<kGroupedStages> turn;
    each_tile<false>(g, first, [&](const ExpertRows& rows, int32_t column) {
        float sums[kGroupedColumns / 2] = {};
        multiply<kAlongK>(sums, ring, turn, (g.depth + kWgmmaDepth - 1) / kWgmmaDepth);
        const Lines lines = {buffers, rows.rows - warp_row};
        if (lines.rows > 0) {
            finish(g, to, sums, int64_t{rows.first} + warp_row, column, lines);
        }
    });
}

__device__ __forceinline__ void consume_back(const Grouped& g, const BackwardOut<bf16>& to,
                                             const int32_t* first, const Ring& ring,
                                             unsigned char* buffers) {
    const int lane = threadIdx.x % tile::kWarp;
    const int warp = (static_cast<int>(threadIdx.x) - kWgmmaGroup) / tile::kWarp;
    const int warp_row = warp * kWgmmaWarpRows;
    Turn<kGroupedStages> turn;
    float share[2], weight[2];
    each_tile<true>(g, first, [&](const ExpertRows& rows, int32_t column) {
        float sums[kGroupedColumns / 2] = {};
        multiply<false>(sums, ring, turn, (g.depth + kWgmmaDepth - 1) / kWgmmaDepth);
        const int used = rows.rows - warp_row;
        if (used <= 0) return;
        const int64_t row = int64_t{rows.first} + warp_row;
        if (column == 0) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int mine = tile::Wgmma64::sum_row(lane, half * 2);
                share[half] = 0;
                weight[half] = mine < used ? weight_of(g, to, row + mine) : 0;
            }
        }
        finish(g, to, sums, row, column, Lines{buffers, used},
               Lines{buffers + kWgmmaBufferBytes, used}, weight, share);
        if ((column + 1) * kGroupedColumns < g.units) return;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float sum = share[half];
            sum += __shfl_xor_sync(kAllLanes, sum, 1);
            sum += __shfl_xor_sync(kAllLanes, sum, 2);
            const int mine = tile::Wgmma64::sum_row(lane, half * 2);
            if (lane % 4 == 0 && mine < used) to.d_weights[row + mine] = sum;
        }
    });
}

#endif  // CARAVAN_SM90A

template <typename Out, bool kAlongK, bool kGathered>
__global__ void __launch_bounds__(kWgmmaThreads, 1)
    grouped_sm90_kernel(const Grouped g, const Out to, const __grid_constant__ TensorMap x,
                        const __grid_constant__ TensorMap w) {
#if CARAVAN_SM90A
    constexpr bool kBack = std::is_same_v<Out, BackwardOut<bf16>>;
    tile::Shared shared;
    Ring ring;
    ring.stages = shared.take<unsigned char>(kGroupedStages * kStageBytes, 1024);
    auto* const staging =
        shared.take<unsigned char>(kWgmmaConsumerWarps * 2 * kWgmmaBufferBytes, 1024);
    ring.full = shared.take<Mbarrier>(kGroupedStages);
    ring.free = shared.take<Mbarrier>(kGroupedStages);
    auto* const first = shared.take<int32_t>(g.experts + 1);
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < kGroupedStages; ++stage) {
            tile::mbarrier_init(ring.full + stage, kGathered ? 1 + kWgmmaGroup : 1);
            tile::mbarrier_init(ring.free + stage, kWgmmaConsumerWarps * tile::cluster_size());
        }
        tile::mbarrier_init_fence();
        if (!kGathered) tile::tma_prefetch(x);
        tile::tma_prefetch(w);
    }
    if (threadIdx.x >= kWgmmaGroup && threadIdx.x < kWgmmaGroup + tile::kWarp) {
        count_clusters(g, first);
    }
    tile::cluster_sync();
    if (threadIdx.x < kWgmmaGroup) {
        tile::registers_release<56>();
        if (kGathered || threadIdx.x == 0) {
            produce<kAlongK, kGathered, kBack>(g, first, ring, x, w);
        }
        __syncwarp();
    } else {
        tile::registers_claim<224>();
        const int warp = (static_cast<int>(threadIdx.x) - kWgmmaGroup) / tile::kWarp;
        unsigned char* const buffers = staging + warp * 2 * kWgmmaBufferBytes;
        if constexpr (kBack) {
            consume_back(g, to, first, ring, buffers);
        } else {
            consume<kAlongK>(g, to, first, ring, buffers);
        }
        __syncwarp();
    }
    tile::cluster_sync();  // the other block may copy here, and arrive here, to the end
#endif
}

// ------------------------------------------------------------------ launches

// Rows that are read and written 16 bytes at a time.
bool in_lines(const void* data, int64_t stride) { return tile::wide(data, stride, 2); }

template <typename Out, typename Kernel>
bool start(tile::Launcher& launcher, const Grouped& g, bool along_k, const Out& to,
           Kernel kernel_of) {
    const GroupedConfig cut =
        grouped_config(g.rows, g.experts, g.width, launcher.target().multiprocessors);
    // A box of weights that are not along k must not reach into the next expert's.
    if (launcher.target().capability != 90 || !cut.served ||
        cut.shared_bytes > launcher.target().shared_bytes || g.units % 8 != 0 || g.width % 8 != 0 ||
        g.depth % (along_k ? 8 : kWgmmaDepth) != 0 || !in_lines(g.x, g.x_stride)) {
        return false;
    }
    const tile::TensorMapShape x = matrix_shape(g.x, g.depth, g.x_rows, g.x_stride, kWgmmaRows);
    const int64_t experts = g.experts;
    const tile::TensorMapShape w =
        along_k ? matrix_shape(g.w, g.depth, experts * g.width, g.depth, kHalf)
                : matrix_shape(g.w, g.width, experts * g.depth, g.width, kWgmmaDepth);
    if (tile::tensor_map_fault(x) != nullptr || tile::tensor_map_fault(w) != nullptr) return false;
    TensorMap maps[2] = {};
    if (!tile::make_tensor_map(x, maps) || !tile::make_tensor_map(w, maps + 1)) {
        launcher.refuse("grouped_matmul: needs a driver that makes tensor maps");
        return true;
    }
    tile::Config config = tile::config(cut.blocks, kWgmmaThreads, cut.shared_bytes);
    config.cluster = cut.cluster;
    launcher.run(kernel_of, config, g, to, maps[0], maps[1]);
    return true;
}

}  // namespace

bool start_grouped_forward_sm90(tile::Launcher& launcher, const Grouped& g, bool along_k,
                                const ForwardOut<bf16>& to) {
    using Out = ForwardOut<bf16>;
    const bool gathered = g.assignments != nullptr;
    if (!in_lines(to.out, to.out_stride) || (!along_k && gathered)) return false;
    if (g.activation != CARAVAN_EXPERT_NONE && !in_lines(to.act, to.act_stride)) return false;
    return start(launcher, g, along_k, to,
                 !along_k   ? grouped_sm90_kernel<Out, false, false>
                 : gathered ? grouped_sm90_kernel<Out, true, true>
                            : grouped_sm90_kernel<Out, true, false>);
}

bool start_grouped_backward_sm90(tile::Launcher& launcher, const Grouped& g,
                                 const BackwardOut<bf16>& to) {
    if (!in_lines(to.h, to.h_stride) || !in_lines(to.d_h, to.d_h_stride) ||
        !in_lines(to.act, to.act_stride)) {
        return false;
    }
    return start(launcher, g, false, to, grouped_sm90_kernel<BackwardOut<bf16>, false, true>);
}

}  // namespace cuda
}  // namespace caravan
