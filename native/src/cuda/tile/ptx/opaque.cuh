// Empty statements for nvcc; cuda/tile/opaque.cuh says what each wrapper means.
#pragma once

namespace caravan {
namespace tile {

__device__ int opaque(int x) {
    asm volatile("" : "+r"(x));
    return x;
}

template <int kCount>
__device__ void computed(float (&values)[kCount]) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(values[i]));
}

}  // namespace tile
}  // namespace caravan
