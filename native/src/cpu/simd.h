// Vectors of floats as wide as the instruction set that this source is compiled for: 8 lanes for
// x86-64-v3, 16 for v4. Storage is float or bfloat16; arithmetic is float. Only for src/cpu, inside
// namespace caravan::CARAVAN_ISA.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "caravan/caravan.h"

#ifndef CARAVAN_ISA
#error "compiled once for each instruction set: CARAVAN_ISA is v3 or v4"
#endif

namespace caravan {
namespace CARAVAN_ISA {

// bfloat16: the upper half of a float.
struct bf16 {
    uint16_t bits;
};

inline float to_float(float value) { return value; }

inline float to_float(bf16 value) {
    const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
    float result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
}

template <typename T>
T from_float(float value);

template <>
inline float from_float<float>(float value) {
    return value;
}

// Rounds to nearest, ties to even; a NaN stays one.
template <>
inline bf16 from_float<bf16>(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (value != value) return {static_cast<uint16_t>((bits >> 16) | 0x40)};
    return {static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}

#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
#else
inline constexpr int kLanes = 8;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t VecI __attribute__((vector_size(kLanes * 4)));
typedef uint32_t VecU __attribute__((vector_size(kLanes * 4)));
typedef uint16_t VecH __attribute__((vector_size(kLanes * 2)));
typedef double VecD __attribute__((vector_size(kLanes * 4)));  // kLanes / 2 of them

// 0, 1, 2, ...
inline VecI lane_numbers() {
    VecI lane = {};
    for (int i = 0; i < kLanes; ++i) lane[i] = i;
    return lane;
}

inline Vec broadcast(float value) { return value - Vec{}; }

inline Vec load(const float* from) {
    Vec value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

inline Vec load(const bf16* from) {
    VecH half;
    std::memcpy(&half, from, sizeof half);
    return reinterpret_cast<Vec>(__builtin_convertvector(half, VecU) << 16);
}

inline void store(float* to, Vec value) { std::memcpy(to, &value, sizeof value); }

inline void store(bf16* to, Vec value) {
    const VecU bits = reinterpret_cast<VecU>(value);
    const VecU rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const VecU quiet = (bits >> 16) | 0x40;
    const VecU chosen = value != value ? quiet : rounded;
    const VecH half = __builtin_convertvector(chosen, VecH);
    std::memcpy(to, &half, sizeof half);
}

// The first n < kLanes elements; the other lanes are `fill`, and are not stored.
template <typename T>
inline Vec load_part(const T* from, int64_t n, float fill = 0.0f) {
    T lanes[kLanes];
    for (T& lane : lanes) lane = from_float<T>(fill);
    std::memcpy(lanes, from, static_cast<size_t>(n) * sizeof(T));
    return load(lanes);
}

template <typename T>
inline void store_part(T* to, Vec value, int64_t n) {
    T lanes[kLanes];
    store(lanes, value);
    std::memcpy(to, lanes, static_cast<size_t>(n) * sizeof(T));
}

// By masks, without a way through memory, where the instruction set has them for the type.
#if defined(__AVX512F__)
inline __mmask16 first_lanes(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }

inline Vec load_part(const float* from, int64_t n) {
    return _mm512_maskz_loadu_ps(first_lanes(n), from);
}
inline Vec load_part(const bf16* from, int64_t n) {
    const __m256i half = _mm256_maskz_loadu_epi16(first_lanes(n), from);
    return reinterpret_cast<Vec>(__builtin_convertvector(reinterpret_cast<VecH>(half), VecU) << 16);
}
inline void store_part(float* to, Vec value, int64_t n) {
    _mm512_mask_storeu_ps(to, first_lanes(n), value);
}
#else
inline __m256i first_lanes(int64_t n) {
    return reinterpret_cast<__m256i>(lane_numbers() < static_cast<int32_t>(n));
}

inline Vec load_part(const float* from, int64_t n) {
    return _mm256_maskload_ps(from, first_lanes(n));
}
inline void store_part(float* to, Vec value, int64_t n) {
    _mm256_maskstore_ps(to, first_lanes(n), value);
}
#endif

// The two halves of the 64-bit products of every lane with m.
inline void multiply_wide(VecU a, uint32_t m, VecU& high, VecU& low) {
    typedef uint64_t VecQ __attribute__((vector_size(kLanes * 4)));
    const VecU odd_lanes = reinterpret_cast<VecU>(reinterpret_cast<VecQ>(a) >> 32);
#if defined(__AVX512F__)
    const __m512i factor = _mm512_set1_epi64(m);
    const auto even =
        reinterpret_cast<VecQ>(_mm512_maskz_mul_epu32(0xff, reinterpret_cast<__m512i>(a), factor));
    const auto odd = reinterpret_cast<VecQ>(
        _mm512_maskz_mul_epu32(0xff, reinterpret_cast<__m512i>(odd_lanes), factor));
#else
    const __m256i factor = _mm256_set1_epi64x(m);
    const auto even =
        reinterpret_cast<VecQ>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), factor));
    const auto odd =
        reinterpret_cast<VecQ>(_mm256_mul_epu32(reinterpret_cast<__m256i>(odd_lanes), factor));
#endif
    const uint64_t upper = 0xffffffff00000000u;
    high = reinterpret_cast<VecU>((even >> 32) | (odd & upper));
    low = reinterpret_cast<VecU>((even & ~upper) | (odd << 32));
}

// A loop over n elements by vectors: body(i, part) with part = Whole for all but a shorter end, so
// that one body serves both, as in
//   for_vectors(n, [&](int64_t i, auto part) { store(y + i, load(x + i, part), part); });
struct Whole {};
struct Part {
    int64_t n;
};

template <typename T>
inline Vec load(const T* from, Whole) {
    return load(from);
}
template <typename T>
inline Vec load(const T* from, Part part) {
    return load_part(from, part.n);
}
template <typename T>
inline void store(T* to, Vec value, Whole) {
    store(to, value);
}
template <typename T>
inline void store(T* to, Vec value, Part part) {
    store_part(to, value, part.n);
}

// 16-bit numbers, each in a lane of its own.
inline VecU load_bits(const uint16_t* from, Whole) {
    VecH half;
    std::memcpy(&half, from, sizeof half);
    return __builtin_convertvector(half, VecU);
}
inline VecU load_bits(const uint16_t* from, Part part) {
    VecH half = {};
    std::memcpy(&half, from, static_cast<size_t>(part.n) * sizeof *from);
    return __builtin_convertvector(half, VecU);
}
inline void store_bits(uint16_t* to, VecU value, Whole) {
    const VecH half = __builtin_convertvector(value, VecH);
    std::memcpy(to, &half, sizeof half);
}
inline void store_bits(uint16_t* to, VecU value, Part part) {
    const VecH half = __builtin_convertvector(value, VecH);
    std::memcpy(to, &half, static_cast<size_t>(part.n) * sizeof *to);
}

// The value with 0 in the lanes beyond the end.
inline Vec inside(Vec value, Whole) { return value; }
inline Vec inside(Vec value, Part part) {
    for (int64_t i = part.n; i < kLanes; ++i) value[i] = 0.0f;
    return value;
}

template <typename Body>
inline void for_vectors(int64_t n, Body&& body) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) body(i, Whole{});
    if (i < n) body(i, Part{n - i});
}

