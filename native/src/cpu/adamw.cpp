// AdamW in one pass over parameter, gradient and both moments, each read once and written once.
#include <algorithm>
#include <type_traits>

#include "core/adamw_step.h"
#include "core/blocks.h"
#include "core/random.h"
#include "cpu/kernels.h"
#include "cpu/master.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

constexpr int64_t kGroup = 64;  // elements that share counters, see core/random.h

// noise[i] = element_random(seed, step, 64 * group + i) for the 64 elements of a group.
void draw(const AdamWStep& step, int64_t group, uint32_t noise[kGroup]) {
    for (int lane = 0; lane < 16; lane += kLanes) {
        // Counters begin at a multiple of 16, so the upper half is the same for all.
        const uint64_t counter = static_cast<uint64_t>(group) * 16 + static_cast<uint64_t>(lane);
        VecU words[4] = {reinterpret_cast<VecU>(lane_numbers()) + static_cast<uint32_t>(counter),
                         VecU{} + static_cast<uint32_t>(counter >> 32),
                         VecU{} + static_cast<uint32_t>(step.number),
                         VecU{} + static_cast<uint32_t>(step.number >> 32)};
        philox(words, step.seed, multiply_wide);
        for (int word = 0; word < 4; ++word) {
            std::memcpy(noise + 16 * word + lane, &words[word], sizeof words[word]);
        }
    }
}

// Stores a moment; to bfloat16 with the probability of each neighbour by its nearness, so that
// small steps are kept on average. A carry out of the mantissa raises the exponent, as it should.
template <typename P>
void store_moment(float* to, Vec value, VecU, P part) {
    store(to, value, part);
}

template <typename P>
void store_moment(bf16* to, Vec value, VecU noise, P part) {
    const VecU bits = reinterpret_cast<VecU>(value);
    const VecU chosen = value != value ? (bits >> 16) | 0x40 : (bits + noise) >> 16;
    store_bits(&to->bits, chosen, part);
}

template <typename G, typename M>
struct Streams {
    const G* grad;
    M* m;
    M* v;
};

// Elements [first, last); noise, for bf16 moments, has the draws of the group from `origin` on.
template <typename P, typename G, typename M>
void update(const AdamWStep& step, const Master<P>& master, const Streams<G, M>& streams,
            float decay, int64_t first, int64_t last, const uint32_t* noise, int64_t origin) {
    for_vectors(last - first, [&](int64_t offset, auto part) {
        const int64_t i = first + offset;
        const Vec g = load(streams.grad + i, part) * step.clip;
        const Vec m = load(streams.m + i, part) * step.beta1 + g * step.rest1;
        const Vec v = load(streams.v + i, part) * step.beta2 + g * g * step.rest2;
        const Vec p = master.read(i, part);
        const Vec direction =
            m * step.m_correction / (sqrt(v * step.v_correction) + step.eps) + p * decay;
        master.write(i, p - direction * step.lr, part);
        VecU bits = {};
        if (std::is_same<M, bf16>::value) {
            // The array is as long as two groups, so a whole vector may be read at its end.
            std::memcpy(&bits, noise + (i - origin), sizeof bits);
        }
        store_moment(streams.m + i, m, bits & 0xffff, part);
        store_moment(streams.v + i, v, bits >> 16, part);
    });
}

template <typename P, typename G, typename M>
void update_run(const AdamWStep& step, const Master<P>& master, const Streams<G, M>& streams,
                float decay, int64_t first, int64_t last) {
    if (std::is_same<M, float>::value) {
        update(step, master, streams, decay, first, last, nullptr, 0);
        return;
    }
    uint32_t noise[2 * kGroup] = {};
    while (first < last) {
        const int64_t group = first / kGroup;
        const int64_t end = std::min(last, (group + 1) * kGroup);
        draw(step, group, noise);
        update(step, master, streams, decay, first, end, noise, group * kGroup);
        first = end;
    }
}

}  // namespace

void adamw_step(Pool& pool, const caravan_adamw_args& args) {
    const AdamWStep step =
        adamw_step_of(*data<caravan_step_state>(args.state), args.beta1, args.beta2, args.eps);
    const Blocks blocks = element_blocks(args.param.shape[0]);
    const auto* const segments = data<const caravan_segment>(args.segments);
    const auto* const segments_end =
        segments + args.segments.shape[0] / static_cast<int64_t>(sizeof(caravan_segment));
    with_storage(args.param.dtype, [&](auto param_tag) {
        using P = std::remove_pointer_t<decltype(param_tag)>;
        with_storage(args.grad.dtype, [&](auto grad_tag) {
            using G = std::remove_pointer_t<decltype(grad_tag)>;
            with_storage(args.m.dtype, [&](auto moment_tag) {
                using M = std::remove_pointer_t<decltype(moment_tag)>;
                const Master<P> master(args.param, args.remainder);
                const Streams<G, M> streams = {data<G>(args.grad), data<M>(args.m),
                                               data<M>(args.v)};
                pool.run(blocks.count, [&](int64_t block, int) {
                    const int64_t first = blocks.begin(block), last = blocks.end(block);
                    // The first segment that ends behind `first`; they are ascending.
                    const auto* segment = std::partition_point(
                        segments, segments_end, [&](const caravan_segment& earlier) {
                            return earlier.offset + earlier.count <= first;
                        });
                    for (; segment != segments_end && segment->offset < last; ++segment) {
                        update_run(step, master, streams, args.weight_decay * segment->decay,
                                   std::max(first, segment->offset),
                                   std::min(last, segment->offset + segment->count));
                    }
                });
            });
        });
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
