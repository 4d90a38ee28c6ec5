// Soft-max cross-entropy of a chunk of logit rows, with its gradient in place.
//
// Kept route: the row is copied once into the shared memory of a block or of the blocks of a
// cluster (from capability 9.0 on), which keep it until its sum is known and write the gradient
// from there. Each thread copies what it works on itself, so that none waits for another's copies.
// Reread route: the row is too long for that, or no gradient is asked for. Maximum and sum are
// found together (Milakov and Gimelshein 2018, arXiv 1805.02867, algorithm 3). A target or a count
// that cannot be makes the row, or all rows, NaN, and so the loss.
//
// Bytes, of the R * V logits: kept route one read and one write (rows up to 8 times the shared
// memory of a block on capability 9.0 and later: 1.7 MiB there; else up to half of it); reread
// route two reads, the second of them partly from L2, and one write, or one read without gradient.
// Rows not in use: one write. Besides, 12 bytes a row. Of a part of the classes, whose statistics
// are known: one read and one write, and 12 bytes a row and part; nothing of the logits without
// gradient.
#include <algorithm>

#include "cuda/cluster_exchange.cuh"
#include "cuda/kernels.h"
#include "cuda/soft_max.cuh"
#include "cuda/tensors.h"
#include "cuda/tile/copy_async.cuh"
#include "cuda/tile/launch.cuh"
#include "cuda/tile/math.cuh"
#include "cuda/tile/reduce.cuh"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {
namespace {

constexpr int kMaxThreads = 256;
constexpr int kAtOnce = 4;  // vectors that a thread loads or copies as one
constexpr int kAhead = 3;   // such copies that are under way
constexpr int64_t kSliceBytes = 32 << 10;  // of a row, that a block of a cluster keeps
constexpr int kSumThreads = 256;

template <typename T>
struct Problem {
    T* logits;
    int64_t stride;
    int vocabulary;
    const int32_t* targets;
    int64_t target_count;
    const int32_t* count;
    float* nll;
    caravan_step_state* state;
    int64_t first;
    bool gradient;
    int blocks;  // of a row: a cluster
};

// Negative log-likelihood. What a loss is the difference of may be large: that in double.
__device__ __forceinline__ float nll_of(const SoftMax& s, float target_logit) {
    const double above = static_cast<double>(s.max) - static_cast<double>(target_logit);
    return static_cast<float>(above + static_cast<double>(logf(s.sum)));
}

// Brings all threads of the row's blocks to the same maximum and sum.
__device__ __forceinline__ SoftMax combine(SoftMax s, int blocks,
                                           const ClusterExchange<SoftMax>& exchange,
                                           float* scratch) {
    SoftMax all;
    all.max = tile::block_reduce(s.max, Larger{}, -INFINITY, scratch);
    all.sum = tile::block_sum(s.sum * expf(s.max - shift_of(all.max)), scratch);
    if (blocks == 1) return all;
    exchange.begin();
    const SoftMax* const of_blocks = exchange(all, 0);
    s = {};
    for (int i = 0; i < blocks; ++i) s.max = fmaxf(s.max, of_blocks[i].max);
    for (int i = 0; i < blocks; ++i) {
        s.sum += of_blocks[i].sum * expf(of_blocks[i].max - shift_of(s.max));
    }
    return s;
}

// Blocks that a multiprocessor holds at once: 6 slices fit into its shared memory on sm_90a;
// elsewhere 5 do at the most.
template <bool kKept>
inline constexpr int kResident = !kKept ? 4 : 5 + CARAVAN_SM90A;

template <typename T, bool kKept>
__global__ void __launch_bounds__(kMaxThreads, kResident<kKept>)
    cross_entropy_fwd_kernel(Problem<T> p) {
    constexpr int kVector = Row<T>::kVector;
    using Values = tile::Vector<T, kVector>;
    const auto thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
    const int rank = p.blocks == 1 ? 0 : static_cast<int>(tile::cluster_rank());
    const int64_t i = blockIdx.x / p.blocks;
    const Row<T> row(p.logits + i * p.stride, p.vocabulary, rank, p.blocks);

    const int64_t in_use = *p.count;
    const bool bad_count = in_use < 0 || in_use > p.target_count;
    if (i >= (bad_count ? p.target_count : in_use) - p.first) {  // the same for a whole cluster
        if (p.gradient) fill(row, tile::from_float<T>(bad_count ? NAN : 0.0f));
        return;
    }
    tile::Shared shared;
    float* const scratch = shared.take<float>(tile::kReduceScratch);
    const ClusterExchange<SoftMax> exchange(shared, p.blocks);
    Values* const kept = shared.take<Values>(kKept ? row.count : 0, 16);
    const auto fetch = [&](int first) {
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
            const int at = first + j * threads;
            if (at < row.count) tile::copy_async<16>(kept + at, row.vector(at));
        }
        tile::copy_async_commit();
    };
    if constexpr (kKept) {
#pragma unroll
        for (int ahead = 0; ahead < kAhead; ++ahead) fetch(thread + ahead * kAtOnce * threads);
    }