struct Doubles {
    VecD low, high;
};

inline Doubles to_double(Vec value) {
    typedef float Half __attribute__((vector_size(kLanes * 2)));
    Half halves[2];
    std::memcpy(halves, &value, sizeof value);
    return {__builtin_convertvector(halves[0], VecD), __builtin_convertvector(halves[1], VecD)};
}

// Where one of them is NaN, the result is b.
inline Vec max(Vec a, Vec b) { return a > b ? a : b; }
inline Vec min(Vec a, Vec b) { return a < b ? a : b; }

#if defined(__AVX512F__)
// Masked: g++ 12 warns of an undefined value inside its own _mm512_sqrt_ps.
inline Vec sqrt(Vec value) { return _mm512_maskz_sqrt_ps(0xffff, value); }
#else
inline Vec sqrt(Vec value) { return _mm256_sqrt_ps(value); }
#endif

// Of two vectors end to end: the elements at even and at odd places; and the way back, the first
// and the last kLanes elements of (even[0], odd[0], even[1], odd[1], ...).
#if defined(__AVX512F__)
inline Vec evens(Vec low, Vec high) {
    return __builtin_shufflevector(low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28,
                                   30);
}
inline Vec odds(Vec low, Vec high) {
    return __builtin_shufflevector(low, high, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29,
                                   31);
}
inline Vec merge_low(Vec even, Vec odd) {
    return __builtin_shufflevector(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7,
                                   23);
}
inline Vec merge_high(Vec even, Vec odd) {
    return __builtin_shufflevector(even, odd, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                   15, 31);
}
#else
inline Vec evens(Vec low, Vec high) {
    return __builtin_shufflevector(low, high, 0, 2, 4, 6, 8, 10, 12, 14);
}
inline Vec odds(Vec low, Vec high) {
    return __builtin_shufflevector(low, high, 1, 3, 5, 7, 9, 11, 13, 15);
}
inline Vec merge_low(Vec even, Vec odd) {
    return __builtin_shufflevector(even, odd, 0, 8, 1, 9, 2, 10, 3, 11);
}
inline Vec merge_high(Vec even, Vec odd) {
    return __builtin_shufflevector(even, odd, 4, 12, 5, 13, 6, 14, 7, 15);
}
#endif

