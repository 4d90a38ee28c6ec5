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

// bf16 without bias. The route by wgmma serves sm_90a.
void attention_mma_forward(tile::Launcher& launcher, const caravan_attention_forward_args& args,
                           AttentionWidths widths);
void attention_forward_sm90(tile::Launcher& launcher, const caravan_attention_forward_args& args,
                            AttentionWidths widths);
void attention_mma_backward(tile::Launcher& launcher, const caravan_attention_backward_args& args,
                            AttentionWidths widths);

}  // namespace cuda
}  // namespace caravan
