// RMSNorm, optionally fused with the residual addition before it.
// Bytes, in elements of x for each element: forward 2 (x, y), with a residual 4 (x, residual, sum,
// y); backward 3 (d_y, x, d_x), with d_sum 4. A row too wide to be held (rmsnorm_config.h) is read
// twice: forward 3, with a residual 5; backward 5, with d_sum 6, and 8 bytes of partial sums.
// Besides: weight and rstd once, and in the backward 8 bytes a column for each block of
// partial_blocks, mostly in L2.
// Rows of bfloat16 (float32) are read once up to these widths, where all begin at a multiple of 16
// bytes; the backward with d_sum to fewer on sm_80 and sm_120:
//   sm_80            forward  32,768  (32,768)    backward  32,768  (16,384)
//   sm_90            forward 262,144 (262,144)    backward 262,144 (131,072)
//   sm_120           forward 262,144 (262,144)    backward 196,608  (98,304)
// and else up to half or a quarter of that; tests/rmsnorm_config_test.cpp holds all of it. Parts of
// rows are in rmsnorm_part.cu.
#include "core/blocks.h"
#include "cuda/kernels.h"
#include "cuda/partials.cuh"
#include "cuda/rmsnorm.cuh"
#include "cuda/tile/copy_async.cuh"
#include "cuda/tile/opaque.cuh"

