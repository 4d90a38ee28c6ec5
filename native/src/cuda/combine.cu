// The rows of a token's choices, weighted and added in their order.
// Bytes: each row in use once, each token's sum once.
#include "cuda/kernels.h"
#include "cuda/rows.cuh"
#include "cuda/tensors.h"

namespace caravan {
namespace cuda {
namespace {

constexpr int kAtOnce = 4;  // rows that are loaded before the first is added

template <typename T, int kVector>
__global__ void __launch_bounds__(kRowThreads)
    combine_kernel(const T* x, int64_t x_stride, int32_t x_rows, const int32_t* slots,
                   const float* weights, int32_t choices, T* y, int64_t y_stride, int64_t tokens,
                   int64_t width, int shift) {
    const RowPlace at = row_place(shift);
    if (at.row >= tokens) return;
    slots += at.row * choices;
    if (weights != nullptr) weights += at.row * choices;
    const int64_t step = static_cast<int64_t>(at.lanes) * kVector;
    for (int64_t i = static_cast<int64_t>(at.lane) * kVector; i < width; i += step) {
        tile::Vector<float, kVector> sum = {};
        bool first = true, bad = false;
        for (int32_t c = 0; c < choices; c += kAtOnce) {
            tile::Vector<T, kVector> part[kAtOnce];
            bool counts[kAtOnce];
#pragma unroll
            for (int j = 0; j < kAtOnce; ++j) {
                const int32_t slot = c + j < choices ? slots[c + j] : -1;
                counts[j] = slot >= 0 && slot < x_rows;
                bad |= slot >= x_rows;
                if (counts[j]) part[j] = tile::load<kVector>(x + slot * x_stride + i);
            }
#pragma unroll
            for (int j = 0; j < kAtOnce; ++j) {
                if (!counts[j]) continue;
                auto value = tile::to_floats(part[j]);
                const float weight = weights == nullptr ? 1.0f : weights[c + j];
#pragma unroll
                for (int k = 0; k < kVector; ++k) {
                    value[k] *= weight;
                    // One row comes back as it is, -0 too.
                    sum[k] = first ? value[k] : sum[k] + value[k];
                }
                first = false;
            }
        }
        if (bad) {
#pragma unroll
            for (int k = 0; k < kVector; ++k) sum[k] = NAN;
        }
        tile::store(y + at.row * y_stride + i, tile::from_floats<T>(sum));
    }
}

}  // namespace

void combine_forward(tile::Launcher& launcher, const caravan_combine_args& args) {
    const int64_t tokens = args.y.shape[0], width = args.y.shape[1];
    if (tokens == 0 || width == 0) return;
    with_storage(args.y.dtype, [&](auto tag) {
        using T = StorageOf<decltype(tag)>;
        const auto start = [&](auto vector) {
            constexpr int kVector = decltype(vector)::value;
            const int shift = row_shift(width / kVector);
            launcher.run(combine_kernel<T, kVector>, row_config(tokens, shift), data<T>(args.x),
                         row_stride(args.x), static_cast<int32_t>(args.x.shape[0]),
                         data<int32_t>(args.slots), data<float>(args.weights),
                         static_cast<int32_t>(args.slots.shape[1]), data<T>(args.y),
                         row_stride(args.y), tokens, width, shift);
        };
        if (wide_rows(args.x) && wide_rows(args.y)) {
            start(std::integral_constant<int, tile::kLanes<T>>{});
        } else {
            start(std::integral_constant<int, 1>{});
        }
    });
}

}  // namespace cuda
}  // namespace caravan