    const int64_t k = p.first + i;
    const int target = p.targets[k];
    const bool bad = bad_count || target < 0 || target >= p.vocabulary;
    const float target_logit = bad ? NAN : tile::to_float(row.elements[target]);

    SoftMax s;
    const bool has_edge = row.has_edge(thread);
    float edge = 0.0f;
    if (has_edge) {
        edge = tile::to_float(*row.edge(thread));
        const float values[1] = {edge};
        add<T>(s, values);
    }
    const auto part_at = [&](int at) {
        Values part;
        if constexpr (kKept) {
            tile::load_bytes<16>(&part, kept + at);
        } else {
            part = tile::load<kVector>(row.vector(at));
        }
        return part;
    };
    const auto read = [&](int at, auto vectors) {
        constexpr int kVectors = decltype(vectors)::value;
        Values parts[kVectors];
#pragma unroll
        for (int j = 0; j < kVectors; ++j) parts[j] = part_at(at + j * threads);
        float values[kVectors * kVector];
#pragma unroll
        for (int j = 0; j < kVectors; ++j) {
            const auto part = tile::to_floats(parts[j]);
#pragma unroll
            for (int n = 0; n < kVector; ++n) values[j * kVector + n] = part[n];
        }
        add<T>(s, values);
    };
    // Out of shared memory two at once are enough.
    constexpr int kTogether = kKept ? 2 : kAtOnce;
    for (int first = thread; first < row.count; first += kAtOnce * threads) {
        if constexpr (kKept) tile::copy_async_wait<kAhead - 1>();
        const int end = min(row.count, first + kAtOnce * threads);
        int at = first;
        for (; at + (kTogether - 1) * threads < end; at += kTogether * threads) {
            read(at, std::integral_constant<int, kTogether>{});
        }
        for (; at < end; at += threads) read(at, std::integral_constant<int, 1>{});
        if constexpr (kKept) fetch(first + kAhead * kAtOnce * threads);
    }

    s = combine(s, p.blocks, exchange, scratch);
    if (rank == 0 && thread == 0) p.nll[k] = nll_of(s, target_logit);
    if (!p.gradient) return;

    const float scale = p.state->inv_targets;
    const float factor = bad ? NAN : scale / s.sum;
    const auto turned = [&](float x) { return exponential<T>(x - s.max) * factor; };
#pragma unroll kAtOnce
    for (int at = thread; at < row.count; at += threads) {
        auto values = tile::to_floats(part_at(at));
#pragma unroll
        for (int n = 0; n < kVector; ++n) values[n] = turned(values[n]);
        tile::store(row.vector(at), tile::from_floats<T>(values));
    }
    if (has_edge) *row.edge(thread) = tile::from_float<T>(turned(edge));
    if (!bad && row.owns(target, thread, threads)) {
        // p - 1 = exp(-nll) - 1, without the cancellation that p near 1 would bring.
        row.elements[target] = tile::from_float<T>(expm1f(-nll_of(s, target_logit)) * scale);
    }
}

