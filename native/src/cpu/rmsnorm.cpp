// RMSNorm, optionally fused with the residual addition before it, or of a part of every row. Sums
// of a row are float32.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/blocks.h"
#include "cpu/kernels.h"
#include "cpu/partials.h"
#include "cpu/row_dot.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

template <typename T>
void add_row(const T* x, const T* residual, T* sum, int64_t n) {
    for_vectors(n, [&](int64_t i, auto part) {
        store(sum + i, load(x + i, part) + load(residual + i, part), part);
    });
}

template <typename T>
float squares_of(const T* h, int64_t n) {
    return sum_vectors(n, [&](int64_t i, auto part) {
        const Vec v = load(h + i, part);
        return v * v;
    });
}

// y = h * rstd * (offset + weight)
template <typename T, typename W>
void normalise_row(const T* h, const W* weight, float offset, float rstd, T* y, int64_t n) {
    for_vectors(n, [&](int64_t i, auto part) {
        store(y + i, load(h + i, part) * rstd * (load(weight + i, part) + offset), part);
    });
}

// d_x = rstd * (g - n * mean) + d_sum and d_weight += d_y * n, with n = h * rstd,
// g = d_y * (offset + weight) and mean that of g * n. d_sum may be null, and may be d_x.
template <typename T, typename W>
void backward_row(const T* d_y, const T* h, const W* weight, float offset, float rstd, float mean,
                  const T* d_sum, T* d_x, float* d_weight, int64_t n) {
    for_vectors(n, [&](int64_t i, auto part) {
        const Vec dy = load(d_y + i, part);
        const Vec normal = load(h + i, part) * rstd;
        store(d_weight + i, load(d_weight + i, part) + dy * normal, part);
        Vec dx = (dy * (load(weight + i, part) + offset) - normal * mean) * rstd;
        if (d_sum != nullptr) dx += load(d_sum + i, part);
        store(d_x + i, dx, part);
    });
}

}  // namespace

void rmsnorm_forward(Pool& pool, const caravan_rmsnorm_forward_args& args) {
    const int64_t width = args.x.shape[1];
    const bool part = args.whole > 0;
    const auto mean_over = static_cast<float>(part ? args.whole : width);
    const bool adds = args.residual.data != nullptr;
    const Blocks blocks = row_blocks(args.x.shape[0], width);
    with_storage(args.x.dtype, [&](auto tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        with_storage(args.weight.dtype, [&](auto weight_tag) {
            using W = std::remove_pointer_t<decltype(weight_tag)>;
            pool.run(blocks.count, [&](int64_t block, int) {
                for (int64_t r = blocks.begin(block); r < blocks.end(block); ++r) {
                    const T* h = row<T>(args.x, r);
                    if (adds) {
                        // What is normalised is the sum as stored: what a backward will see.
                        add_row(h, row<T>(args.residual, r), row<T>(args.sum, r), width);
                        h = row<T>(args.sum, r);
                    }
                    const float squares =
                        part ? data<float>(args.squares)[r] : squares_of(h, width);
                    const float rstd = 1.0f / std::sqrt(squares / mean_over + args.eps);
                    normalise_row(h, data<W>(args.weight), args.weight_offset, rstd,
                                  row<T>(args.y, r), width);
                    if (args.rstd.data != nullptr) data<float>(args.rstd)[r] = rstd;
                }
            });
        });
    });
}

void rmsnorm_backward(Pool& pool, const caravan_rmsnorm_backward_args& args) {
    const int64_t width = args.x.shape[1];
    const bool part = args.whole > 0;
    const auto mean_over = static_cast<float>(part ? args.whole : width);
    const float offset = args.weight_offset;
    const Blocks blocks = partial_blocks(CARAVAN_CPU, args.x.shape[0]);
    auto* const partials = data<float>(args.workspace);  // [blocks.count, D]
    with_storage(args.x.dtype, [&](auto tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        with_storage(args.weight.dtype, [&](auto weight_tag) {
            using W = std::remove_pointer_t<decltype(weight_tag)>;
            pool.run(blocks.count, [&](int64_t block, int) {
                float* const d_weight = partials + block * width;
                std::fill(d_weight, d_weight + width, 0.0f);
                const W* const weight = data<W>(args.weight);
                for (int64_t r = blocks.begin(block); r < blocks.end(block); ++r) {
                    const T* const d_y = row<T>(args.d_y, r);
                    const T* const h = row<T>(args.x, r);
                    const float rstd = data<float>(args.rstd)[r];
                    const float dot = part ? data<float>(args.dots)[r]
                                           : row_dot(d_y, h, weight, offset, width);
                    backward_row(d_y, h, weight, offset, rstd, dot * rstd / mean_over,
                                 args.d_sum.data == nullptr ? nullptr : row<T>(args.d_sum, r),
                                 row<T>(args.d_x, r), d_weight, width);
                }
            });
        });
    });
    add_partials(pool, partials, blocks.count, args.d_weight);
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
