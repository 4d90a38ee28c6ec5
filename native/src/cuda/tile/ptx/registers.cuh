// setmaxnreg for nvcc; cuda/tile/registers.cuh says what each wrapper means.
#pragma once

#include "cuda/tile/ptx/require.cuh"

namespace caravan::tile {

template <int kCount>
__device__ void registers_release() {
    static_assert(kCount >= 24 && kCount <= 256 && kCount % 8 == 0, "24 to 256 in steps of 8");
#if CARAVAN_SM90A
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
#else
    ptx::unavailable();
#endif
}

template <int kCount>
__device__ void registers_claim() {
    static_assert(kCount >= 24 && kCount <= 256 && kCount % 8 == 0, "24 to 256 in steps of 8");
#if CARAVAN_SM90A
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
#else
    ptx::unavailable();
#endif
}

}  // namespace caravan::tile
