// mma.sync of the emulation; cuda/tile/mma.cuh says what each wrapper means. The places of elements
// are written out here once more, from the figures of PTX ISA, "Matrix Fragments for mma.m16n8k16
// with floating point type" and "... mma.m16n8k8": so the maps of mma.cuh, which kernels use, have
// something to disagree with.
#pragma once

#include <cstdint>

#include "simt/machine.h"

namespace caravan::tile {

namespace emulation {

struct MmaLane {
    float* sums;
    const uint32_t* a;
    const uint32_t* b;
};

inline float float_of(uint32_t bits) { return __builtin_bit_cast(float, bits); }

// sums[16, 8] += a[16, K] b[K, 8], all K products of a sum added before it is rounded. The order
// and the width in which the hardware adds are not specified.
template <int kK>
inline void mma(MmaLane* const* lanes, const float (&a)[16][kK], const float (&b)[kK][8]) {
    for (int lane = 0; lane < 32; ++lane) {
        const int group = lane >> 2, pair = (lane & 3) << 1;
        for (int i = 0; i < 4; ++i) {
            const int row = i < 2 ? group : group + 8;
            const int column = pair + (i & 1);
            double sum = lanes[lane]->sums[i];
            for (int k = 0; k < kK; ++k) {
                sum += static_cast<double>(a[row][k]) * static_cast<double>(b[k][column]);
            }
            lanes[lane]->sums[i] = static_cast<float>(sum);
        }
    }
}

}  // namespace emulation

inline void mma_bf16(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    const simt::Trusted trusted;
    emulation::MmaLane own = {sums, a, b};
    simt::warp_collective(
        "mma.sync", 0xffffffffu, own,
        [](emulation::MmaLane* const* lanes) {
            float a[16][16], b[16][8];
            for (int lane = 0; lane < 32; ++lane) {
                const int group = lane >> 2, pair = (lane & 3) << 1;
                for (int half = 0; half < 2; ++half) {
                    const auto element = [half](uint32_t bits) {
                        return emulation::float_of(half == 0 ? bits << 16 : bits & 0xffff0000u);
                    };
                    a[group][pair + half] = element(lanes[lane]->a[0]);
                    a[group + 8][pair + half] = element(lanes[lane]->a[1]);
                    a[group][pair + 8 + half] = element(lanes[lane]->a[2]);
                    a[group + 8][pair + 8 + half] = element(lanes[lane]->a[3]);
                    b[pair + half][group] = element(lanes[lane]->b[0]);
                    b[pair + 8 + half][group] = element(lanes[lane]->b[1]);
                }
            }
            emulation::mma(lanes, a, b);
        },
        true);
}

inline void mma_tf32(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    const simt::Trusted trusted;
    emulation::MmaLane own = {sums, a, b};
    simt::warp_collective(
        "mma.sync", 0xffffffffu, own,
        [](emulation::MmaLane* const* lanes) {
            constexpr uint32_t kTf32 = 0xffffe000u;  // sign, 8 bits of exponent, 10 of mantissa
            float a[16][8], b[8][8];
            for (int lane = 0; lane < 32; ++lane) {
                const int group = lane >> 2, place = lane & 3;
                a[group][place] = emulation::float_of(lanes[lane]->a[0] & kTf32);
                a[group + 8][place] = emulation::float_of(lanes[lane]->a[1] & kTf32);
                a[group][place + 4] = emulation::float_of(lanes[lane]->a[2] & kTf32);
                a[group + 8][place + 4] = emulation::float_of(lanes[lane]->a[3] & kTf32);
                b[place][group] = emulation::float_of(lanes[lane]->b[0] & kTf32);
                b[place + 4][group] = emulation::float_of(lanes[lane]->b[1] & kTf32);
            }
            emulation::mma(lanes, a, b);
        },
        true);
}

}  // namespace caravan::tile
