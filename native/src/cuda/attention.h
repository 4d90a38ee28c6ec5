// The routes of attention on CUDA; attention.cu chooses one by attention_config.h.
#pragma once

#include "caravan/caravan.h"
#include "cuda/attention_config.h"
#include "cuda/tile/launch.cuh"

namespace caravan {
namespace cuda {

// Any width, stride, storage and feature.
void attention_plain_forward(tile::Launcher& launcher, const caravan_attention_forward_args& args);
void attention_plain_backward(tile::Launcher& launcher,
                              const caravan_attention_backward_args& args);

// bf16. The routes by wgmma serve sm_90a.
void attention_mma_forward(tile::Launcher& launcher, const caravan_attention_forward_args& args,
                           AttentionWidths widths);
void attention_decode(tile::Launcher& launcher, const caravan_attention_forward_args& args,
                      AttentionWidths widths);
void attention_forward_sm90(tile::Launcher& launcher, const caravan_attention_forward_args& args,
                            AttentionWidths widths);
void attention_mma_backward(tile::Launcher& launcher, const caravan_attention_backward_args& args,
                            AttentionWidths widths);
void attention_backward_queries_sm90(tile::Launcher& launcher,
                                     const caravan_attention_backward_args& args,
                                     AttentionWidths widths);
// Behind it: reads the deltas that it leaves.
void attention_backward_keys_sm90(tile::Launcher& launcher,
                                  const caravan_attention_backward_args& args,
                                  AttentionWidths widths);

// What every route ends with: d_bias_table += the sums [slots, heads, buckets] over slots, and
// d_sinks += from delta [heads, query rows], the sums of d_out * out.
void attention_bias_sum(tile::Launcher& launcher, const caravan_attention_backward_args& args,
                        const float* sums, int64_t slots);
void attention_sink_sum(tile::Launcher& launcher, const caravan_attention_backward_args& args,
                        const float* delta);

}  // namespace cuda
}  // namespace caravan