namespace caravan {
namespace cuda {
namespace {

// x + residual as stored: what is normalised, and what a backward will see.
template <typename T, int N>
__device__ __forceinline__ tile::Vector<T, N> added(const tile::Vector<T, N>& x,
                                                    const tile::Vector<T, N>& residual) {
    auto sum = tile::to_floats(x);
    const auto more = tile::to_floats(residual);
#pragma unroll
    for (int j = 0; j < N; ++j) sum[j] += more[j];
    return tile::from_floats<T>(sum);
}

template <typename T, int N>
__device__ __forceinline__ float squares(const tile::Vector<T, N>& part, float sum) {
    const auto h = tile::to_floats(part);
#pragma unroll
    for (int j = 0; j < N; ++j) sum += h[j] * h[j];
    return sum;
}

// ------------------------------------------------------------------------------- forward

// Rows are held in registers: a thread loads its parts of kRows rows, and of a weight stored like
// them, before it uses the first.
template <typename T, int kParts, int kRows, bool kWide>
__global__ void __launch_bounds__(kRmsNormThreads, kWide&& kParts <= 4 ? 2 : 1)
    rmsnorm_fwd_kernel(RmsNormForward<T> args) {
    constexpr int N = tile::kLanes<T>;
    constexpr int kAhead = kParts == 1 || kParts == 16 ? 1 : 2;  // parts of residual
    constexpr int kRowsAhead = kRows < 2 ? kRows : 2;
    // The weight, where the registers of two blocks suffice.
    constexpr bool kEarly = kWide && kParts == 4 && CARAVAN_SM90A;
    constexpr bool kShared = kRows == 1;  // rows of which a block may have but a part
    tile::Shared shared;
    float* const scratch = shared.take<float>(kRmsNormScratch);
    const ClusterExchange<float> exchange(shared, kShared ? args.cluster : 1);
    const int group = args.group;
    const int lane = static_cast<int>(threadIdx.x) % group;
    const int side = static_cast<int>(threadIdx.x) / group;
    const int side_by_side = static_cast<int>(blockDim.x) / group;
    const int rank = args.cluster > 1 ? static_cast<int>(tile::cluster_rank()) : 0;
    const int64_t first_row =
        static_cast<int64_t>(blockIdx.x / args.cluster) * side_by_side * kRows + side;
    const int first_part = rank * kParts * group + lane;

    // body(r, p, row, element) for rows r0 .. r0 + rows - 1 and parts p0 .. p0 + parts - 1 of each.
    const auto visit = [&](int r0, int rows, int p0, int parts, auto&& body) {
#pragma unroll
        for (int r = r0; r < r0 + rows; ++r) {
#pragma unroll
            for (int p = p0; p < p0 + parts; ++p) {
                const int64_t row = first_row + r * side_by_side;
                const int part = first_part + p * group;
                if (row < args.rows && part < args.parts) body(r, p, row, part * N);
            }
        }
    };
    tile::Vector<T, N> h[kRows][kParts] = {};
    visit(0, kRows, 0, kParts, [&](int r, int p, int64_t row, int64_t at) {
        h[r][p] = tile::load_part<kWide, N>(args.x[row], at, args.width);
    });
    if (args.residual.data != nullptr) {
#pragma unroll
        for (int r0 = 0; r0 < kRows; r0 += kRowsAhead) {
#pragma unroll
            for (int p0 = 0; p0 < kParts; p0 += kAhead) {
                tile::Vector<T, N> residual[kRowsAhead][kAhead] = {};
                visit(r0, kRowsAhead, p0, kAhead, [&](int r, int p, int64_t row, int64_t at) {
                    residual[r - r0][p - p0] =
                        tile::load_part<kWide, N>(args.residual[row], at, args.width);
                });
                visit(r0, kRowsAhead, p0, kAhead, [&](int r, int p, int64_t row, int64_t at) {
                    h[r][p] = added(h[r][p], residual[r - r0][p - p0]);
                    tile::store_part<kWide>(args.sum[row], at, args.width, h[r][p]);
                });
            }
        }
    }
    tile::Vector<T, N> early[kParts] = {};
    if (kEarly && args.weight.template is<T>()) {
#pragma unroll
        for (int p = 0; p < kParts; ++p) {
            const int part = first_part + p * group;
            if (part >= args.parts) continue;
            early[p] = args.weight.template stored<T, kWide, N>(part * N, args.width);
        }
    }

    float rstd[kRows] = {};  // first the sums
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
        for (int p = 0; p < kParts; ++p) rstd[r] = squares(h[r][p], rstd[r]);
    }
    group_sums(rstd, group, side, scratch);
    if (kShared && args.cluster > 1) {
        exchange.begin();
        rstd[0] = cluster_sum(rstd[0], args.cluster, exchange, 0);
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        rstd[r] = rsqrtf(rstd[r] * args.inverse_width + args.eps);
        const int64_t row = first_row + r * side_by_side;
        if (args.rstd != nullptr && lane == 0 && rank == 0 && row < args.rows) {
            args.rstd[row] = rstd[r];
        }
    }

#pragma unroll
    for (int p = 0; p < kParts; ++p) {
        const int part = first_part + p * group;
        if (part >= args.parts) continue;
        const auto weight = kEarly && args.weight.template is<T>()
                                ? args.weight.of(early[p])
                                : args.weight.template part<kWide, N>(part * N, args.width);
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            const int64_t row = first_row + r * side_by_side;
            if (row >= args.rows) continue;
            tile::store_part<kWide>(args.y[row], part * N, args.width,
                                    normalised(tile::opaque(h[r][p]), weight, rstd[r]));
        }
    }
}

// A block reads its row twice.
template <typename T, bool kWide>
__global__ void __launch_bounds__(kRmsNormThreads)
    rmsnorm_fwd_passes_kernel(RmsNormForward<T> args) {
    constexpr int N = tile::kLanes<T>;
    float* const scratch = tile::Shared().take<float>(kRmsNormScratch);
    const int64_t row = blockIdx.x;
    const T* source = args.x[row];
    float sum = 0;
    if (args.residual.data != nullptr) {
#pragma unroll 2
        for (int64_t part = threadIdx.x; part < args.parts; part += kRmsNormThreads) {
            const auto h =
                added(tile::load_part<kWide, N>(source, part * N, args.width),
                      tile::load_part<kWide, N>(args.residual[row], part * N, args.width));
            tile::store_part<kWide>(args.sum[row], part * N, args.width, h);
            sum = squares(h, sum);
        }
        source = args.sum[row];
    } else {
#pragma unroll 4
        for (int64_t part = threadIdx.x; part < args.parts; part += kRmsNormThreads) {
            sum = squares(tile::load_part<kWide, N>(source, part * N, args.width), sum);
        }
    }
    sum = group_sum(sum, kRmsNormThreads, 0, scratch);
    const float rstd = rsqrtf(sum * args.inverse_width + args.eps);
    if (args.rstd != nullptr && threadIdx.x == 0) args.rstd[row] = rstd;
#pragma unroll 2
    for (int64_t part = threadIdx.x; part < args.parts; part += kRmsNormThreads) {
        const auto h = tile::load_part<kWide, N>(source, part * N, args.width);
        const auto weight = args.weight.template part<kWide, N>(part * N, args.width);
        tile::store_part<kWide>(args.y[row], part * N, args.width, normalised(h, weight, rstd));
    }
}

// ------------------------------------------------------------------------------- backward

__device__ __forceinline__ void wait_for_all_but(int groups) {
    switch (groups) {
        case 0:
            return tile::copy_async_wait<0>();
        case 1:
            return tile::copy_async_wait<1>();
        case 2:
            return tile::copy_async_wait<2>();
        default:
            return tile::copy_async_wait<3>();
    }
}

// A block of rows for each block, or cluster, of the grid. Each thread copies its own parts of the
// rows to come, and their rstd, into its own places in shared memory, so that nobody waits for
// others' copies, and keeps its columns' sums of d_weight in registers. A load that is used at once
// would come back behind all copies under way, and leave none under way.
template <typename T, int kParts, int kRows, bool kWide>
__global__ void __launch_bounds__(512, kWide&& kParts < 4 ? 2 : 1)
    rmsnorm_bwd_kernel(RmsNormBackward<T> args) {
    constexpr int N = tile::kLanes<T>;
    tile::Shared shared;
    float* const scratch = shared.take<float>(2 * kRmsNormScratch);
    constexpr bool kShared = kRows == 1;  // rows of which a block may have but a part
    const ClusterExchange<float> exchange(shared, kShared ? args.cluster : 1);
    auto* const places = shared.take<tile::Vector<T, N>>(0);
    const int group = args.group;
    const int threads = static_cast<int>(blockDim.x);
    const int lane = static_cast<int>(threadIdx.x) % group;
    const int side = static_cast<int>(threadIdx.x) / group;
    const int side_by_side = args.side_by_side;
    const int rank = args.cluster > 1 ? static_cast<int>(tile::cluster_rank()) : 0;
    const int first_part = rank * kParts * group + lane;
    const int64_t block = blockIdx.x / args.cluster;
    const int64_t begin = block * args.block_rows;
    const int64_t left = args.rows - begin;
    const int count = static_cast<int>(left < args.block_rows ? left : args.block_rows);
    const int at_once = side_by_side * kRows;
    const bool adds = args.d_sum.data != nullptr;
    const int streams = args.streams;

    // start(r, row), and with what it gives body(started, r, p, element), for this thread's parts
    // of the rows `first`, `first` + side_by_side, ..., counted from `begin`. Element by element,
    // or of many parts, unrolling takes too many registers.
    const int parts = static_cast<int>(args.parts);
    const auto visit = [&](int first, auto unrolled, auto&& start, auto&& body) {
        [[maybe_unused]] constexpr int kUnroll =
            unrolled.value || (kWide && kParts < 8) ? kParts : 1;
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            const int row = first + r * side_by_side;
            if (row >= count) continue;
            const auto started = start(r, begin + row);
#pragma unroll kUnroll
            for (int p = 0; p < kParts; ++p) {
                const int part = first_part + p * group;
                if (part < parts) body(started, r, p, part * N);
            }
        }
    };
    auto* const mine = places + threadIdx.x;
    const auto place = [&](int stage, int stream, int r, int p) {
        return mine + (((stage * streams + stream) * kRows + r) * kParts + p) * threads;
    };
    auto* const rstds =
        reinterpret_cast<float*>(places + args.stages * streams * kRows * kParts * threads) +
        threadIdx.x;
    struct Sources {
        const T *d_y, *x, *d_sum;
    };
    const auto fetch = [&](int first, int stage) {
        const auto start = [&](int r, int64_t row) {
            tile::copy_async<4>(rstds + (stage * kRows + r) * threads, args.rstd + row);
            return Sources{args.d_y[row], args.x[row], adds ? args.d_sum[row] : nullptr};
        };
        visit(first, std::false_type{}, start, [&](const Sources& from, int r, int p, int at) {
            const auto bring = [&](const T* row, int stream) {
                auto* const to = place(stage, stream, r, p);
                if constexpr (kWide) {
                    tile::copy_async<16>(to, row + at);
                } else {
                    const auto part = tile::load_part<false, N>(row, at, args.width);
                    tile::store_bytes<16>(to, &part);
                }
            };
            bring(from.d_y, 0);
            bring(from.x, 1);
            if (adds) bring(from.d_sum, 2);
        });
        tile::copy_async_commit();
    };
    const auto fetched = [&](int stage, int stream, int r, int p) {
        tile::Vector<T, N> part;
        tile::load_bytes<16>(&part, place(stage, stream, r, p));
        return part;
    };

