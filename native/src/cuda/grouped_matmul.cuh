// What the kernels of the grouped products share, and how the one by warpgroups is started.
#pragma once

#include "cuda/experts.cuh"
#include "cuda/tile/launch.cuh"

namespace caravan {
namespace cuda {

// What both directions have.
struct Grouped {
    const void* x;  // rows that are gathered
    int64_t x_stride;
    const int32_t *assignments, *offsets;
    const void* w;
    int32_t experts, rows, x_rows, choices;
    int32_t depth, width, units;  // of a row: of x, of the product, of the activation
    int32_t activation;
    bool gated;
};

template <typename O>
struct ForwardOut {
    O *out, *act;
    int64_t out_stride, act_stride;
};

template <typename O>
struct BackwardOut {
    const float* weights;  // by assignment
    const O* h;
    O *d_h, *act;
    float* d_weights;
    int64_t h_stride, d_h_stride, act_stride;
    int32_t assignments;
};

// The weight of a row's assignment; NaN for one out of range.
template <typename O>
__device__ __forceinline__ float weight_of(const Grouped& g, const BackwardOut<O>& to,
                                           int64_t row) {
    const int32_t assignment = g.assignments[row];
    return assignment < 0 || assignment >= to.assignments ? NAN : to.weights[assignment];
}

// False where the device or the shape is not for warpgroups; nothing was started then. kAlongK:
// weights are [N, K].
bool start_grouped_forward_sm90(tile::Launcher& launcher, const Grouped& g, bool along_k,
                                const ForwardOut<tile::bf16>& to);
bool start_grouped_backward_sm90(tile::Launcher& launcher, const Grouped& g,
                                 const BackwardOut<tile::bf16>& to);

}  // namespace cuda
}  // namespace caravan
