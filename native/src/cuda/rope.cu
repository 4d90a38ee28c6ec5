// Rotary position embedding, in one pass. A pair (a, b) turned by an angle is (a cos - b sin,
// b cos + a sin); backward turns by the opposite angle, so both are one kernel with the sign of the
// sine. A position without a row in the tables makes what is turned NaN.
//
// A thread turns the same pairs of up to four heads of one token, so that it reads their cosines
// and sines once for all of them.
//
// Bytes: x read once, y written once; the tables once (they stay in L2), 4 bytes a position. In
// place, elements that are not turned are not touched.
#include <algorithm>

#include "cuda/kernels.h"
#include "cuda/tensors.h"
#include "cuda/tile/launch.cuh"

namespace caravan {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kHeads = 4;  // of a thread

template <typename T>
struct Rope {
    const T* x;
    int64_t x_token, x_head;  // strides
    T* y;
    int64_t y_token, y_head;
    const int32_t* positions;
    int64_t known_positions;
    const float *cos, *sin;
    float sign;
    int64_t tokens;
    int heads, pairs, width;
    int turning, copying;  // threads for the pairs of a head, and for what is only copied
    int tasks;             // threads of a token
    int tokens_a_block;
};

// Of the heads from `head` on: elements `low` and `high` on to kVector of them each.
template <int kVector, typename T>
struct Pieces {
    tile::Vector<T, kVector> low[kHeads], high[kHeads];

