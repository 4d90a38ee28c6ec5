// What kernels share that keep a ring of tiles in shared memory full for warpgroups.
#pragma once

#include <cstdint>

#include "cuda/matmul_config.h"
#include "cuda/tile/mbarrier.cuh"
#include "cuda/tile/tma.cuh"

namespace caravan {
namespace cuda {

// Where in the ring a thread is.
template <int kStages>
struct Turn {
    int stage = 0;
    uint32_t parity = 0;

    __device__ __forceinline__ void next() {
        if (++stage == kStages) {
            stage = 0;
            parity ^= 1;
        }
    }
};

struct Ring {
    unsigned char* stages;
    tile::Mbarrier* full;  // a stage's bytes have arrived in this block
    tile::Mbarrier* free;  // the consumer warps of all blocks of the cluster have read it
};

// The map of a matrix of bf16, whose boxes are 64 elements of its rows by `box_rows` rows. stride: in
// elements.
inline tile::TensorMapShape matrix_shape(const void* data, int64_t columns, int64_t rows,
                                         int64_t stride, int box_rows) {
    tile::TensorMapShape shape;
    shape.data = data;
    shape.rank = 2;
    shape.extent[0] = columns;
    shape.extent[1] = rows;
    shape.stride_bytes[1] = stride * 2;
    shape.box[0] = kWgmmaDepth;
    shape.box[1] = box_rows;
    shape.swizzle = tile::Swizzle::k128;
    return shape;
}

}  // namespace cuda
}  // namespace caravan
