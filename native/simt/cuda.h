// The CUDA C++ vocabulary for g++: what kernels use of it, compiled with -x c++ -DCARAVAN_SIMT.
// Semantics are those of the CUDA C++ Programming Guide, chapter "C++ Language Extensions"; where
// it calls something undefined, this stops the launch with a message. Left out on purpose: static
// __shared__ arrays, __activemask,
// <<<>>>, texture and surface functions, printf.
#pragma once

#ifndef CARAVAN_SIMT
#error "simt/cuda.h is for kernels that are compiled for the emulation"
#endif

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "simt/intrinsics.h"
#include "simt/machine.h"

// ---------------------------------------------------------------- specifiers

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __constant__ const
#define __grid_constant__
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

// ---------------------------------------------------------------- index registers

#define threadIdx (::simt::index_register<offsetof(::simt::Self, thread_index)>())
#define blockIdx (::simt::index_register<offsetof(::simt::Self, block_index)>())
#define blockDim (::simt::index_register<offsetof(::simt::Self, block_dim)>())
#define gridDim (::simt::index_register<offsetof(::simt::Self, grid_dim)>())
#define warpSize 32

namespace simt {

// By instructions that no instrumentation sees: they are not accesses of the kernel.
template <int kOffset>
inline uint3 index_register() {
    const Self* const self = current();
    uint3 value;
    asm("movl %c1(%2), %0" : "=r"(value.x) : "i"(kOffset), "r"(self));
    asm("movl %c1(%2), %0" : "=r"(value.y) : "i"(kOffset + 4), "r"(self));
    asm("movl %c1(%2), %0" : "=r"(value.z) : "i"(kOffset + 8), "r"(self));
    return value;
}

}  // namespace simt

// ---------------------------------------------------------------- barriers and fences

inline void __syncthreads(simt::Site site = simt::Site::here()) {
    simt::block_barrier("__syncthreads", 0, site);
}
inline int __syncthreads_count(int predicate, simt::Site site = simt::Site::here()) {
    return simt::block_barrier("__syncthreads_count", predicate, site);
}
inline int __syncthreads_and(int predicate, simt::Site site = simt::Site::here()) {
    return simt::block_barrier("__syncthreads_and", predicate, site) == simt::self().threads;
}
inline int __syncthreads_or(int predicate, simt::Site site = simt::Site::here()) {
    return simt::block_barrier("__syncthreads_or", predicate, site) != 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, simt::Site site = simt::Site::here()) {
    simt::warp_meet("__syncwarp", mask, nullptr, nullptr, nullptr, simt::Order::kMemory, site,
                    false);
}
inline void __threadfence_block() { simt::thread_fence(); }
inline void __threadfence() { simt::thread_fence(); }
inline void __threadfence_system() { simt::thread_fence(); }
inline void __nanosleep(unsigned) { simt::yield(); }
[[noreturn]] inline void __trap() { simt::fault("__trap"); }

// ---------------------------------------------------------------- shuffles, votes, matches,
// reductions of a warp

