// griddepcontrol for nvcc; cuda/tile/launch_dependents.cuh says what each wrapper means. Below
// sm_90 kernels of one stream never overlap, so there is nothing to do.
#pragma once

#include "cuda/tile/ptx/require.cuh"

namespace caravan::tile {

__device__ void launch_dependents() {
#if CARAVAN_SM90
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

__device__ void wait_for_predecessor() {
#if CARAVAN_SM90
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

}  // namespace caravan::tile
