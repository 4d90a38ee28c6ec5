// Gradients of grouped weights on sm_90a. A block has 128 x 256 of an expert's gradient over all of
// its rows, and stays for one such tile after the other; experts without rows are passed over. Two
// blocks of a cluster hold tiles beside or below each other, so that they need the same of the
// matrix whose rows lie in order: each fetches half of it for both by tensor copies. Rows of the
// other one, which may be gathered, come by cp.async; behind an expert's last they become 0. Two
// consumer warpgroups multiply by wgmma with both operands along M and N, and add their sums to the
// gradient.
#include "cuda/grouped_outer.cuh"
#include "cuda/grouped_matmul_config.h"
#include "cuda/tile/cluster.cuh"
#include "cuda/tile/copy_async.cuh"
#include "cuda/tile/fence.cuh"
#include "cuda/tile/mbarrier.cuh"
#include "cuda/tile/named_barrier.cuh"
#include "cuda/tile/registers.cuh"
#include "cuda/tile/shared.cuh"
#include "cuda/tile/swizzle.cuh"
#include "cuda/tile/tma.cuh"
#include "cuda/tile/wgmma.cuh"
#include "cuda/wgmma_ring.cuh"

namespace caravan {
namespace cuda {
namespace {

using tile::bf16;
using tile::TensorMap;

// The matrix whose rows come by cp.async.
struct Own {
    const bf16* data;
    int64_t stride;
};

#if CARAVAN_SM90A
using tile::Major;
using tile::Mbarrier;

constexpr int kStageBytes = kWgmmaStageBytes<kGroupedColumns>;

// Of a tile, where the two operands of a stage lie. kSharesA: a, the rows of the gradient, is what
// the blocks of a cluster share, else b.
template <bool kSharesA>
struct Operands {
    static constexpr int kAPanels = kWgmmaRows / 64, kBPanels = kGroupedColumns / 64;
    static constexpr int kShared = kSharesA ? kAPanels : kBPanels;
    static constexpr int kOwn = kSharesA ? kBPanels : kAPanels;
    static constexpr int kSharedAt = kSharesA ? 0 : kAPanels * kWgmmaPanelBytes;
    static constexpr int kOwnAt = kSharesA ? kAPanels * kWgmmaPanelBytes : 0;
};

// Calls body(rows, first row and column of the gradient) for each tile that the block takes; those
// of a cluster lie beside each other where a is shared, else below each other.
template <bool kSharesA, typename Body>
__device__ __forceinline__ void each_tile(const Outer& o, Body&& body) {
    constexpr int32_t kGroup = 8;  // rows of tiles that are walked together, for the L2
    const auto cluster = static_cast<int32_t>(tile::cluster_size());
    const auto rank = static_cast<int32_t>(tile::cluster_rank());
    const int32_t high = kSharesA ? kWgmmaRows : kWgmmaRows * cluster;
    const int32_t wide = kSharesA ? kGroupedColumns * cluster : kGroupedColumns;
    const int32_t down = (o.m + high - 1) / high, across = (o.n + wide - 1) / wide;
    const int32_t tiles = down * across;
    const int32_t all = o.experts * tiles, clusters = static_cast<int32_t>(gridDim.x) / cluster;
    for (auto unit = static_cast<int32_t>(blockIdx.x) / cluster; unit < all; unit += clusters) {
        const ExpertRows rows = rows_of(o.offsets, unit / tiles, o.rows);
        if (rows.rows <= 0) continue;
        const int32_t tile = unit % tiles;
        const int32_t group = tile / (kGroup * across) * kGroup;
        const int32_t height = min(kGroup, down - group), place = tile % (kGroup * across);
        body(rows, (group + place % height) * high + (kSharesA ? 0 : rank * kWgmmaRows),
             place / height * wide + (kSharesA ? rank * kGroupedColumns : 0));
    }
}

// A producer thread copies the same 16 bytes of a line of every panel, of rows sixteen apart.
struct Copies {
    static constexpr int kRows = kWgmmaDepth * (kWgmmaLine / 16) / kWgmmaGroup;
    static constexpr int kStep = kWgmmaDepth / kRows;
    int line, part;

    __device__ __forceinline__ Copies()
        : line(static_cast<int>(threadIdx.x) / 8), part(static_cast<int>(threadIdx.x) % 8) {}

