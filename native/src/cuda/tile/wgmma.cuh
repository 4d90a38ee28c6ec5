// Products of matrices by a warpgroup on the tensor cores, with operands straight from shared
// memory: wgmma (PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions"; sm_90a).
//
// A warpgroup is four warps, the first a multiple of four; its 128 threads call, converged. A
// product is m64nNk16: a [64, 16] times b [16, N], added to sums [64, N] of which each thread holds
// N / 2. It runs asynchronously:
//
//   wgmma_fence();                          once registers are as the products shall find them
//   wgmma<N, ...>(sums, a, b, ...); ...     any number
//   wgmma_commit();                         closes a group
//   wgmma_wait<kPending>(sums...);          before sums, or the shared memory read, are touched
//
// Operands in shared memory are bf16 tiles in one of two orders, told by a descriptor (below). What
// plain stores wrote there needs fence_async_shared and a barrier first; what a tensor copy wrote
// only the wait on its mbarrier.
#pragma once

#include <cstdint>

#include "cuda/tile/arch.cuh"
#include "cuda/tile/shared_address.cuh"
#include "cuda/tile/swizzle.cuh"

namespace caravan::tile {

// Which dimension of an operand lies contiguous in shared memory: K, or M (of a) or N (of b).
enum class Major : int { kK = 0, kMN = 1 };

// Where sum i of a thread of the warpgroup lies in [64, N] ("Register Fragments and Shared Memory
// Matrix Layouts", accumulator D), and element i of its 8 of a in registers ("matrix A").
struct Wgmma64 {
    static constexpr int kM = 64, kK = 16;

    __host__ __device__ static constexpr int sum_row(int thread, int i) {
        return thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
    }
    __host__ __device__ static constexpr int sum_column(int thread, int i) {
        return i / 4 * 8 + thread % 4 * 2 + i % 2;
    }
    __host__ __device__ static constexpr int a_row(int thread, int i) {
        return thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
    }
    __host__ __device__ static constexpr int a_column(int thread, int i) {
        return thread % 4 * 2 + i % 2 + i / 4 * 8;
    }
};

// A matrix descriptor ("Matrix Descriptor Format"): bits 0-13 address / 16, 16-29 leading byte
// offset / 16, 32-45 stride byte offset / 16, 49-51 base offset (0: the pattern starts at a
// multiple of the swizzle's period), 62-63 the swizzle.
//
// With a swizzle of w bytes a tile is made of atoms of 8 rows of w bytes, dense, a multiple of 8 w
// apart:
//   K-major   rows run along M or N, columns along K. stride: from 8 rows to the next 8. leading:
//   unused;
//             a row holds w / 2 elements of K, and the k16 products inside it advance by 32 bytes.
//   MN-major  rows run along K, columns along M or N. stride: from 8 rows to the next 8 (so a k16
//   product
//             takes two atoms). leading: from w / 2 elements of M or N to the next.
__host__ __device__ constexpr uint64_t wgmma_descriptor(uint32_t address, uint32_t leading_bytes,
                                                        uint32_t stride_bytes, Swizzle swizzle) {
    return static_cast<uint64_t>((address & 0x3ffff) >> 4) |
           static_cast<uint64_t>((leading_bytes & 0x3ffff) >> 4) << 16 |
           static_cast<uint64_t>((stride_bytes & 0x3ffff) >> 4) << 32 |
           static_cast<uint64_t>(swizzle) << 62;
}

// The same tile `bytes` further: a multiple of 16, within shared memory.
__host__ __device__ constexpr uint64_t wgmma_advance(uint64_t descriptor, uint32_t bytes) {
    return descriptor + (bytes >> 4);
}

// K-major, swizzle of 128 bytes: rows of 64 elements, 128 bytes apart, as a tensor copy of a box
// {64, rows} lays them down. The next 16 of K are at wgmma_advance(..., 32).
__device__ __forceinline__ uint64_t wgmma_k_major(const void* tile) {
    return wgmma_descriptor(shared_address(tile), 16, 1024, Swizzle::k128);
}

// MN-major, swizzle of 128 bytes: panels of 64 elements of M or N, each [K, 64] with rows 128 bytes
// apart, as tensor copies of boxes {64, K} lay them down; panel_bytes from one to the next (K * 128
// when dense). The next 16 of K are at wgmma_advance(..., 2048).
__device__ __forceinline__ uint64_t wgmma_mn_major(const void* tile, uint32_t panel_bytes) {
    return wgmma_descriptor(shared_address(tile), panel_bytes, 1024, Swizzle::k128);
}

// Orders this warpgroup's accesses to registers before the products that follow. Needed before the
// first product, and again after sums or an a in registers were touched otherwise.
__device__ __forceinline__ void wgmma_fence();

// Closes a group of products.
__device__ __forceinline__ void wgmma_commit();

// Waits until all but the kPending newest groups are done. Every array of sums that is read next is
// named, so that the compiler cannot read it earlier.
template <int kPending, typename... Sums>
__device__ __forceinline__ void wgmma_wait(Sums&... sums);

// Behind a wait: until here the compiler leaves operands a in these registers alone, which products
// may have read up to the wait.
template <typename... Operands>
__device__ __forceinline__ void wgmma_keep(Operands&... operands);

// sums = a b when add is false, sums += a b when it is true. kN is a multiple of 16 from 16 to 256.
// a and b are descriptors of bf16 tiles.
template <int kN, Major kMajorA, Major kMajorB>
__device__ __forceinline__ void wgmma(float (&sums)[kN / 2], uint64_t a, uint64_t b, bool add);

// The same with a in registers, two elements in each, as Wgmma64 tells; a must not change before
// the wait, and is named by wgmma_keep behind it.
template <int kN, Major kMajorB>
__device__ __forceinline__ void wgmma(float (&sums)[kN / 2], const uint32_t (&a)[4], uint64_t b,
                                      bool add);

}  // namespace caravan::tile

#ifdef CARAVAN_SIMT
#include "simt/tile/wgmma.h"
#else
#include "cuda/tile/ptx/wgmma.cuh"
#endif