    // The weight of this thread's columns, where registers hold it beside the sums: as it is used,
    // or as it is stored. Else again and again out of L1, of which the rows leave little.
    constexpr bool kReady = kWide && kParts <= 2, kStored = kWide && kParts == 4;
    tile::Vector<float, N> ready[kReady ? kParts : 1] = {};
    tile::Vector<T, N> stored[kStored ? kParts : 1] = {};
    const bool is_stored = kStored && args.weight.template is<T>();
    if constexpr (kReady || kStored) {
#pragma unroll
        for (int p = 0; p < kParts; ++p) {
            const int part = first_part + p * group;
            if (part >= args.parts) continue;
            if constexpr (kReady) {
                ready[p] = args.weight.template part<kWide, N>(part * N, args.width);
            } else if (is_stored) {
                stored[p] = args.weight.template stored<T, kWide, N>(part * N, args.width);
            }
        }
    }
    const auto weight_at = [&]([[maybe_unused]] int p, [[maybe_unused]] int64_t at) {
        if constexpr (kReady) {
            return ready[p];
        } else {
            if constexpr (kStored) {
                if (is_stored) return args.weight.of(stored[p]);
            }
            return args.weight.template part<kWide, N>(at, args.width);
        }
    };

    tile::Vector<float, N> d_weight[kParts] = {};
    const int ahead = args.stages - 1;
    for (int stage = 0; stage < ahead; ++stage) fetch(side + stage * at_once, stage);