    // `panels` of 64 columns from `column` on, of a matrix of `columns`.
    template <int kPanels>
    __device__ __forceinline__ void fetch(unsigned char* to, const bf16* from, int64_t stride,
                                          const int32_t (&source)[kRows], int32_t column,
                                          int32_t columns) const {
        unsigned char* const place =
            to + tile::swizzle_128(static_cast<uint32_t>(line * kWgmmaLine + part * 16));
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
            const bf16* const row = from + max(source[i], 0) * stride;
#pragma unroll
            for (int panel = 0; panel < kPanels; ++panel) {
                const int32_t at = column + panel * 64 + part * 8;
                const bool some = source[i] >= 0 && at < columns;
                tile::copy_async_filled<16>(
                    place + panel * kWgmmaPanelBytes + i * kStep * kWgmmaLine,
                    some ? row + at : from, some ? 16 : 0);
            }
        }
    }
};
static_assert(Copies::kStep % 8 == 0, "the swizzle is the same for all rows of a thread");

template <bool kSharesA>
__device__ __forceinline__ void produce(const Outer& o, const Own& own, const Ring& ring,
                                        const TensorMap& shared) {
    using Of = Operands<kSharesA>;
    constexpr int kLag = 2;  // stages whose copies are still on their way
    const Copies copies;
    const auto cluster = static_cast<int>(tile::cluster_size());
    const int share = Of::kShared / cluster;
    const int mine = static_cast<int>(tile::cluster_rank()) * share;  // the first panel to fetch
    Turn<kGroupedStages> turn;
    int pending = 0;
    // The copies of `ago` stages before the next one have landed.
    const auto landed = [&](int ago) {
        tile::fence_async_shared();
        tile::mbarrier_arrive(ring.full + (turn.stage + kGroupedStages - ago) % kGroupedStages);
    };
    each_tile<kSharesA>(o, [&](const ExpertRows& rows, int32_t row, int32_t column) {
        const Gather index = kSharesA ? o.b_index(rows.first) : o.a_index(rows.first);
        for (int32_t first = 0; first < rows.rows; first += kWgmmaDepth) {
            int32_t from[Copies::kRows];
#pragma unroll
            for (int i = 0; i < Copies::kRows; ++i) {
                const int32_t r = first + copies.line + i * Copies::kStep;
                from[i] = r < rows.rows ? static_cast<int32_t>(index(r)) : -1;
            }
            unsigned char* const stage = ring.stages + turn.stage * kStageBytes;
            Mbarrier* const full = ring.full + turn.stage;
            tile::mbarrier_wait(ring.free + turn.stage, turn.parity ^ 1);
            if (threadIdx.x == 0) {
                tile::mbarrier_arrive_expect(full, Of::kShared * kWgmmaPanelBytes);
                for (int panel = mine; panel < mine + share; ++panel) {
                    unsigned char* const to = stage + Of::kSharedAt + panel * kWgmmaPanelBytes;
                    const int x = (kSharesA ? row : column) + panel * 64, y = rows.first + first;
                    load_for_all(to, shared, x, y, full, cluster);
                }
            }
            copies.fetch<Of::kOwn>(stage + Of::kOwnAt, own.data, own.stride, from,
                                   kSharesA ? column : row, kSharesA ? o.n : o.m);
            tile::copy_async_commit();
            turn.next();
            if (pending == kLag) {
                tile::copy_async_wait<kLag>();
                landed(kLag + 1);
            } else {
                ++pending;
            }
        }
    });
    if (pending == 2) {
        tile::copy_async_wait<1>();
        landed(2);
    }
    tile::copy_async_wait<0>();
    if (pending > 0) landed(1);
}

// Adds a warp's 16 rows from `row` on.
__device__ __forceinline__ void add_rows(const Outer& o, float* c, int32_t row, int32_t column,
                                         const float (&sums)[kGroupedColumns / 2]) {
    constexpr int kBatch = 4;  // parts of 8 columns whose loads are under way together
    const int lane = threadIdx.x % tile::kWarp;
    const int32_t left = o.n - column - tile::Wgmma64::sum_column(lane, 0);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int32_t at = row + tile::Wgmma64::sum_row(lane, half * 2);
        if (at >= o.m) continue;
        float* const to = c + int64_t{at} * o.n + (o.n - left);
#pragma unroll
        for (int batch = 0; batch < kGroupedColumns / 8; batch += kBatch) {
            tile::Vector<float, 2> values[kBatch] = {};
#pragma unroll
            for (int q = 0; q < kBatch; ++q) {
                if ((batch + q) * 8 < left) values[q] = tile::load<2>(to + (batch + q) * 8);
            }
#pragma unroll
            for (int q = 0; q < kBatch; ++q) {
                const int i = (batch + q) * 4 + half * 2;
                values[q][0] += sums[i];
                values[q][1] += sums[i + 1];
                if ((batch + q) * 8 < left) tile::store(to + (batch + q) * 8, values[q]);
            }
        }
    }
}

// Makes 0 of the shared operand behind an expert's last row: those are the next one's, or anything.
// All consumers call.
template <bool kSharesA>
__device__ __forceinline__ void clear_beyond(unsigned char* stage, int valid) {
    clear_lines(stage + Operands<kSharesA>::kSharedAt, Operands<kSharesA>::kShared, valid);
    tile::fence_async_shared();
    tile::barrier_sync(1, kWgmmaConsumers);
}

template <bool kSharesA>
__device__ __forceinline__ void consume(const Outer& o, const Ring& ring) {
    const auto cluster = static_cast<int>(tile::cluster_size());
    const int lane = threadIdx.x % tile::kWarp;
    const int group = static_cast<int>(threadIdx.x) / kWgmmaGroup - 1;
    const int warp_row =
        (static_cast<int>(threadIdx.x) - kWgmmaGroup) / tile::kWarp * kWgmmaWarpRows;
    const uint64_t a_tile =
        tile::wgmma_mn_major(ring.stages + group * kWgmmaPanelBytes, kWgmmaPanelBytes);
    const uint64_t b_tile =
        tile::wgmma_mn_major(ring.stages + kWgmmaRows * kWgmmaLine, kWgmmaPanelBytes);
    Turn<kGroupedStages> turn;
    each_tile<kSharesA>(o, [&](const ExpertRows& rows, int32_t row, int32_t column) {
        float sums[kGroupedColumns / 2] = {};
        int last = 0;
        for (int32_t first = 0; first < rows.rows; first += kWgmmaDepth) {
            tile::mbarrier_wait(ring.full + turn.stage, turn.parity);
            if (rows.rows - first < kWgmmaDepth) {
                clear_beyond<kSharesA>(ring.stages + turn.stage * kStageBytes, rows.rows - first);
            }
            const auto at = static_cast<uint32_t>(turn.stage * kStageBytes);
            tile::wgmma_fence();
#pragma unroll
            for (int k = 0; k < kWgmmaDepth; k += 16) {
                tile::wgmma<kGroupedColumns, Major::kMN, Major::kMN>(
                    sums, tile::wgmma_advance(a_tile, at + k * kWgmmaLine),
                    tile::wgmma_advance(b_tile, at + k * kWgmmaLine), true);
            }
            tile::wgmma_commit();
            // The products before this step's are done: their stage may be filled again.
            tile::wgmma_wait<1>();
            if (first > 0) ring.release(last, lane, cluster);
            last = turn.stage;
            turn.next();
        }
        tile::wgmma_wait<0>(sums);
        ring.release(last, lane, cluster);
        add_rows(o, o.c + int64_t{rows.expert} * o.m * o.n, row + warp_row, column, sums);
    });
}

#endif  // CARAVAN_SM90A

template <bool kSharesA>
__global__ void __launch_bounds__(kWgmmaThreads, 1)
    grouped_outer_sm90_kernel(const Outer o, const Own own,
                              const __grid_constant__ TensorMap shared_map) {
#if CARAVAN_SM90A
    tile::Shared shared;
    Ring ring;
    ring.stages = shared.take<unsigned char>(kGroupedStages * kStageBytes, 1024);
    ring.full = shared.take<Mbarrier>(kGroupedStages);
    ring.free = shared.take<Mbarrier>(kGroupedStages);
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < kGroupedStages; ++stage) {
            tile::mbarrier_init(ring.full + stage, 1 + kWgmmaGroup);
            tile::mbarrier_init(ring.free + stage, kWgmmaConsumerWarps * tile::cluster_size());
        }
        tile::mbarrier_init_fence();
        tile::tma_prefetch(shared_map);
    }
    tile::cluster_sync();
    if (threadIdx.x < kWgmmaGroup) {
        tile::registers_release<72>();
        produce<kSharesA>(o, own, ring, shared_map);
        __syncwarp();
    } else {
        tile::registers_claim<216>();
        consume<kSharesA>(o, ring);
        __syncwarp();
    }
    tile::cluster_sync();  // the other block may copy here, and arrive here, to the end