template <typename T>
inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32,
                     simt::Site site = simt::Site::here()) {
    return simt::shuffle(simt::Shuffle::kIndex, mask, value, lane, width, site);
}
template <typename T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32,
                        simt::Site site = simt::Site::here()) {
    return simt::shuffle(simt::Shuffle::kUp, mask, value, static_cast<int>(distance), width, site);
}
template <typename T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32,
                          simt::Site site = simt::Site::here()) {
    return simt::shuffle(simt::Shuffle::kDown, mask, value, static_cast<int>(distance), width,
                         site);
}
template <typename T>
inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32,
                         simt::Site site = simt::Site::here()) {
    return simt::shuffle(simt::Shuffle::kXor, mask, value, lanes, width, site);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, simt::Site site = simt::Site::here()) {
    return simt::ballot("__ballot_sync", mask, predicate != 0, site);
}
inline int __any_sync(unsigned mask, int predicate, simt::Site site = simt::Site::here()) {
    return simt::ballot("__any_sync", mask, predicate != 0, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, simt::Site site = simt::Site::here()) {
    return simt::ballot("__all_sync", mask, predicate != 0, site) == mask;
}
template <typename T>
inline unsigned __match_any_sync(unsigned mask, T value, simt::Site site = simt::Site::here()) {
    return simt::match("__match_any_sync", mask, simt::bits_of(value), site);
}
template <typename T>
inline unsigned __match_all_sync(unsigned mask, T value, int* all,
                                 simt::Site site = simt::Site::here()) {
    const bool same = simt::match("__match_all_sync", mask, simt::bits_of(value), site) == mask;
    *all = same;
    return same ? mask : 0;
}

#define CARAVAN_SIMT_REDUCE(name, type, operation)                                                 \
    inline type name(unsigned mask, type value, simt::Site site = simt::Site::here()) {            \
        return static_cast<type>(simt::reduce(#name, mask, value, simt::Reduce::operation, site)); \
    }
CARAVAN_SIMT_REDUCE(__reduce_add_sync, unsigned, kAdd)
CARAVAN_SIMT_REDUCE(__reduce_add_sync, int, kAdd)
CARAVAN_SIMT_REDUCE(__reduce_min_sync, unsigned, kMin)
CARAVAN_SIMT_REDUCE(__reduce_min_sync, int, kMin)
CARAVAN_SIMT_REDUCE(__reduce_max_sync, unsigned, kMax)
CARAVAN_SIMT_REDUCE(__reduce_max_sync, int, kMax)
CARAVAN_SIMT_REDUCE(__reduce_and_sync, unsigned, kAnd)
CARAVAN_SIMT_REDUCE(__reduce_or_sync, unsigned, kOr)
CARAVAN_SIMT_REDUCE(__reduce_xor_sync, unsigned, kXor)
#undef CARAVAN_SIMT_REDUCE

// ---------------------------------------------------------------- atomics: the value before,
// relaxed

template <typename T>
inline T atomicAdd(T* address, T value) {
    return simt::atomic(simt::Atomic::kAdd, address, value);
}
template <typename T>
inline T atomicSub(T* address, T value) {
    return simt::atomic(simt::Atomic::kSubtract, address, value);
}
template <typename T>
inline T atomicExch(T* address, T value) {
    return simt::atomic(simt::Atomic::kExchange, address, value);
}
template <typename T>
inline T atomicMin(T* address, T value) {
    return simt::atomic(simt::Atomic::kMin, address, value);
}
template <typename T>
inline T atomicMax(T* address, T value) {
    return simt::atomic(simt::Atomic::kMax, address, value);
}
template <typename T>
inline T atomicAnd(T* address, T value) {
    return simt::atomic(simt::Atomic::kAnd, address, value);
}
template <typename T>
inline T atomicOr(T* address, T value) {
    return simt::atomic(simt::Atomic::kOr, address, value);
}
template <typename T>
inline T atomicXor(T* address, T value) {
    return simt::atomic(simt::Atomic::kXor, address, value);
}
// Counts up from 0 to `last` and round again.
inline unsigned atomicInc(unsigned* address, unsigned last) {
    return simt::atomic(simt::Atomic::kIncrement, address, last);
}
template <typename T>
inline T atomicCAS(T* address, T expected, T value) {
    return simt::atomic(simt::Atomic::kCompareExchange, address, value, expected);
}

// ---------------------------------------------------------------- memory

template <typename T>
inline T __ldg(const T* address) {
    return *address;
}
template <typename T>
inline T __ldcs(const T* address) {
    return *address;
}
template <typename T>
inline void __stcs(T* address, T value) {
    *address = value;
}

// ---------------------------------------------------------------- integers and bits

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) {
    return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x));
}
inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>(
        ((static_cast<unsigned long long>(high) << 32 | low) << (shift & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) >>
                                 (shift & 31));
}
// Four bytes of (y, x), each chosen by three bits of a selector's nibble; bit 3 replicates its
// sign.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selectors) {
    const unsigned long long bytes = static_cast<unsigned long long>(y) << 32 | x;
    unsigned result = 0;
    for (int i = 0; i < 4; ++i) {
        const unsigned selector = selectors >> (4 * i);
        unsigned byte = static_cast<unsigned>(bytes >> (8 * (selector & 7))) & 0xff;
        if ((selector & 8) != 0) byte = (byte & 0x80) != 0 ? 0xff : 0;
        result |= byte << (8 * i);
    }
    return result;
}

inline unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
inline int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
inline float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
inline float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
inline long long __double_as_longlong(double x) { return __builtin_bit_cast(long long, x); }
inline double __longlong_as_double(long long x) { return __builtin_bit_cast(double, x); }

#define CARAVAN_SIMT_MINMAX(type)                             \
    inline type min(type a, type b) { return b < a ? b : a; } \
    inline type max(type a, type b) { return a < b ? b : a; }
CARAVAN_SIMT_MINMAX(int)
CARAVAN_SIMT_MINMAX(unsigned)
CARAVAN_SIMT_MINMAX(long)
CARAVAN_SIMT_MINMAX(unsigned long)
CARAVAN_SIMT_MINMAX(long long)
CARAVAN_SIMT_MINMAX(unsigned long long)
#undef CARAVAN_SIMT_MINMAX
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double min(double a, double b) { return std::fmin(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }

// ---------------------------------------------------------------- floats (the approximate ones are
// exact here)

inline float rsqrtf(float x) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x))); }
inline float __frsqrt_rn(float x) { return rsqrtf(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
// Never fused with what surrounds them.
inline float __fadd_rn(float a, float b) { return simt::rounded(a + b); }
inline float __fsub_rn(float a, float b) { return simt::rounded(a - b); }
inline float __fmul_rn(float a, float b) { return simt::rounded(a * b); }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
// glibc declares, but does not define, functions of these names.
#define __expf(x) (::expf(x))
#define __logf(x) (::logf(x))
#define __log2f(x) (::log2f(x))
#define __sinf(x) (::sinf(x))
#define __cosf(x) (::cosf(x))
#define __powf(x, y) (::powf(x, y))

inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }
inline int __float2int_rd(float x) { return static_cast<int>(std::floor(x)); }
inline unsigned __float2uint_rn(float x) { return static_cast<unsigned>(std::nearbyint(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __ll2float_rn(long long x) { return static_cast<float>(x); }

// ---------------------------------------------------------------- vector types

#define CARAVAN_SIMT_VECTOR(type, name)                              \
    struct __align__(2 * sizeof(type)) name##2 {                     \
        type x, y;                                                   \
    };                                                               \
    struct __align__(4 * sizeof(type)) name##4 {                     \
        type x, y, z, w;                                             \
    };                                                               \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; } \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
CARAVAN_SIMT_VECTOR(float, float)
CARAVAN_SIMT_VECTOR(int, int)
CARAVAN_SIMT_VECTOR(unsigned, uint)
#undef CARAVAN_SIMT_VECTOR