    exchange.begin();
    int stage = 0, turn = 0;
    for (int first = side; first - side < count; first += at_once) {
        fetch(first + ahead * at_once, stage == 0 ? ahead : stage - 1);
        wait_for_all_but(ahead);

        float rstd[kRows] = {}, mean[kRows] = {};
        const auto start = [&](int r, int64_t) {
            rstd[r] = rstds[(stage * kRows + r) * threads];
            return 0;
        };
        visit(first, std::false_type{}, start, [&](int, int r, int p, int at) {
            mean[r] = products(fetched(stage, 0, r, p), fetched(stage, 1, r, p), weight_at(p, at),
                               mean[r]);
        });
        group_sums(mean, group, side, scratch + turn % 2 * kRmsNormScratch);
        if (kShared && args.cluster > 1) {
            mean[0] = cluster_sum(mean[0], args.cluster, exchange, turn);
        }
#pragma unroll
        for (int r = 0; r < kRows; ++r) mean[r] *= rstd[r] * args.inverse_width;
        const auto to = [&](int, int64_t row) { return args.d_x[row]; };
        visit(first, std::true_type{}, to, [&](T* row, int r, int p, int at) {
            store_gradient<kWide>(row, at, args.width, adds,
                                  gradient(fetched(stage, 0, r, p), fetched(stage, 1, r, p),
                                           weight_at(p, at), rstd[r], mean[r], d_weight[p]),
                                  [&] { return fetched(stage, 2, r, p); });
        });
        stage = stage == ahead ? 0 : stage + 1;
        ++turn;
    }

