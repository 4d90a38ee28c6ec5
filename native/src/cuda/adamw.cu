// AdamW in one pass and one launch over the whole flat buffer.
// Bytes an element: param, remainder, m and v once read and once written, grad once read: with a
// float32 gradient and moments 28 for a float32 parameter, and as many for bfloat16 with its
// remainder; all but the master in bfloat16: 18. Besides: the state and a few segments a block.
#include "core/adamw_step.h"
#include "cuda/kernels.h"
#include "cuda/master.cuh"
#include "cuda/tensors.h"
#include "cuda/tile/math.cuh"
#include "cuda/tile/part.cuh"
#include "cuda/tile/random.cuh"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 8;  // elements, all loaded before the first is used
constexpr int kPerBlock = kThreads * kPerThread;

// A thread's neighbouring elements: 16 bytes of the widest that is written. With more, the stores
// of a warp would each leave gaps that only the next one fills.
template <typename P, typename M>
inline constexpr int kUnitOf = sizeof(P) + sizeof(M) == 4 ? 8 : 4;

template <typename P, typename G, typename M>
struct Buffers {
    P* param;
    uint16_t* remainder;  // for bf16 parameters
    const G* grad;
    M* m;
    M* v;
    int64_t count;
};

// Segments as they lie in device memory, where nobody has checked them.
struct Segments {
    const caravan_segment* at;
    int64_t count;
    int64_t elements;  // of the buffer

    __device__ __forceinline__ int64_t end(int64_t s) const {
        const int64_t offset = at[s].offset, size = at[s].count;
        if (size > 0 && offset > INT64_MAX - size) return INT64_MAX;
        return static_cast<int64_t>(static_cast<uint64_t>(offset) + static_cast<uint64_t>(size));
    }

    // The first segment from `low` on that ends behind element i, or `count`.
    __device__ __forceinline__ int64_t find(int64_t i, int64_t low) const {
        int64_t high = count;
        while (low < high) {
            const int64_t middle = low + (high - low) / 2;
            if (end(middle) <= i) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }

    // Within the buffer, behind the segment before and before the one behind.
    __device__ __forceinline__ bool sound(int64_t s) const {
        const int64_t offset = at[s].offset, size = at[s].count;
        return offset >= 0 && size >= 0 && offset <= elements && size <= elements - offset &&
               (s == 0 || end(s - 1) <= offset) && (s + 1 == count || end(s) <= at[s + 1].offset);
    }
};

// What a block's threads share.
struct Common {
    AdamWStep step;
    int64_t segment;  // the first that ends behind the block's first element
    float decay;      // weight decay of the whole block, when it lies in one segment
    int32_t whole;    // it does
    int32_t finite;
};

// Weight decay of element i. Where the table is wrong it is NaN, and so is what becomes of the
// parameter; where no segment holds i, false.
__device__ __forceinline__ bool decay_of(const Segments& segments, float weight_decay, int64_t i,
                                         int64_t& s, float& decay) {
    s = segments.find(i, s);
    if (s == segments.count) return false;
    if (!segments.sound(s)) {
        decay = NAN;
        return true;
    }
    decay = weight_decay * segments.at[s].decay;
    return segments.at[s].offset <= i;
}

// Fused by hand, so that parameters of every storage see the same bits. The ratio is good to a few
// units in the last place, lr times of which reach the parameter.
__device__ __forceinline__ void update(const AdamWStep& step, float decay, float grad, float& m,
                                       float& v, float& p) {
    const float g = grad * step.clip;
    m = fmaf(m, step.beta1, g * step.rest1);
    v = fmaf(v, step.beta2, g * g * step.rest2);
    const float ratio = m * step.m_correction *
                        tile::reciprocal(tile::square_root(v * step.v_correction) + step.eps);
    p = fmaf(-fmaf(p, decay, ratio), step.lr, p);
}

template <bool kWide, int kUnit, typename T>
__device__ __forceinline__ tile::Vector<T, kUnit> load_unit(const T* from, int64_t i,
                                                            int64_t count) {
    if (kWide && i + kUnit <= count) return tile::load_part<true, kUnit>(from, i, count);
    return tile::load_part<false, kUnit>(from, i, count);
}

template <bool kWide, int kUnit, typename T>
__device__ __forceinline__ void store_unit(T* to, int64_t i, int64_t count,
                                           const tile::Vector<T, kUnit>& unit, unsigned chosen) {
    if (kWide && chosen == (1u << kUnit) - 1 && i + kUnit <= count) {
        return tile::store_part<true>(to, i, count, unit);
    }
#pragma unroll
    for (int j = 0; j < kUnit; ++j) {
        if ((chosen >> j & 1) != 0 && i + j < count)
            tile::store_bytes<sizeof(T)>(to + i + j, &unit[j]);
    }
}

// noise[e] = element_random(seed, step, first + e) for a warp's elements, kUnit a lane; `first` is
// a multiple of 64, of which each group shares 16 counters.
template <int kUnit>
__device__ __forceinline__ tile::Vector<uint32_t, kUnit> draw(const AdamWStep& step, int64_t first,
                                                              uint32_t* noise) {
    const int lane = static_cast<int>(threadIdx.x) % tile::kWarp;
    __syncwarp();  // the draws before have been read
#pragma unroll
    for (int k = 0; k < kUnit / 4; ++k) {
        const int at = k * tile::kWarp + lane;
        const uint64_t counter = static_cast<uint64_t>(first) / 4 + static_cast<uint64_t>(at);
        uint32_t words[4] = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32),
                             static_cast<uint32_t>(step.number),
                             static_cast<uint32_t>(step.number >> 32)};
        philox(words, step.seed);
#pragma unroll
        for (int word = 0; word < 4; ++word) {
            noise[at / 16 * 64 + word * 16 + at % 16] = words[word];
        }
    }
    __syncwarp();
    tile::Vector<uint32_t, kUnit> drawn;
