// The routes of attention on CUDA.
#pragma once

#include "caravan/caravan.h"
#include "cuda/tile/launch.cuh"

namespace caravan {
namespace cuda {

// Any width, stride, storage and feature.
void attention_plain_forward(tile::Launcher& launcher, const caravan_attention_forward_args& args);
void attention_plain_backward(tile::Launcher& launcher,
                              const caravan_attention_backward_args& args);

}  // namespace cuda
}  // namespace caravan