// Of a part of the classes, where maximum, sum and the target's logit of each part are known.
struct Parts {
    const float* statistics;  // [count, rows, 3]
    int count;
    int64_t rows;
    int own;  // columns that are no padding
    int64_t first_class, classes;
};

// One block a row, which is read only where its gradient is asked for.
template <typename T>
__global__ void __launch_bounds__(kMaxThreads)
    cross_entropy_part_kernel(Problem<T> p, Parts parts) {
    constexpr int kVector = Row<T>::kVector;
    const auto thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
    const int64_t i = blockIdx.x;
    T* const elements = p.logits + i * p.stride;

    const int64_t in_use = *p.count;
    const bool bad_count = in_use < 0 || in_use > p.target_count;
    if (i >= (bad_count ? p.target_count : in_use) - p.first) {
        const Row<T> whole(elements, p.vocabulary, 0, 1);
        if (p.gradient) fill(whole, tile::from_float<T>(bad_count ? NAN : 0.0f));
        return;
    }
    // All threads, in the order of the parts. fmaxf passes by a NaN, the sum does not.
    const float* const first = parts.statistics + 3 * i;
    SoftMax s;
    float target_logit = -INFINITY;
    for (int part = 0; part < parts.count; ++part) {
        const float* const its = first + part * 3 * parts.rows;
        s.max = fmaxf(s.max, its[0]);
        target_logit = fmaxf(target_logit, its[2]);
    }
    for (int part = 0; part < parts.count; ++part) {
        const float* const its = first + part * 3 * parts.rows;
        s.sum += its[1] * expf(its[0] - shift_of(s.max));
    }
    const int64_t k = p.first + i;
    const int64_t target = p.targets[k];
    const bool bad = bad_count || target < 0 || target >= parts.classes;
    if (bad) target_logit = NAN;
    if (thread == 0) p.nll[k] = nll_of(s, target_logit);
    if (!p.gradient) return;

    const float scale = p.state->inv_targets;
    const float factor = bad ? NAN : scale / s.sum;
    const auto turned = [&](float x) { return exponential<T>(x - s.max) * factor; };
    const Row<T> row(elements, parts.own, 0, 1);
#pragma unroll kAtOnce
    for (int at = thread; at < row.count; at += threads) {
        auto values = tile::to_floats(tile::load<kVector>(row.vector(at)));
#pragma unroll
        for (int n = 0; n < kVector; ++n) values[n] = turned(values[n]);
        tile::store(row.vector(at), tile::from_floats<T>(values));
    }
    if (row.has_edge(thread)) {
        *row.edge(thread) = tile::from_float<T>(turned(tile::to_float(*row.edge(thread))));
    }
    for (int column = parts.own + thread; column < p.vocabulary; column += threads) {
        elements[column] = tile::from_float<T>(0.0f);
    }
    const int64_t place = target - parts.first_class;
    if (bad || place < 0 || place >= parts.own) return;
    if (row.owns(static_cast<int>(place), thread, threads)) {
        elements[place] = tile::from_float<T>(expm1f(-nll_of(s, target_logit)) * scale);
    }
}

// state.loss_sum += the rows' nll, in an order that is always the same. One block.
__global__ void __launch_bounds__(kSumThreads)
    cross_entropy_sum_kernel(const int32_t* count, const float* nll, int64_t target_count,
                             int64_t first, int64_t rows, caravan_step_state* state) {
    tile::Shared shared;
    auto* const scratch = shared.take<double>(tile::kReduceScratch);
    const int64_t in_use = *count;
    const bool bad = in_use < 0 || in_use > target_count;
    const int64_t used = bad ? 0 : min(rows, in_use - first);
    double sum = bad ? NAN : 0.0;
    for (int64_t i = threadIdx.x; i < used; i += kSumThreads) {
        sum += static_cast<double>(nll[first + i]);
    }
    sum = tile::block_sum(sum, scratch);
    if (threadIdx.x == 0) state->loss_sum += sum;
}

