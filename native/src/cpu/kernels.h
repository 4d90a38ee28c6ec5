// The CPU kernels, one source compiled once for each instruction set: every kernel lives in
// caravan::v3 and caravan::v4, and the table of the better one that this processor has is chosen once.
// Arguments have passed the checks of src/api; kernels trust them.
#pragma once

#include "caravan/caravan.h"
#include "core/pool.h"

// name of the kernel, type of its argument struct
#define CARAVAN_CPU_KERNELS(X)                             \
    X(adafactor_step, caravan_adafactor_args)              \
    X(adamw_step, caravan_adamw_args)                      \
    X(add_forward, caravan_add_args)                       \
    X(attention_forward, caravan_attention_forward_args)   \
    X(attention_backward, caravan_attention_backward_args) \
    X(bias_forward, caravan_bias_forward_args)             \
    X(bias_backward, caravan_bias_backward_args)           \
    X(cache_append_forward, caravan_cache_append_args)     \
    X(cast_forward, caravan_cast_args)                     \
    X(cross_entropy_forward, caravan_cross_entropy_args)   \
    X(embedding_forward, caravan_embedding_forward_args)   \
    X(embedding_backward, caravan_embedding_backward_args) \
    X(gather_forward, caravan_gather_args)                 \
    X(gather_backward, caravan_gather_args)                \
    X(geglu_forward, caravan_glu_forward_args)             \
    X(geglu_backward, caravan_glu_backward_args)           \
    X(global_norm_forward, caravan_global_norm_args)       \
    X(matmul_forward, caravan_matmul_args)                 \
    X(rmsnorm_forward, caravan_rmsnorm_forward_args)       \
    X(rmsnorm_backward, caravan_rmsnorm_backward_args)     \
    X(rope_forward, caravan_rope_args)                     \
    X(rope_backward, caravan_rope_args)                    \
    X(swiglu_forward, caravan_glu_forward_args)            \
    X(swiglu_backward, caravan_glu_backward_args)

namespace caravan {

#define CARAVAN_DECLARE_KERNEL(name, Args) void name(Pool& pool, const Args& args);
namespace v3 {
CARAVAN_CPU_KERNELS(CARAVAN_DECLARE_KERNEL)
}
namespace v4 {
CARAVAN_CPU_KERNELS(CARAVAN_DECLARE_KERNEL)
}
#undef CARAVAN_DECLARE_KERNEL

struct CpuKernels {
    const char* isa;  // "x86-64-v3" or "x86-64-v4"
#define CARAVAN_KERNEL_FIELD(name, Args) void (*name)(Pool& pool, const Args& args);
    CARAVAN_CPU_KERNELS(CARAVAN_KERNEL_FIELD)
#undef CARAVAN_KERNEL_FIELD
};

// The table for this processor. Throws CARAVAN_UNSUPPORTED on one older than x86-64-v3. The environment
// variable CARAVAN_ISA (v3 or v4) narrows the choice, so that tests run both where both exist.
const CpuKernels& cpu_kernels();

// The product that the host set; throws CARAVAN_UNSUPPORTED when none is.
caravan_sgemm cpu_sgemm();

}  // namespace caravan