    __device__ __forceinline__ void load(const T* x, int64_t stride, int heads, int64_t low_at,
                                         int64_t high_at, bool has_high) {
#pragma unroll
        for (int h = 0; h < kHeads; ++h) {
            if (h >= heads) continue;
            low[h] = tile::load<kVector>(x + h * stride + low_at);
            if (has_high) high[h] = tile::load<kVector>(x + h * stride + high_at);
        }
    }
    __device__ __forceinline__ void store(T* y, int64_t stride, int heads, int64_t low_at,
                                          int64_t high_at, bool has_high) const {
#pragma unroll
        for (int h = 0; h < kHeads; ++h) {
            if (h >= heads) continue;
            tile::store(y + h * stride + low_at, low[h]);
            if (has_high) tile::store(y + h * stride + high_at, high[h]);
        }
    }
};

// float32 of a table that many threads read.
template <int kVector>
__device__ __forceinline__ tile::Vector<float, kVector> load_table(const float* from) {
    constexpr int kPart = kVector < 4 ? kVector : 4;
    tile::Vector<float, kVector> value;
#pragma unroll
    for (int i = 0; i < kVector; i += kPart) {
        const auto part = tile::load<kPart>(from + i);
#pragma unroll
        for (int j = 0; j < kPart; ++j) value[i + j] = part[j];
    }
    return value;
}

// Fused by hand, so that all instantiations give the same bits.
__device__ __forceinline__ void turn_pair(float& a, float& b, float cos, float sin) {
    const float before = a;
    a = fmaf(before, cos, -(b * sin));
    b = fmaf(b, cos, before * sin);
}

// kVector pairs. The half layout has their first elements in `low` and their second ones in `high`;
// the interleaved one has them side by side, half of the pairs in each.
template <int kVector, bool kHalf, typename T>
__device__ __forceinline__ void turn(tile::Vector<T, kVector>& low, tile::Vector<T, kVector>& high,
                                     const tile::Vector<float, kVector>& cos,
                                     const tile::Vector<float, kVector>& sin) {
    auto first = tile::to_floats(low), second = tile::to_floats(high);
    if constexpr (kHalf || kVector == 1) {
#pragma unroll
        for (int i = 0; i < kVector; ++i) turn_pair(first[i], second[i], cos[i], sin[i]);
    } else {
        constexpr int kPairs = kVector / 2;
#pragma unroll
        for (int i = 0; i < kPairs; ++i) {
            turn_pair(first[2 * i], first[2 * i + 1], cos[i], sin[i]);
            turn_pair(second[2 * i], second[2 * i + 1], cos[kPairs + i], sin[kPairs + i]);
        }
    }
    low = tile::from_floats<T>(first);
    high = tile::from_floats<T>(second);
}

template <typename T, int kVector, bool kHalf>
__global__ void __launch_bounds__(kThreads) rope_kernel(Rope<T> r) {
    const auto thread = static_cast<int>(threadIdx.x);
    for (int task = thread; task < r.tokens_a_block * r.tasks;
         task += static_cast<int>(blockDim.x)) {
        const int64_t t = static_cast<int64_t>(blockIdx.x) * r.tokens_a_block + task / r.tasks;
        if (t >= r.tokens) return;
        const int of_token = task % r.tasks;
        const int groups = r.turning + r.copying;
        const int group = of_token % groups, head = of_token / groups * kHeads;
        const int heads = min(kHeads, r.heads - head);
        const T* const x = r.x + t * r.x_token + head * r.x_head;
        T* const y = r.y + t * r.y_token + head * r.y_head;
        Pieces<kVector, T> pieces;
        if (group >= r.turning) {
            const int at = 2 * r.pairs + (group - r.turning) * 2 * kVector;
            const bool two = at + kVector < r.width;
            pieces.load(x, r.x_head, heads, at, at + kVector, two);
            pieces.store(y, r.y_head, heads, at, at + kVector, two);
            continue;
        }
        const int pair = group * kVector;
        const int low = kHalf ? pair : 2 * pair;
        const int high = kHalf ? r.pairs + pair : 2 * pair + kVector;
        pieces.load(x, r.x_head, heads, low, high, true);
        const int64_t position = r.positions[t];
        tile::Vector<float, kVector> cos, sin;
        if (position >= 0 && position < r.known_positions) {
            cos = load_table<kVector>(r.cos + position * r.pairs + pair);
            sin = load_table<kVector>(r.sin + position * r.pairs + pair);
        } else {
#pragma unroll
            for (int i = 0; i < kVector; ++i) cos[i] = sin[i] = NAN;
        }
#pragma unroll
        for (int i = 0; i < kVector; ++i) sin[i] *= r.sign;
#pragma unroll
        for (int h = 0; h < kHeads; ++h) {
            if (h < heads) turn<kVector, kHalf>(pieces.low[h], pieces.high[h], cos, sin);
        }
        pieces.store(y, r.y_head, heads, low, high, true);
    }
}

// Whether heads begin at multiples of 16 bytes, both parts of a turned one too.
bool wide_heads(const caravan_tensor& heads, int64_t pairs) {
    const int64_t unit = element_bytes(heads);
    return tile::wide(heads.data, pairs, unit) && heads.shape[2] * unit % 16 == 0 &&
           (heads.shape[0] <= 1 || tile::wide(heads.data, heads.stride[0], unit)) &&
           (heads.shape[1] <= 1 || tile::wide(heads.data, heads.stride[1], unit));
}

bool in_place(const caravan_rope_args& args) {
    return args.x.data == args.y.data && args.x.stride[0] == args.y.stride[0] &&
           args.x.stride[1] == args.y.stride[1];
}

void rotate(tile::Launcher& launcher, const caravan_rope_args& args, float sign) {
    if (element_count(args.x) == 0) return;
    const int64_t tokens = args.x.shape[0], heads = args.x.shape[1], width = args.x.shape[2];
    const int64_t pairs = args.cos.shape[1];
    if (heads * width > 1 << 30) {
        return launcher.refuse("needs tokens of at most 2^30 elements, got %lld",
                               static_cast<long long>(heads * width));
    }
    const int64_t copied = in_place(args) ? 0 : width - 2 * pairs;
    const int64_t chunks = (heads + kHeads - 1) / kHeads;
    with_storage(args.x.dtype, [&](auto* tag) {
        using T = StorageOf<decltype(tag)>;
        const auto start = [&](auto kernel, int64_t vector) {
            const int64_t turning = pairs / vector;
            const int64_t copying = (copied + 2 * vector - 1) / (2 * vector);
            const int64_t tasks = (turning + copying) * chunks;
            if (tasks == 0) return;
            const int64_t tokens_a_block = std::max<int64_t>(1, kThreads / tasks);
            const int64_t threads = std::min<int64_t>(kThreads, tokens_a_block * tasks);
            launcher.run(
                kernel,
                tile::config(
                    (tokens + tokens_a_block - 1) / tokens_a_block,
                    static_cast<int>((threads + tile::kWarp - 1) / tile::kWarp * tile::kWarp)),
                Rope<T>{data<T>(args.x), args.x.stride[0], args.x.stride[1], data<T>(args.y),
                        args.y.stride[0], args.y.stride[1], data<int32_t>(args.positions),
                        args.cos.shape[0], data<float>(args.cos), data<float>(args.sin), sign,
                        tokens, static_cast<int>(heads), static_cast<int>(pairs),
                        static_cast<int>(width), static_cast<int>(turning),
                        static_cast<int>(copying), static_cast<int>(tasks),
                        static_cast<int>(tokens_a_block)});
        };
        constexpr int kWide = tile::kLanes<T>;
        const bool wide = pairs % kWide == 0 && wide_start(args.cos) && wide_start(args.sin) &&
                          wide_heads(args.x, pairs) && wide_heads(args.y, pairs);
        const bool half = args.layout == CARAVAN_ROPE_HALF;
        if (wide && half) {
            start(rope_kernel<T, kWide, true>, kWide);
        } else if (wide) {
            start(rope_kernel<T, kWide, false>, kWide);
        } else if (half) {
            start(rope_kernel<T, 1, true>, 1);
        } else {
            start(rope_kernel<T, 1, false>, 1);
        }
    });
}

}  // namespace

void rope_forward(tile::Launcher& launcher, const caravan_rope_args& args) {
    rotate(launcher, args, 1.0f);
}

void rope_backward(tile::Launcher& launcher, const caravan_rope_args& args) {
    rotate(launcher, args, -1.0f);
}

}  // namespace cuda
}  // namespace caravan
