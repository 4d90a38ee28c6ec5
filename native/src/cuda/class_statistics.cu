// Maximum, sum and the target's logit of a chunk of rows, of a part of the classes. One block a
// row, read once. A target or a count that cannot be makes the statistics of the row, or of all
// rows, NaN, and with them the loss.
//
// Bytes: the R * V logits once, of rows in use; besides, 16 bytes a row.
#include <algorithm>

#include "cuda/kernels.h"
#include "cuda/soft_max.cuh"
#include "cuda/tensors.h"
#include "cuda/tile/launch.cuh"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {
namespace {

constexpr int kMaxThreads = 256;
constexpr int kAtOnce = 4;  // vectors that a thread loads together

template <typename T>
struct Problem {
    T* logits;
    int64_t stride;
    int own;  // columns that are no padding
    const int32_t* targets;
    int64_t target_count;
    const int32_t* count;
    float* statistics;
    int64_t first, first_class, classes;
};

template <typename T>
__global__ void __launch_bounds__(kMaxThreads, 4) class_statistics_fwd_kernel(Problem<T> p) {
    constexpr int kVector = Row<T>::kVector;
    const auto thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
    const int64_t i = blockIdx.x;
    float* const to = p.statistics + 3 * i;

    const int64_t in_use = *p.count;
    const bool bad_count = in_use < 0 || in_use > p.target_count;
    if (bad_count || i >= in_use - p.first) {
        if (thread < 3) to[thread] = bad_count ? NAN : thread == 1 ? 0.0f : -INFINITY;
        return;
    }
    tile::Shared shared;
    float* const scratch = shared.take<float>(tile::kReduceScratch);
    const Row<T> row(p.logits + i * p.stride, p.own, 0, 1);
    SoftMax s;
    if (row.has_edge(thread)) {
        const float values[1] = {tile::to_float(*row.edge(thread))};
        add<T>(s, values);
    }
    const auto read = [&](int at, auto vectors) {
        constexpr int kVectors = decltype(vectors)::value;
        tile::Vector<T, kVector> parts[kVectors];
#pragma unroll
        for (int j = 0; j < kVectors; ++j) {
            parts[j] = tile::load<kVector>(row.vector(at + j * threads));
        }
        float values[kVectors * kVector];
#pragma unroll
        for (int j = 0; j < kVectors; ++j) {
            const auto part = tile::to_floats(parts[j]);
#pragma unroll
            for (int n = 0; n < kVector; ++n) values[j * kVector + n] = part[n];
        }
        add<T>(s, values);
    };
    int at = thread;
    for (; at + (kAtOnce - 1) * threads < row.count; at += kAtOnce * threads) {
        read(at, std::integral_constant<int, kAtOnce>{});
    }
    for (; at < row.count; at += threads) read(at, std::integral_constant<int, 1>{});

    const float max = tile::block_reduce(s.max, Larger{}, -INFINITY, scratch);
    const float sum = tile::block_sum(s.sum * expf(s.max - shift_of(max)), scratch);
    if (thread != 0) return;
    const int64_t target = p.targets[p.first + i];
    const int64_t place = target - p.first_class;
    float target_logit = -INFINITY;
    if (target < 0 || target >= p.classes) {
        target_logit = NAN;
    } else if (place >= 0 && place < p.own) {
        target_logit = tile::to_float(row.elements[place]);
    }
    to[0] = max;
    to[1] = sum;
    to[2] = target_logit;
}

}  // namespace

void class_statistics_forward(tile::Launcher& launcher, const caravan_class_statistics_args& args) {
    const int64_t rows = args.logits.shape[0], columns = args.logits.shape[1];
    if (rows == 0) return;
    if (columns > 1 << 30) {
        return launcher.refuse("needs logits of at most 2^30 columns, got %lld",
                               static_cast<long long>(columns));
    }
    const int64_t own = std::min(columns, std::max<int64_t>(args.classes - args.first_class, 0));
    tile::SharedLayout layout;
    layout.take<float>(tile::kReduceScratch);
    with_storage(args.logits.dtype, [&](auto* tag) {
        using T = StorageOf<decltype(tag)>;
        const Problem<T> problem = {data<T>(args.logits),
                                    row_stride(args.logits),
                                    static_cast<int>(own),
                                    data<int32_t>(args.targets),
                                    args.targets.shape[0],
                                    data<int32_t>(args.count),
                                    data<float>(args.statistics),
                                    args.first,
                                    args.first_class,
                                    args.classes};
        const int64_t vectors = columns / Row<T>::kVector;
        int threads = 64;
        while (threads < kMaxThreads && vectors > threads * 2 * kAtOnce) threads *= 2;
        launcher.run(class_statistics_fwd_kernel<T>, tile::config(rows, threads, layout.bytes()),
                     problem);
    });
}

}  // namespace cuda
}  // namespace caravan