    // The sums of the rows side by side, added in their order, where the rows were.
    tile::copy_async_wait<0>();
    __syncthreads();
    const int own = kParts * group * N;  // columns of this block
    float* const sums = reinterpret_cast<float*>(places);
#pragma unroll
    for (int p = 0; p < kParts; ++p) {
#pragma unroll
        for (int j = 0; j < N; ++j) sums[side * own + (p * group + lane) * N + j] = d_weight[p][j];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < own; i += threads) {
        const int64_t column = static_cast<int64_t>(rank) * own + i;
        if (column >= args.width) break;
        float sum = sums[i];
        for (int s = 1; s < side_by_side; ++s) sum += sums[s * own + i];
        args.partials[block * args.width + column] = sum;
    }
}

// A block reads each of its rows twice, and adds to its partial sums in memory.
template <typename T, bool kWide>
__global__ void __launch_bounds__(kRmsNormThreads)
    rmsnorm_bwd_passes_kernel(RmsNormBackward<T> args) {
    constexpr int N = tile::kLanes<T>;
    float* const scratch = tile::Shared().take<float>(2 * kRmsNormScratch);
    float* const partials = args.partials + blockIdx.x * args.width;
    const int64_t begin = blockIdx.x * args.block_rows;
    const int64_t end = begin + args.block_rows < args.rows ? begin + args.block_rows : args.rows;
    for (int64_t row = begin; row < end; ++row) {
        float mean = 0;
#pragma unroll 2
        for (int64_t part = threadIdx.x; part < args.parts; part += kRmsNormThreads) {
            const int64_t at = part * N;
            mean = products(tile::load_part<kWide, N>(args.d_y[row], at, args.width),
                            tile::load_part<kWide, N>(args.x[row], at, args.width),
                            args.weight.template part<kWide, N>(at, args.width), mean);
        }
        const float rstd = args.rstd[row];
        mean = group_sum(mean, kRmsNormThreads, 0, scratch + (row - begin) % 2 * kRmsNormScratch) *
               (rstd * args.inverse_width);
        for (int64_t part = threadIdx.x; part < args.parts; part += kRmsNormThreads) {
            const int64_t at = part * N;
            tile::Vector<float, N> d_weight = {};
            if (row > begin) d_weight = tile::load_part<false, N>(partials, at, args.width);
            store_gradient<kWide>(
                args.d_x[row], at, args.width, args.d_sum.data != nullptr,
                gradient(tile::load_part<kWide, N>(args.d_y[row], at, args.width),
                         tile::load_part<kWide, N>(args.x[row], at, args.width),
                         args.weight.template part<kWide, N>(at, args.width), rstd, mean, d_weight),
                [&] { return tile::load_part<kWide, N>(args.d_sum[row], at, args.width); });
            tile::store_part<false>(partials, at, args.width, d_weight);
        }
    }
}

}  // namespace

// ------------------------------------------------------------------------------- launchers