tile::SharedLayout layout(int64_t vectors) {
    tile::SharedLayout layout;
    layout.take<float>(tile::kReduceScratch);
    ClusterExchange<SoftMax>::layout(layout);
    layout.take<uint4>(vectors, 16);
    return layout;
}

// How many blocks a row is cut into, and how much each keeps; 0 where a row must be read again.
struct Cut {
    int blocks;
    int64_t vectors;
};

Cut cut(const tile::Target& target, int64_t row_bytes, bool gradient) {
    const int64_t vectors = row_bytes / 16;
    if (!gradient) return {1, 0};
    const int most = target.capability >= 90 ? kExchangeBlocks : 1;
    int blocks = 1;
    while (blocks < most && vectors > blocks * (kSliceBytes / 16)) blocks *= 2;
    const int64_t slice = (vectors + blocks - 1) / blocks;
    // Two rows at once in a multiprocessor, or it waits while one is reduced; a cluster's other
    // rows are in others.
    const int64_t bytes = layout(slice).bytes() * (most == 1 ? 2 : 1);
    if (bytes > target.shared_bytes) return {1, 0};
    return {blocks, slice};
}

int threads_for(int64_t vectors) {
    int threads = 64;
    while (threads < kMaxThreads && vectors > threads * 2 * kAtOnce) threads *= 2;
    return threads;
}

}  // namespace

void cross_entropy_forward(tile::Launcher& launcher, const caravan_cross_entropy_args& args) {
    const int64_t rows = args.logits.shape[0], vocabulary = args.logits.shape[1];
    if (rows == 0) return;
    if (vocabulary > 1 << 30) {
        return launcher.refuse("needs logits of at most 2^30 columns, got %lld",
                               static_cast<long long>(vocabulary));
    }
    with_storage(args.logits.dtype, [&](auto* tag) {
        using T = StorageOf<decltype(tag)>;
        const int64_t row_bytes = vocabulary * static_cast<int64_t>(sizeof(T));
        const bool of_parts = args.statistics.data != nullptr;
        const Cut by = of_parts ? Cut{1, 0} : cut(launcher.target(), row_bytes, args.gradient != 0);
        const Problem<T> problem = {data<T>(args.logits),
                                    row_stride(args.logits),
                                    static_cast<int>(vocabulary),
                                    data<int32_t>(args.targets),
                                    args.targets.shape[0],
                                    data<int32_t>(args.count),
                                    data<float>(args.nll),
                                    data<caravan_step_state>(args.state),
                                    args.first,
                                    args.gradient != 0,
                                    by.blocks};
        if (of_parts) {
            const int64_t own =
                std::min(vocabulary, std::max<int64_t>(args.classes - args.first_class, 0));
            const Parts parts = {data<float>(args.statistics),
                                 static_cast<int>(args.statistics.shape[0]),
                                 rows,
                                 static_cast<int>(own),
                                 args.first_class,
                                 args.classes};
            return launcher.run(cross_entropy_part_kernel<T>,
                                tile::config(rows, threads_for(row_bytes / 16)), problem, parts);
        }
        const bool kept = by.vectors > 0;
        const int64_t slice = kept ? by.vectors : row_bytes / 16;
        tile::Config config =
            tile::config(rows * by.blocks, threads_for(slice), layout(by.vectors).bytes());
        config.cluster = by.blocks;
        if (kept) {
            launcher.run(cross_entropy_fwd_kernel<T, true>, config, problem);
        } else {
            launcher.run(cross_entropy_fwd_kernel<T, false>, config, problem);
        }
    });
    tile::SharedLayout scratch;
    scratch.take<double>(tile::kReduceScratch);
    launcher.run(cross_entropy_sum_kernel, tile::config(1, kSumThreads, scratch.bytes()),
                 data<int32_t>(args.count), data<float>(args.nll), args.targets.shape[0],
                 args.first, rows, data<caravan_step_state>(args.state));
}

}  // namespace cuda
}  // namespace caravan
