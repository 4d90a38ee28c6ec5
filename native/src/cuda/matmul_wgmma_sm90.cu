// The product of two bf16 matrices on sm_90a: a producer thread keeps a ring of tiles in shared
// memory full by tensor copies, two consumer warpgroups multiply them by wgmma, and blocks stay for
// one tile of c after the other (matmul_config.h). The ring runs on across tiles, so the next one's
// operands arrive while the last one's sums are written, and the two consumers, of which each may
// be ahead of the other by as much as the ring holds, seldom write at one time.
#include "cuda/matmul_config.h"
#include "cuda/matmul_product.cuh"
#include "cuda/tile/cluster.cuh"
#include "cuda/tile/fence.cuh"
#include "cuda/tile/matrix.cuh"
#include "cuda/tile/mbarrier.cuh"
#include "cuda/tile/named_barrier.cuh"
#include "cuda/tile/registers.cuh"
#include "cuda/tile/shared.cuh"
#include "cuda/tile/tma.cuh"
#include "cuda/tile/wgmma.cuh"
#include "cuda/wgmma_ring.cuh"

namespace caravan {
namespace cuda {
namespace {

using tile::TensorMap;

#if CARAVAN_SM90A
using tile::bf16;
using tile::Major;
using tile::Mbarrier;

// The tiles of c that a cluster takes: calls body(place of the cluster's first tile, steps along k)
// for each. Steps are none where the limit on rows leaves nothing to multiply.
template <int kColumns, typename Body>
__device__ __forceinline__ void each_unit(const Product& product, const Used& used, unsigned units,
                                          Body&& body) {
    const auto cluster = tile::cluster_size();
    const int rows = kWgmmaRows * static_cast<int>(cluster);
    for (unsigned unit = blockIdx.x / cluster; unit < units; unit += gridDim.x / cluster) {
        const TilePlace place = tile_place(product, unit, rows, kColumns);
        body(place, place.row < used.m ? (used.k + kWgmmaDepth - 1) / kWgmmaDepth : 0);
    }
}

// One thread: fetches this block's rows of a, and its share of b for every block of the cluster.
template <int kColumns, bool kTransposeA, bool kTransposeB>
__device__ __forceinline__ void produce(const Product& product, const Used& used, unsigned units,
                                        const Ring& ring, const TensorMap& a, const TensorMap& b) {
    constexpr int kStageBytes = kWgmmaStageBytes<kColumns>;
    const int cluster = static_cast<int>(tile::cluster_size());
    const int rank = static_cast<int>(tile::cluster_rank());
    const int share = kColumns / cluster;
    tile::tma_prefetch(a);
    tile::tma_prefetch(b);
    Turn<kWgmmaStages<kColumns>> turn;
    each_unit<kColumns>(product, used, units, [&](const TilePlace& place, int32_t steps) {
        const int32_t row = place.row + rank * kWgmmaRows, column = place.column + rank * share;
        for (int32_t step = 0; step < steps; ++step) {
            const int32_t k = step * kWgmmaDepth;
            unsigned char* const a_tile = ring.stages + turn.stage * kStageBytes;
            unsigned char* const b_tile =
                a_tile + kWgmmaRows * kWgmmaLine + rank * share * kWgmmaLine;
            Mbarrier* const full = ring.full + turn.stage;
            tile::mbarrier_wait(ring.free + turn.stage, turn.parity ^ 1);
            tile::mbarrier_arrive_expect(full, kStageBytes);
            if constexpr (kTransposeA) {
                tile::tma_load(a_tile, a, row, k, full);
                tile::tma_load(a_tile + kWgmmaPanelBytes, a, row + 64, k, full);
            } else {
                tile::tma_load(a_tile, a, k, row, full);
            }
            if constexpr (kTransposeB) {
                load_for_all(b_tile, b, k, column, full, cluster);
            } else {
                for (int panel = 0; panel < share / 64; ++panel) {
                    load_for_all(b_tile + panel * kWgmmaPanelBytes, b, column + panel * 64, k, full,
                                 cluster);
                }
            }
            turn.next();
        }
    });
}

// Makes 0 of what a stage holds beyond the first `valid` of k: rows beyond the limit, which may
// hold anything. All consumers call.
template <int kColumns, bool kTransposeB>
__device__ __forceinline__ void clear_beyond(unsigned char* a_tile, int valid) {
    unsigned char* const b_tile = a_tile + kWgmmaRows * kWgmmaLine;
    clear_lines(a_tile, kWgmmaRows / 64, valid);
    if constexpr (kTransposeB) {
        const int thread = static_cast<int>(threadIdx.x) - kWgmmaGroup;
        const int columns = kWgmmaDepth - valid;
        for (int i = thread; i < kColumns * columns; i += kWgmmaConsumers) {
            const int at = i / columns * kWgmmaLine + (valid + i % columns) * 2;
            *reinterpret_cast<uint16_t*>(b_tile + tile::swizzle_128(static_cast<uint32_t>(at))) = 0;
        }
    } else {
        clear_lines(b_tile, kColumns / 64, valid);
    }
    tile::fence_async_shared();
    tile::barrier_sync(1, kWgmmaConsumers);
}

// A warp's way into c: tensor copies from two buffers in turn, of which the one that is handed out
// is no longer read.
struct Outlet {
    const TensorMap& map;
    bool mapped;  // else every thread writes for itself
    unsigned char* buffers;
    int turn = 0;

