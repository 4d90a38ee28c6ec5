// The CUDA kernels: one launcher an op, in namespace caravan::cuda. Arguments have passed the
// checks of src/api, but for values that lie in device memory.
#pragma once

#include "core/device_entry.h"
#include "cuda/tile/launch.cuh"

// name of the launcher, type of its argument struct; an op that is not here is "not built yet"
#define CARAVAN_CUDA_KERNELS(X)                                      \
    X(adafactor_step, caravan_adafactor_args)                        \
    X(adamw_step, caravan_adamw_args)                                \
    X(add_forward, caravan_add_args)                                 \
    X(attention_forward, caravan_attention_forward_args)             \
    X(attention_backward, caravan_attention_backward_args)           \
    X(balance_forward, caravan_balance_args)                         \
    X(bias_forward, caravan_bias_forward_args)                       \
    X(bias_backward, caravan_bias_backward_args)                     \
    X(cache_append_forward, caravan_cache_append_args)               \
    X(cast_forward, caravan_cast_args)                               \
    X(class_statistics_forward, caravan_class_statistics_args)       \
    X(combine_forward, caravan_combine_args)                         \
    X(cross_entropy_forward, caravan_cross_entropy_args)             \
    X(embedding_forward, caravan_embedding_forward_args)             \
    X(embedding_backward, caravan_embedding_backward_args)           \
    X(expert_places_forward, caravan_expert_places_args)             \
    X(expert_sort_forward, caravan_expert_sort_args)                 \
    X(gather_forward, caravan_gather_args)                           \
    X(gather_backward, caravan_gather_args)                          \
    X(geglu_forward, caravan_glu_forward_args)                       \
    X(geglu_backward, caravan_glu_backward_args)                     \
    X(global_norm_forward, caravan_global_norm_args)                 \
    X(grouped_matmul_forward, caravan_grouped_matmul_forward_args)   \
    X(grouped_matmul_backward, caravan_grouped_matmul_backward_args) \
    X(grouped_outer_forward, caravan_grouped_outer_args)             \
    X(matmul_forward, caravan_matmul_args)                           \
    X(rmsnorm_forward, caravan_rmsnorm_forward_args)                 \
    X(rmsnorm_backward, caravan_rmsnorm_backward_args)               \
    X(rope_forward, caravan_rope_args)                               \
    X(rope_backward, caravan_rope_args)                              \
    X(router_forward, caravan_router_forward_args)                   \
    X(router_backward, caravan_router_backward_args)                 \
    X(row_dot_forward, caravan_row_dot_args)                         \
    X(swiglu_forward, caravan_glu_forward_args)                      \
    X(swiglu_backward, caravan_glu_backward_args)

namespace caravan {
namespace cuda {

#define CARAVAN_DECLARE_KERNEL(name, Args) void name(tile::Launcher& launcher, const Args& args);
CARAVAN_CUDA_KERNELS(CARAVAN_DECLARE_KERNEL)
#undef CARAVAN_DECLARE_KERNEL

// Calls body(launcher, args) with a launcher for the stream. Each device library has its own.
caravan_status with_launcher(int32_t index, void* stream,
                             void (*body)(tile::Launcher& launcher, const void* args),
                             const void* args);

// The table of what is built.
extern const DeviceKernels kKernels;

}  // namespace cuda
}  // namespace caravan