#endif
}

}  // namespace

bool start_grouped_outer_sm90(tile::Launcher& launcher, const Outer& o, const caravan_tensor& a,
                              const caravan_tensor& b) {
    // What lies in order is shared; of both b, of which a tile has more.
    const bool shares_a = o.gather_b;
    const GroupedOuterConfig cut = grouped_outer_config(o.rows, o.experts, o.m, o.n, shares_a,
                                                        launcher.target().multiprocessors);
    if (launcher.target().capability != 90 || !cut.served ||
        cut.shared_bytes > launcher.target().shared_bytes || !wide_rows(a) || !wide_rows(b) ||
        !tile::wide(o.c, o.n, 4) || (o.gather_a && o.gather_b)) {
        return false;
    }
    const caravan_tensor &shared = shares_a ? a : b, &own = shares_a ? b : a;
    const tile::TensorMapShape shape = matrix_shape(shared.data, shared.shape[1], shared.shape[0],
                                                    row_stride(shared), kWgmmaDepth);
    if (tile::tensor_map_fault(shape) != nullptr) return false;
    TensorMap map = {};
    if (!tile::make_tensor_map(shape, &map)) {
        launcher.refuse("grouped_outer: needs a driver that makes tensor maps");
        return true;
    }
    tile::Config config = tile::config(cut.blocks, kWgmmaThreads, cut.shared_bytes);
    config.cluster = cut.cluster;
    launcher.run(shares_a ? grouped_outer_sm90_kernel<true> : grouped_outer_sm90_kernel<false>,
                 config, o, Own{data<bf16>(own), row_stride(own)}, map);
    return true;
}

}  // namespace cuda
}  // namespace caravan