    __device__ __forceinline__ unsigned char* buffer() {
        turn ^= 1;
        if (threadIdx.x % tile::kWarp == 0) tile::tma_wait_read<1>();
        __syncwarp();
        return buffers + turn * kWgmmaBufferBytes;
    }
};

// Writes a warp's 16 rows of a tile, 128 bytes of each row at a time.
template <typename T, int kColumns>
__device__ __forceinline__ void store_rows(const Product& product, const Used& used, int32_t row,
                                           int32_t column, const float (&sums)[kColumns / 2],
                                           Outlet& outlet) {
    constexpr int kWidth = kWgmmaLine / static_cast<int>(sizeof(T));  // columns at a time
    const int lane = threadIdx.x % tile::kWarp;
#pragma unroll
    for (int part = 0; part < kColumns / kWidth; ++part) {
        if (column + part * kWidth >= product.n) continue;
        unsigned char* const buffer = outlet.buffer();
        Pair pairs[kWidth / 8][2];
#pragma unroll
        for (int j = 0; j < kWidth / 8; ++j) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int i = (part * (kWidth / 8) + j) * 4 + half * 2;
                pairs[j][half] =
                    finished<T>(product, used, row + tile::Wgmma64::sum_row(lane, half * 2),
                                column + part * kWidth + tile::Wgmma64::sum_column(lane, j * 4),
                                sums[i], sums[i + 1]);
            }
        }
        if constexpr (sizeof(T) == 2) {
            const int line = lane % 16;
#pragma unroll
            for (int j = 0; j < kWidth / 8; j += 2) {
                const uint32_t packed[4] = {
                    tile::pack_bf16(pairs[j][0].low, pairs[j][0].high),
                    tile::pack_bf16(pairs[j][1].low, pairs[j][1].high),
                    tile::pack_bf16(pairs[j + 1][0].low, pairs[j + 1][0].high),
                    tile::pack_bf16(pairs[j + 1][1].low, pairs[j + 1][1].high)};
                const int at = line * kWgmmaLine + (j + lane / 16) * 16;
                tile::store_matrices(buffer + tile::swizzle_128(static_cast<uint32_t>(at)), packed);
            }
        } else {
#pragma unroll
            for (int j = 0; j < kWidth / 8; ++j) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int at = tile::Wgmma64::sum_row(lane, half * 2) * kWgmmaLine +
                                   tile::Wgmma64::sum_column(lane, j * 4) * 4;
                    const tile::Vector<float, 2> values = {
                        {pairs[j][half].low, pairs[j][half].high}};
                    tile::store(reinterpret_cast<float*>(
                                    buffer + tile::swizzle_128(static_cast<uint32_t>(at))),
                                values);
                }
            }
        }
        tile::fence_async_shared();
        __syncwarp();
        if (lane == 0) {
            tile::tma_store(outlet.map, column + part * kWidth, row, buffer);
            tile::tma_commit();
        }
    }
}