// The transpose of kLanes vectors: lane j of vector i goes to lane i of vector j.
template <typename V>
inline void transpose(V (&v)[kLanes]) {
    VecI lane;
    for (int i = 0; i < kLanes; ++i) lane[i] = i;
#pragma GCC unroll 4
    for (int width = kLanes / 2; width > 0; width /= 2) {
        // Swap, of each pair of vectors `width` apart, the lanes that are on the wrong side.
        const VecI low = (lane & width) != 0 ? lane - width + kLanes : lane;
        const VecI high = (lane & width) != 0 ? lane + kLanes : lane + width;
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) {
            if ((i & width) != 0) continue;
            const V a = v[i], b = v[i + width];
            v[i] = __builtin_shuffle(a, b, low);
            v[i + width] = __builtin_shuffle(a, b, high);
        }
    }
}

// Sums and maxima over lanes in a fixed order (halves folded onto each other).
inline float reduce_add(Vec value) {
    float lanes[kLanes];
    store(lanes, value);
    for (int width = kLanes / 2; width > 0; width /= 2) {
        for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
    }
    return lanes[0];
}

inline double reduce_add(VecD value) {
    double lanes[kLanes / 2];
    std::memcpy(lanes, &value, sizeof value);
    for (int width = kLanes / 4; width > 0; width /= 2) {
        for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
    }
    return lanes[0];
}

inline float reduce_max(Vec value) {
    float lanes[kLanes];
    store(lanes, value);
    for (int width = kLanes / 2; width > 0; width /= 2) {
        for (int i = 0; i < width; ++i) {
            lanes[i] = lanes[i] > lanes[i + width] ? lanes[i] : lanes[i + width];
        }
    }
    return lanes[0];
}

// The sum over n elements of what body(i, part) gives, which must be 0 in lanes beyond the end.
// Four accumulators, since one addition would have to wait for the last.
template <typename Body>
inline float sum_vectors(int64_t n, Body&& body) {
    Vec sums[4] = {};
    int64_t i = 0;
    for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
        for (int k = 0; k < 4; ++k) sums[k] += body(i + k * kLanes, Whole{});
    }
    for (; i + kLanes <= n; i += kLanes) sums[0] += body(i, Whole{});
    if (i < n) sums[0] += body(i, Part{n - i});
    return reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// exp(x) within 2 units in the last place; 0 below -87.33, exp(88.37) above that, NaN for NaN.
// x = n ln 2 + r with |r| <= ln 2 / 2, n ln 2 taken off in two parts so that r is exact; exp(r) by
// the minimax polynomial of Moshier's Cephes library (expf).
inline Vec exp(Vec x) {
    const VecI tiny = x < broadcast(-87.33f);
    x = min(broadcast(88.37f), max(broadcast(-87.33f), x));  // in this order a NaN stays one
    const Vec magic = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
    const Vec n = (x * 1.44269504f + magic) - magic;
    Vec r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    Vec p = broadcast(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const VecI exponent = (__builtin_convertvector(n, VecI) + 127) << 23;
    const Vec result = p * reinterpret_cast<Vec>(exponent);
    return tiny ? Vec{} : result;
}

// Calls body(type tag) with float or bf16 for the storage type of a tensor; the tag is a null
// pointer of that type, so `using T = std::remove_pointer_t<decltype(tag)>` names it.
template <typename Body>
inline void with_storage(int32_t dtype, Body&& body) {
    if (dtype == CARAVAN_BF16) {
        body(static_cast<bf16*>(nullptr));
    } else {
        body(static_cast<float*>(nullptr));
    }
}

template <typename T>
inline T* data(const caravan_tensor& tensor) {
    return static_cast<T*>(tensor.data);
}

inline int64_t element_count(const caravan_tensor& tensor) {
    int64_t count = 1;
    for (int i = 0; i < tensor.rank; ++i) count *= tensor.shape[i];
    return count;
}

// The first element of row r of a matrix.
template <typename T>
inline T* row(const caravan_tensor& matrix, int64_t r) {
    return static_cast<T*>(matrix.data) + r * matrix.stride[0];
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
