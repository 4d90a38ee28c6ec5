// Rotary position embedding. A pair (a, b) turned by an angle is (a cos - b sin, b cos + a sin);
// the backward pass turns by the opposite angle, so both are one function of the sign of the sine.
#include <type_traits>

#include "core/blocks.h"
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

// Pairs (i, i + pairs).
template <typename T>
void rotate_half(const T* x, T* y, const float* cos, const float* sin, float sign, int64_t pairs) {
    for_vectors(pairs, [&](int64_t i, auto part) {
        const Vec c = load(cos + i, part), s = load(sin + i, part) * sign;
        const Vec a = load(x + i, part), b = load(x + pairs + i, part);
        store(y + i, a * c - b * s, part);
        store(y + pairs + i, b * c + a * s, part);
    });
}

// Pairs (2i, 2i + 1): two vectors are parted into first and second elements, turned, and merged.
template <typename T>
void rotate_interleaved(const T* x, T* y, const float* cos, const float* sin, float sign,
                        int64_t pairs) {
    int64_t i = 0;
    for (; i + kLanes <= pairs; i += kLanes) {
        const Vec low = load(x + 2 * i), high = load(x + 2 * i + kLanes);
        const Vec c = load(cos + i), s = load(sin + i) * sign;
        const Vec a = evens(low, high), b = odds(low, high);
        const Vec turned_a = a * c - b * s, turned_b = b * c + a * s;
        store(y + 2 * i, merge_low(turned_a, turned_b));
        store(y + 2 * i + kLanes, merge_high(turned_a, turned_b));
    }
    for (; i < pairs; ++i) {
        const float a = to_float(x[2 * i]), b = to_float(x[2 * i + 1]);
        const float c = cos[i], s = sin[i] * sign;
        y[2 * i] = from_float<T>(a * c - b * s);
        y[2 * i + 1] = from_float<T>(b * c + a * s);
    }
}

void rotate(Pool& pool, const caravan_rope_args& args, float sign) {
    const int64_t heads = args.x.shape[1];
    const int64_t width = args.x.shape[2];
    const int64_t pairs = args.cos.shape[1];
    const Blocks blocks = row_blocks(args.x.shape[0], heads * width);
    with_storage(args.x.dtype, [&](auto tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        pool.run(blocks.count, [&](int64_t block, int) {
            for (int64_t t = blocks.begin(block); t < blocks.end(block); ++t) {
                const int64_t position = data<int32_t>(args.positions)[t];
                const float* const cos = data<float>(args.cos) + position * pairs;
                const float* const sin = data<float>(args.sin) + position * pairs;
                for (int64_t head = 0; head < heads; ++head) {
                    const T* const x = row<T>(args.x, t) + head * args.x.stride[1];
                    T* const y = row<T>(args.y, t) + head * args.y.stride[1];
                    if (args.layout == CARAVAN_ROPE_HALF) {
                        rotate_half(x, y, cos, sin, sign, pairs);
                    } else {
                        rotate_interleaved(x, y, cos, sin, sign, pairs);
                    }
                    if (y == x) continue;
                    for (int64_t i = 2 * pairs; i < width; ++i) y[i] = x[i];
                }
            }
        });
    });
}

}  // namespace

void rope_forward(Pool& pool, const caravan_rope_args& args) { rotate(pool, args, 1.0f); }

void rope_backward(Pool& pool, const caravan_rope_args& args) { rotate(pool, args, -1.0f); }

}  // namespace CARAVAN_ISA
}  // namespace caravan