#pragma unroll
    for (int j = 0; j < kUnit; j += 4) {
        tile::load_bytes<16>(&drawn[j], noise + lane * kUnit + j);
    }
    return drawn;
}

// Blocks that a multiprocessor holds at once: as many as the registers allow without spills, which
// is one more where the compiler counts for sm_90a.
template <typename M, bool kWide>
inline constexpr int kResident = !kWide                          ? 2
                                 : std::is_same_v<M, tile::bf16> ? 2 + CARAVAN_SM90A
                                                                 : 3 + CARAVAN_SM90A;

template <typename P, typename G, typename M, bool kWide>
__global__ void __launch_bounds__(kThreads, (kResident<M, kWide>))
    adamw_step_kernel(Buffers<P, G, M> buffers, Segments segments, const caravan_step_state* state,
                      float beta1, float beta2, float eps, float weight_decay) {
    constexpr bool kSplit = std::is_same_v<P, tile::bf16>;
    constexpr bool kRounds = std::is_same_v<M, tile::bf16>;
    constexpr int kUnit = kUnitOf<P, M>, kUnits = kPerThread / kUnit;
    tile::Shared shared;
    auto* const common = shared.take<Common>(1);
    uint32_t* noise = nullptr;
    if constexpr (kRounds) {
        noise = shared.take<uint32_t>(kThreads * kUnit, 16) +
                static_cast<int>(threadIdx.x) / tile::kWarp * (tile::kWarp * kUnit);
    }
    const int64_t block_first = static_cast<int64_t>(blockIdx.x) * kPerBlock;
    const auto first_of = [&](int k) {
        return block_first + (static_cast<int64_t>(k) * kThreads + threadIdx.x) * kUnit;
    };

    tile::Vector<uint32_t, kUnit> master[kUnits] =
        {};  // as bits: whole, or param and remainder in halves
    tile::Vector<G, kUnit> grad[kUnits] = {};
    tile::Vector<M, kUnit> m[kUnits] = {}, v[kUnits] = {};
#pragma unroll
    for (int k = 0; k < kUnits; ++k) {
        const int64_t i = first_of(k);
        if (i >= buffers.count) continue;
        if constexpr (kSplit) {
            const auto high = load_unit<kWide, kUnit>(
                reinterpret_cast<const uint16_t*>(buffers.param), i, buffers.count);
            const auto low = load_unit<kWide, kUnit>(buffers.remainder, i, buffers.count);
#pragma unroll
            for (int j = 0; j < kUnit; ++j) {
                master[k][j] = static_cast<uint32_t>(high[j]) << 16 | low[j];
            }
        } else {
            master[k] = load_unit<kWide, kUnit>(reinterpret_cast<const uint32_t*>(buffers.param), i,
                                                buffers.count);
        }
        grad[k] = load_unit<kWide, kUnit>(buffers.grad, i, buffers.count);
        m[k] = load_unit<kWide, kUnit>(static_cast<const M*>(buffers.m), i, buffers.count);
        v[k] = load_unit<kWide, kUnit>(static_cast<const M*>(buffers.v), i, buffers.count);
    }

    // While those are on their way.
    if (threadIdx.x == 0) {
        common->step = adamw_step_of(*state, beta1, beta2, eps);
        common->finite = state->finite;
    } else if (threadIdx.x == tile::kWarp) {
        const int64_t s = segments.find(block_first, 0);
        const int64_t left = buffers.count - block_first;
        const int64_t last = block_first + (left < kPerBlock ? left : kPerBlock);
        common->segment = s;
        common->whole = s < segments.count && segments.sound(s) &&
                        segments.at[s].offset <= block_first && last <= segments.end(s);
        common->decay = common->whole != 0 ? weight_decay * segments.at[s].decay : 0.0f;
    }
    __syncthreads();
    if (common->finite == 0) return;
    const AdamWStep step = common->step;

#pragma unroll
    for (int k = 0; k < kUnits; ++k) {
        const int64_t i = first_of(k);
        tile::Vector<uint32_t, kUnit> random = {};
        if constexpr (kRounds) {
            random = draw<kUnit>(step, i - threadIdx.x % tile::kWarp * kUnit, noise);
        }
        if (i >= buffers.count) continue;
        tile::Vector<P, kUnit> param;
        tile::Vector<uint16_t, kUnit> remainder;
        unsigned chosen = 0;
        int64_t segment = common->segment;
#pragma unroll
        for (int j = 0; j < kUnit; ++j) {
            float decay = common->decay;
            const bool held =
                common->whole != 0 ||
                (i + j < buffers.count && decay_of(segments, weight_decay, i + j, segment, decay));
            chosen |= static_cast<unsigned>(held) << j;
            float p, new_m = tile::to_float(m[k][j]), new_v = tile::to_float(v[k][j]);
            if constexpr (kSplit) {
                p = join(static_cast<uint16_t>(master[k][j] >> 16),
                         static_cast<uint16_t>(master[k][j]));
            } else {
                p = __uint_as_float(master[k][j]);
            }
            update(step, decay, tile::to_float(grad[k][j]), new_m, new_v, p);
            if constexpr (kSplit) {
                split(p, param[j].bits, remainder[j]);
            } else {
                param[j] = p;
            }
            if constexpr (kRounds) {
                m[k][j] = tile::round_stochastically(new_m, random[j]);
                v[k][j] = tile::round_stochastically(new_v, random[j] >> 16);
            } else {
                m[k][j] = new_m;
                v[k][j] = new_v;
            }
        }
        store_unit<kWide>(buffers.param, i, buffers.count, param, chosen);
        if constexpr (kSplit) {
            store_unit<kWide>(buffers.remainder, i, buffers.count, remainder, chosen);
        }
        store_unit<kWide>(buffers.m, i, buffers.count, m[k], chosen);
        store_unit<kWide>(buffers.v, i, buffers.count, v[k], chosen);
    }
}

