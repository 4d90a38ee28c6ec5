// What the compiler shall not know of values, and where it shall have computed them.
#pragma once

#include "cuda/tile/vector.cuh"

namespace caravan {
namespace tile {

// x, from here on as if it had just been read: what depends on it is computed here and not kept in
// registers from before, as the compiler does with everything that a loop does not change.
__device__ __forceinline__ int opaque(int x);

// The same of a vector of whole words: what was unpacked from it before is unpacked again, instead
// of being kept in twice the registers.
template <typename T, int N>
__device__ __forceinline__ Vector<T, N> opaque(Vector<T, N> x) {
    constexpr int kWords = N * sizeof(T) / 4;
    static_assert(kWords * 4 == N * sizeof(T), "whole words");
    int words[kWords];
    memcpy(words, &x, sizeof words);
#pragma unroll
    for (int i = 0; i < kWords; ++i) words[i] = opaque(words[i]);
    memcpy(&x, words, sizeof words);
    return x;
}

// Has the values computed by here, where the compiler would move their computation down to their
// use: beneath asynchronous products that are waited for next.
template <int kCount>
__device__ __forceinline__ void computed(float (&values)[kCount]);

}  // namespace tile
}  // namespace caravan

#ifdef CARAVAN_SIMT
#include "simt/tile/opaque.h"
#else
#include "cuda/tile/ptx/opaque.cuh"
#endif
