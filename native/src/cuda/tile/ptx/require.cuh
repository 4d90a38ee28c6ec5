// What a wrapper does on an architecture that lacks its instruction.
#pragma once

#include "cuda/tile/arch.cuh"

namespace caravan::tile::ptx {

// Stands where an instruction is missing, so that one source compiles for every architecture.
// Launchers choose a kernel by capability and never reach it; should one do so, the launch fails.
__device__ __forceinline__ void unavailable() { __trap(); }

}  // namespace caravan::tile::ptx