// Units of every tensor begin at a multiple of their size.
bool wide_units(const caravan_adamw_args& args) {
    const bool split = args.param.dtype == CARAVAN_BF16;
    return wide_start(args.param) && (!split || wide_start(args.remainder)) &&
           wide_start(args.grad) && wide_start(args.m) && wide_start(args.v);
}

}  // namespace

void adamw_step(tile::Launcher& launcher, const caravan_adamw_args& args) {
    const int64_t count = args.param.shape[0];
    if (count == 0) return;
    const Segments segments = {
        data<const caravan_segment>(args.segments),
        args.segments.shape[0] / static_cast<int64_t>(sizeof(caravan_segment)), count};
    with_storage(args.param.dtype, [&](auto* param_tag) {
        with_storage(args.grad.dtype, [&](auto* grad_tag) {
            with_storage(args.m.dtype, [&](auto* moment_tag) {
                using P = StorageOf<decltype(param_tag)>;
                using G = StorageOf<decltype(grad_tag)>;
                using M = StorageOf<decltype(moment_tag)>;
                const Buffers<P, G, M> buffers = {
                    data<P>(args.param),      data<uint16_t>(args.remainder),
                    data<const G>(args.grad), data<M>(args.m),
                    data<M>(args.v),          count};
                tile::SharedLayout layout;
                layout.take<Common>(1);
                if (args.m.dtype == CARAVAN_BF16)
                    layout.take<uint32_t>(kThreads * kUnitOf<P, M>, 16);
                const auto start = [&](auto kernel) {
                    launcher.run(
                        kernel,
                        tile::config((count + kPerBlock - 1) / kPerBlock, kThreads, layout.bytes()),
                        buffers, segments, data<const caravan_step_state>(args.state), args.beta1,
                        args.beta2, args.eps, args.weight_decay);
                };
                if (wide_units(args)) {
                    start(adamw_step_kernel<P, G, M, true>);
                } else {
                    start(adamw_step_kernel<P, G, M, false>);
                }
            });
        });
    });
}

}  // namespace cuda
}  // namespace caravan
