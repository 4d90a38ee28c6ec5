// Overlap of a kernel's start with its predecessor's end on one stream (PTX ISA, "Parallel
// Synchronization and Communication Instructions: griddepcontrol"; sm_90 on). It takes effect only
// where the launch allows it; elsewhere both do nothing.
#pragma once

#include "cuda/tile/arch.cuh"

namespace caravan::tile {

// The next kernel may begin once every block has called this or ended. What this kernel writes is
// visible to it only after its own wait_for_predecessor.
__device__ __forceinline__ void launch_dependents();

// Waits until the kernels before have ended and their writes are visible.
__device__ __forceinline__ void wait_for_predecessor();

}  // namespace caravan::tile

#ifdef CARAVAN_SIMT
#include "simt/tile/launch_dependents.h"
#else
#include "cuda/tile/ptx/launch_dependents.cuh"
#endif
