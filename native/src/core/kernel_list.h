// Every op, once: name of its kernel and type of its argument struct. The tables of the CPU's
// kernels and of a device library's are made from this list.
#pragma once

#define CARAVAN_KERNELS(X)                                           \
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
