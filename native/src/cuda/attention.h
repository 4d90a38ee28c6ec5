// The routes of attention on CUDA; attention.cu chooses one by attention_config.h.
#pragma once

#include "caravan/caravan.h"
#include "cuda/attention_config.h"
#include "cuda/tile/launch.cuh"

namespace caravan {
namespace cuda {

// What a backward pass leaves in its workspace for the end (attention_end).
struct AttentionLeft {
    int64_t bias_slots;  // of partial sums of the bias's gradient
    bool query_sums;     // d_q, in float32
};

// Any width, stride, storage and feature.
void attention_plain_forward(tile::Launcher& launcher, const caravan_attention_forward_args& args);
AttentionLeft attention_plain_backward(tile::Launcher& launcher,
                                       const caravan_attention_backward_args& args);

// bf16. The routes by wgmma serve sm_90a.
void attention_mma_forward(tile::Launcher& launcher, const caravan_attention_forward_args& args,
                           AttentionWidths widths);
void attention_decode(tile::Launcher& launcher, const caravan_attention_forward_args& args,
                      AttentionWidths widths);
void attention_forward_sm90(tile::Launcher& launcher, const caravan_attention_forward_args& args,
                            AttentionWidths widths);
AttentionLeft attention_mma_backward(tile::Launcher& launcher,
                                     const caravan_attention_backward_args& args,
                                     AttentionWidths widths);
AttentionLeft attention_backward_queries_sm90(tile::Launcher& launcher,
                                              const caravan_attention_backward_args& args,
                                              AttentionWidths widths);
// Behind it, or behind attention_deltas where it adds to d_q: reads the deltas that those leave.
void attention_backward_keys_sm90(tile::Launcher& launcher,
                                  const caravan_attention_backward_args& args,
                                  AttentionWidths widths);

// Deltas [heads, query rows], sums of d_out * out, at the front of the workspace, where every route
// has them; adds_queries: and zeros where attention_backward_keys_sm90 then adds to d_q.
void attention_deltas(tile::Launcher& launcher, const caravan_attention_backward_args& args,
                      bool adds_queries);

// What every route ends with: d_bias_table += the sums [slots, heads, buckets] over slots,
// d_sinks += from deltas, and d_q = what was added, where it was.
void attention_end(tile::Launcher& launcher, const caravan_attention_backward_args& args,
                   const AttentionLeft& left);

}  // namespace cuda
}  // namespace caravan
