// Products of small matrices by a warp on the tensor cores: mma.sync (PTX ISA, "Warp-level Matrix
// Instructions: mma", with its sections on the fragments of each shape; sm_80 on).
//
// All 32 lanes call, converged. Each lane holds a share of a [M, K], b [K, N] and the sums [M, N];
// the functions below say which element lies where, and kernels and tests use nothing else. 16-bit
// elements lie two in a register, the one of even index in the low half.
#pragma once

#include <cstdint>

#include "cuda/tile/arch.cuh"

namespace caravan::tile {

// m16n8k16 with bf16 operands: a lane holds 8 elements of a (4 registers), 4 of b (2) and 4 sums.
struct Mma16816 {
    static constexpr int kM = 16, kN = 8, kK = 16;

    __host__ __device__ static constexpr int a_row(int lane, int i) {
        return lane / 4 + (i / 2 % 2) * 8;
    }
    __host__ __device__ static constexpr int a_column(int lane, int i) {
        return lane % 4 * 2 + i % 2 + i / 4 * 8;
    }
    __host__ __device__ static constexpr int b_row(int lane, int i) {
        return lane % 4 * 2 + i % 2 + i / 2 * 8;
    }
    __host__ __device__ static constexpr int b_column(int lane, int) { return lane / 4; }
    __host__ __device__ static constexpr int sum_row(int lane, int i) {
        return lane / 4 + i / 2 * 8;
    }
    __host__ __device__ static constexpr int sum_column(int lane, int i) {
        return lane % 4 * 2 + i % 2;
    }
};

// m16n8k8 with tf32 operands, one in a register: 4 of a, 2 of b, sums as above.
struct Mma1688 {
    static constexpr int kM = 16, kN = 8, kK = 8;

    __host__ __device__ static constexpr int a_row(int lane, int i) { return lane / 4 + i % 2 * 8; }
    __host__ __device__ static constexpr int a_column(int lane, int i) {
        return lane % 4 + i / 2 * 4;
    }
    __host__ __device__ static constexpr int b_row(int lane, int i) { return lane % 4 + i * 4; }
    __host__ __device__ static constexpr int b_column(int lane, int) { return lane / 4; }
    __host__ __device__ static constexpr int sum_row(int lane, int i) {
        return Mma16816::sum_row(lane, i);
    }
    __host__ __device__ static constexpr int sum_column(int lane, int i) {
        return Mma16816::sum_column(lane, i);
    }
};

// sums += a b, bf16 operands, float32 sums.
__device__ __forceinline__ void mma_bf16(float (&sums)[4], const uint32_t (&a)[4],
                                         const uint32_t (&b)[2]);

// sums += a b, operands float32 bits of which the 10 leading bits of the mantissa count.
__device__ __forceinline__ void mma_tf32(float (&sums)[4], const uint32_t (&a)[4],
                                         const uint32_t (&b)[2]);

}  // namespace caravan::tile

#ifdef CARAVAN_SIMT
#include "simt/tile/mma.h"
#else
#include "cuda/tile/ptx/mma.cuh"
#endif