void rmsnorm_forward(tile::Launcher& launcher, const caravan_rmsnorm_forward_args& args) {
    const int64_t rows = args.x.shape[0], width = args.x.shape[1];
    if (rows == 0) return;
    if (args.whole > 0) return rmsnorm_part_forward(launcher, args);
    const bool adds = args.residual.data != nullptr;
    const bool wide = wide_rows(args.x) && wide_rows(args.y) && wide_start(args.weight) &&
                      (!adds || (wide_rows(args.residual) && wide_rows(args.sum)));
    const RmsNormConfig config = rmsnorm_forward_config(rows, width, element_bytes(args.x), wide,
                                                        launcher.target().capability);
    with_route(args.x.dtype, wide, [&](auto* tag, auto is_wide) {
        using T = StorageOf<decltype(tag)>;
        constexpr bool kWide = decltype(is_wide)::value;
        RmsNormForward<T> known = forward_of<T>(args);
        known.group = config.group;
        known.cluster = config.cluster;
        tile::Config launch =
            tile::config(ceil_divide(rows, config.rows_at_once()) * config.cluster, config.threads,
                         config.shared_bytes);
        launch.cluster = config.cluster;
        switch (config.parts) {
            case 1:
                return launcher.run(rmsnorm_fwd_kernel<T, 1, 4, kWide>, launch, known);
            case 2:
                return launcher.run(rmsnorm_fwd_kernel<T, 2, 2, kWide>, launch, known);
            case 4:
                return launcher.run(rmsnorm_fwd_kernel<T, 4, 1, kWide>, launch, known);
            case 8:
                if constexpr (kWide) {
                    return launcher.run(rmsnorm_fwd_kernel<T, 8, 1, true>, launch, known);
                }
                break;
            case 16:
                if constexpr (kWide && std::is_same_v<T, float>) {
                    return launcher.run(rmsnorm_fwd_kernel<T, 16, 1, true>, launch, known);
                }
                break;
            case 0:
                return launcher.run(rmsnorm_fwd_passes_kernel<T, kWide>, launch, known);
            default:
                break;
        }
    });
}

void rmsnorm_backward(tile::Launcher& launcher, const caravan_rmsnorm_backward_args& args) {
    const int64_t rows = args.x.shape[0], width = args.x.shape[1];
    if (rows == 0) return;
    if (args.whole > 0) return rmsnorm_part_backward(launcher, args);
    const bool adds = args.d_sum.data != nullptr;
    const Blocks blocks = partial_blocks(CARAVAN_CUDA, rows);
    const bool wide = wide_rows(args.d_y) && wide_rows(args.x) && wide_rows(args.d_x) &&
                      wide_start(args.weight) && (!adds || wide_rows(args.d_sum));
    const RmsNormConfig config =
        rmsnorm_backward_config(blocks.size, width, element_bytes(args.x), adds ? 3 : 2, wide,
                                launcher.target().capability, launcher.target().shared_bytes);
    with_route(args.x.dtype, wide, [&](auto* tag, auto is_wide) {
        using T = StorageOf<decltype(tag)>;
        constexpr bool kWide = decltype(is_wide)::value;
        RmsNormBackward<T> known = backward_of<T>(args, blocks);
        known.group = config.group;
        known.side_by_side = config.side_by_side();
        known.cluster = config.cluster;
        known.streams = adds ? 3 : 2;
        known.stages = config.stages;
        tile::Config launch =
            tile::config(blocks.count * config.cluster, config.threads, config.shared_bytes);
        launch.cluster = config.cluster;
        switch (config.parts) {
            case 1:
                return launcher.run(rmsnorm_bwd_kernel<T, 1, 2, kWide>, launch, known);
            case 2:
                return launcher.run(rmsnorm_bwd_kernel<T, 2, 1, kWide>, launch, known);
            case 4:
                if constexpr (kWide) {
                    return launcher.run(rmsnorm_bwd_kernel<T, 4, 1, true>, launch, known);
                }
                break;
            case 8:
                if constexpr (kWide) {
                    return launcher.run(rmsnorm_bwd_kernel<T, 8, 1, true>, launch, known);
                }
                break;
            case 0:
                return launcher.run(rmsnorm_bwd_passes_kernel<T, kWide>, launch, known);
            default:
                break;
        }
    });
    add_partials(launcher, data<float>(args.workspace), blocks.count, args.d_weight);
}

}  // namespace cuda
}  // namespace caravan