// A warp's 16 rows from `row` on into c.
template <int kColumns>
__device__ __forceinline__ void put_rows(const Product& product, const Used& used, int32_t row,
                                         int32_t column, const float (&sums)[kColumns / 2],
                                         Outlet& outlet) {
    if (row >= product.m) return;
    // Rows that stay as they are must not be written over with what they were.
    const bool kept = product.beta != 0 && !used.bad && row + kWgmmaWarpRows > used.m;
    if (!outlet.mapped || (kept && used.m < product.m)) {
        const int lane = threadIdx.x % tile::kWarp;
#pragma unroll
        for (int i = 0; i < kColumns / 2; i += 2) {
            put_pair(product, used, row + tile::Wgmma64::sum_row(lane, i),
                     column + tile::Wgmma64::sum_column(lane, i), sums[i], sums[i + 1]);
        }
    } else if (product.bf16_c) {
        store_rows<bf16, kColumns>(product, used, row, column, sums, outlet);
    } else {
        store_rows<float, kColumns>(product, used, row, column, sums, outlet);
    }
}

// A consumer warpgroup: its 64 rows of every tile.
template <int kColumns, bool kTransposeA, bool kTransposeB>
__device__ __forceinline__ void consume(const Product& product, const Used& used, unsigned units,
                                        const Ring& ring, Outlet& outlet) {
    constexpr int kStageBytes = kWgmmaStageBytes<kColumns>;
    constexpr Major kMajorA = kTransposeA ? Major::kMN : Major::kK;
    constexpr Major kMajorB = kTransposeB ? Major::kK : Major::kMN;
    const auto cluster = static_cast<int>(tile::cluster_size());
    const int lane = threadIdx.x % tile::kWarp;
    const int first_row =
        static_cast<int>(tile::cluster_rank()) * kWgmmaRows +
        (static_cast<int>(threadIdx.x) - kWgmmaGroup) / tile::kWarp * kWgmmaWarpRows;
    // 64 rows of a are a panel in either order.
    const unsigned char* const a_rows =
        ring.stages + (threadIdx.x / kWgmmaGroup - 1) * kWgmmaPanelBytes;
    const unsigned char* const b_columns = ring.stages + kWgmmaRows * kWgmmaLine;
    const uint64_t a_tile =
        kTransposeA ? tile::wgmma_mn_major(a_rows, kWgmmaPanelBytes) : tile::wgmma_k_major(a_rows);
    const uint64_t b_tile = kTransposeB ? tile::wgmma_k_major(b_columns)
                                        : tile::wgmma_mn_major(b_columns, kWgmmaPanelBytes);
    Turn<kWgmmaStages<kColumns>> turn;
    each_unit<kColumns>(product, used, units, [&](const TilePlace& place, int32_t steps) {
        float sums[kColumns / 2] = {};
        int last = 0;
        for (int32_t step = 0; step < steps; ++step) {
            tile::mbarrier_wait(ring.full + turn.stage, turn.parity);
            const int32_t valid = used.k - step * kWgmmaDepth;
            if (valid < kWgmmaDepth && used.k < product.k) {
                clear_beyond<kColumns, kTransposeB>(ring.stages + turn.stage * kStageBytes, valid);
            }
            const auto at = static_cast<uint32_t>(turn.stage * kStageBytes);
            tile::wgmma_fence();
#pragma unroll
            for (int k = 0; k < kWgmmaDepth; k += 16) {
                tile::wgmma<kColumns, kMajorA, kMajorB>(
                    sums, tile::wgmma_advance(a_tile, at + (kTransposeA ? k * kWgmmaLine : k * 2)),
                    tile::wgmma_advance(b_tile, at + (kTransposeB ? k * 2 : k * kWgmmaLine)), true);
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
        put_rows<kColumns>(product, used, place.row + first_row, place.column, sums, outlet);
    });
    if (lane == 0) tile::tma_wait<0>();
}

#endif  // CARAVAN_SM90A

template <int kColumns, bool kTransposeA, bool kTransposeB>
__global__ void __launch_bounds__(kWgmmaThreads, 1)
    wgmma_sm90_kernel(const Product product, unsigned units, bool c_mapped,
                      const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,
                      const __grid_constant__ TensorMap c) {
#if CARAVAN_SM90A
    constexpr int kStages = kWgmmaStages<kColumns>;
    tile::Shared shared;
    Ring ring;
    ring.stages = shared.take<unsigned char>(kStages * kWgmmaStageBytes<kColumns>, 1024);
    auto* const staging =
        shared.take<unsigned char>(kWgmmaConsumerWarps * 2 * kWgmmaBufferBytes, 1024);
    ring.full = shared.take<Mbarrier>(kStages);
    ring.free = shared.take<Mbarrier>(kStages);
    const auto cluster = tile::cluster_size();
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < kStages; ++stage) {
            tile::mbarrier_init(ring.full + stage, 1);
            tile::mbarrier_init(ring.free + stage, kWgmmaConsumerWarps * cluster);
        }
        tile::mbarrier_init_fence();
    }
    tile::cluster_sync();
    const Used used = used_extents(product);
    if (threadIdx.x < kWgmmaGroup) {
        tile::registers_release<40>();
        if (threadIdx.x == 0) {
            produce<kColumns, kTransposeA, kTransposeB>(product, used, units, ring, a, b);
        }
        __syncwarp();
    } else {
        tile::registers_claim<232>();
        const int warp = (threadIdx.x - kWgmmaGroup) / tile::kWarp;
        Outlet outlet = {c, c_mapped, staging + warp * 2 * kWgmmaBufferBytes};
        consume<kColumns, kTransposeA, kTransposeB>(product, used, units, ring, outlet);
        __syncwarp();
    }
    tile::cluster_sync();  // the other block may copy here, and arrive here, to the end
#endif
}

