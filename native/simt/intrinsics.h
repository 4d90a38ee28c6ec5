// What cuda.h is made of: the parts of CUDA's built-in functions that run in the emulation's own
// code, whose accesses are checked by themselves.
#pragma once

#include <cstdint>
#include <type_traits>

#include "simt/machine.h"

namespace simt {

// A value of 4 or 8 bytes as an integer, and back.
template <typename T>
inline uint64_t bits_of(T value) {
    static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8),
                  "warp functions and atomics take numbers of 4 or 8 bytes");
    if constexpr (sizeof(T) == 4) {
        return __builtin_bit_cast(uint32_t, value);
    } else {
        return __builtin_bit_cast(uint64_t, value);
    }
}

template <typename T>
inline T from_bits(uint64_t bits) {
    if constexpr (sizeof(T) == 4) {
        return __builtin_bit_cast(T, static_cast<uint32_t>(bits));
    } else {
        return __builtin_bit_cast(T, bits);
    }
}

// A value that the compiler cannot merge with the operation that made it.
inline float rounded(float value) {
    asm("" : "+x"(value));
    return value;
}

enum class Shuffle { kIndex, kUp, kDown, kXor };

uint64_t shuffle_bits(Shuffle kind, uint32_t mask, uint64_t bits, int operand, int width,
                      Site site);

template <typename T>
inline T shuffle(Shuffle kind, uint32_t mask, T value, int operand, int width, Site site) {
    return from_bits<T>(shuffle_bits(kind, mask, bits_of(value), operand, width, site));
}

// The lanes of the mask whose predicate holds; those whose value equals this lane's.
uint32_t ballot(const char* what, uint32_t mask, bool predicate, Site site);
uint32_t match(const char* what, uint32_t mask, uint64_t bits, Site site);

enum class Reduce { kAdd, kMin, kMax, kAnd, kOr, kXor };

// Over the lanes of the mask. Values fit: of int and unsigned.
int64_t reduce(const char* what, uint32_t mask, int64_t value, Reduce operation, Site site);

enum class Atomic {
    kAdd,
    kSubtract,
    kExchange,
    kMin,
    kMax,
    kAnd,
    kOr,
    kXor,
    kIncrement,
    kCompareExchange
};
enum class Number { kI32, kU32, kI64, kU64, kF32, kF64 };

template <typename T>
constexpr Number number_of() {
    if (std::is_floating_point_v<T>) return sizeof(T) == 4 ? Number::kF32 : Number::kF64;
    if (std::is_signed_v<T>) return sizeof(T) == 4 ? Number::kI32 : Number::kI64;
    return sizeof(T) == 4 ? Number::kU32 : Number::kU64;
}

uint64_t atomic_bits(Atomic operation, Number number, void* address, uint64_t value,
                     uint64_t expected);

template <typename T>
inline T atomic(Atomic operation, T* address, T value, T expected = T{}) {
    return from_bits<T>(
        atomic_bits(operation, number_of<T>(), address, bits_of(value), bits_of(expected)));
}

// __threadfence of any scope: what this thread wrote comes before what it does next by atomics.
void thread_fence();

}  // namespace simt
