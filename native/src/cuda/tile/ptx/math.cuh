// Approximations by single instructions for nvcc.
#pragma once

namespace caravan {
namespace tile {

// 2^x within 2 units in the last place; 0 where that would be subnormal.
__device__ __forceinline__ float exp2_flushed(float x) {
    float value;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(value) : "f"(x));
    return value;
}

// The square root of x, within a relative error of 2^-23; subnormal numbers are not flushed.
__device__ __forceinline__ float square_root(float x) {
    float value;
    asm("sqrt.approx.f32 %0, %1;" : "=f"(value) : "f"(x));
    return value;
}

// 1 / x within 1 unit in the last place; 0 for an infinity.
__device__ __forceinline__ float reciprocal(float x) {
    float value;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(value) : "f"(x));
    return value;
}

}  // namespace tile
}  // namespace caravan
