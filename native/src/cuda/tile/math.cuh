// Functions of one instruction. PTX ISA, "Floating Point Instructions: ex2, rcp, sqrt".
#pragma once

#include "cuda/tile/arch.cuh"
#ifdef CARAVAN_SIMT
#include "simt/tile/math.h"
#else
#include "cuda/tile/ptx/math.cuh"
#endif

namespace caravan {
namespace tile {

// tanh(x), with an error of few units in the last place of 1: for caps, where the distance from 1
// and not the relative error counts.
__device__ __forceinline__ float tanh_of_cap(float x) {
    constexpr float kTwoLog2E = 2.885390081777927f;
    return 1.0f - 2.0f * reciprocal(1.0f + exp2_flushed(x * kTwoLog2E));
}

}  // namespace tile
}  // namespace caravan
