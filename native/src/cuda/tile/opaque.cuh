// Values that the compiler shall not know anything of.
#pragma once

#include "cuda/tile/arch.cuh"

namespace caravan {
namespace tile {

// x, from here on as if it had just been read: what depends on it is computed here and not kept in
// registers from before, as the compiler does with everything that a loop does not change.
__device__ __forceinline__ int opaque(int x) {
#ifndef CARAVAN_SIMT
    asm volatile("" : "+r"(x));
#endif
    return x;
}

}  // namespace tile
}  // namespace caravan
