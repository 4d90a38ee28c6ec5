// What the kernels of the gradients of grouped weights share, and how the one by warpgroups is
// started.
#pragma once

#include "cuda/experts.cuh"
#include "cuda/tile/launch.cuh"

namespace caravan {
namespace cuda {

struct Outer {
    const int32_t *assignments, *offsets;
    float* c;
    int32_t experts, rows, choices, m, n;
    int32_t a_rows, b_rows;
    bool gather_a, gather_b;

    __device__ __forceinline__ Gather a_index(int32_t first) const {
        return {gather_a ? assignments : nullptr, first, choices, a_rows};
    }
    __device__ __forceinline__ Gather b_index(int32_t first) const {
        return {gather_b ? assignments : nullptr, first, choices, b_rows};
    }
};

// False where the device or the shape is not for warpgroups; nothing was started then.
bool start_grouped_outer_sm90(tile::Launcher& launcher, const Outer& o, const caravan_tensor& a,
                              const caravan_tensor& b);

}  // namespace cuda
}  // namespace caravan