template <int kColumns>
void start(tile::Launcher& launcher, const tile::Config& config, const Product& product,
           unsigned units, bool c_mapped, const TensorMap (&maps)[3]) {
    const auto run = [&](auto kernel) {
        launcher.run(kernel, config, product, units, c_mapped, maps[0], maps[1], maps[2]);
    };
    if (product.transpose_a) {
        run(product.transpose_b ? wgmma_sm90_kernel<kColumns, true, true>
                                : wgmma_sm90_kernel<kColumns, true, false>);
    } else {
        run(product.transpose_b ? wgmma_sm90_kernel<kColumns, false, true>
                                : wgmma_sm90_kernel<kColumns, false, false>);
    }
}

}  // namespace

bool start_wgmma_product(tile::Launcher& launcher, const Product& product) {
    if (launcher.target().capability != 90) return false;
    const WgmmaConfig cut = wgmma_config(product.m, product.n, launcher.target().multiprocessors);
    if (cut.columns == 0 || cut.shared_bytes > launcher.target().shared_bytes) return false;
    const int share = cut.columns / cut.cluster;
    const tile::TensorMapShape a =
        product.transpose_a
            ? matrix_shape(product.a, product.m, product.k, product.a_stride, kWgmmaDepth)
            : matrix_shape(product.a, product.k, product.m, product.a_stride, kWgmmaRows);
    const tile::TensorMapShape b =
        product.transpose_b
            ? matrix_shape(product.b, product.k, product.n, product.b_stride, share)
            : matrix_shape(product.b, product.n, product.k, product.b_stride, kWgmmaDepth);
    if (tile::tensor_map_fault(a) != nullptr || tile::tensor_map_fault(b) != nullptr) return false;

    tile::TensorMapShape c =
        matrix_shape(product.c, product.n, product.m, product.c_stride, kWgmmaWarpRows);
    if (!product.bf16_c) {
        c.type = tile::TensorMapType::kF32;
        c.stride_bytes[1] = product.c_stride * 4;
        c.box[0] = kWgmmaLine / 4;
    }
    // A copy out writes whole 16 bytes, also at the end of a row.
    const bool c_mapped =
        tile::tensor_map_fault(c) == nullptr && product.n * (product.bf16_c ? 2 : 4) % 16 == 0;
    TensorMap maps[3] = {};
    if (!tile::make_tensor_map(a, maps) || !tile::make_tensor_map(b, maps + 1) ||
        (c_mapped && !tile::make_tensor_map(c, maps + 2))) {
        launcher.refuse("matmul_forward: needs a driver that makes tensor maps");
        return true;
    }
    tile::Config config = tile::config(cut.blocks, kWgmmaThreads, cut.shared_bytes);
    config.cluster = cut.cluster;
    const auto units = static_cast<unsigned>(cut.units);
    if (cut.columns == 256) {
        start<256>(launcher, config, product, units, c_mapped, maps);
    } else {
        start<128>(launcher, config, product, units, c_mapped, maps);
    }
    return true;
}

}  // namespace cuda
}  // namespace caravan
