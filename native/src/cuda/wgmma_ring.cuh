// What kernels share that keep a ring of tiles in shared memory full for warpgroups.
#pragma once

#include <cstdint>

#include "cuda/matmul_config.h"
#include "cuda/tile/cluster.cuh"
#include "cuda/tile/mbarrier.cuh"
#include "cuda/tile/tma.cuh"
#include "cuda/tile/vector.cuh"

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

    // A consumer warp has read a stage: tells all blocks of the cluster.
    __device__ __forceinline__ void release(int stage, int lane, int cluster) const {
        if (lane < cluster) {
            tile::mbarrier_arrive_cluster(free + stage, static_cast<uint32_t>(lane));
        }
    }
};

// A tensor copy into the same place of all blocks of the cluster.
__device__ __forceinline__ void load_for_all(void* to, const tile::TensorMap& map, int x, int y,
                                             tile::Mbarrier* full, int cluster) {
    if (cluster == 1) {
        tile::tma_load(to, map, x, y, full);
    } else {
        tile::tma_load_multicast(to, map, x, y, full, static_cast<uint16_t>((1 << cluster) - 1));
    }
}

// Makes 0 of the lines from `valid` on of `count` panels of 64 lines. All consumers call, and then
// fence and meet.
__device__ __forceinline__ void clear_lines(unsigned char* panels, int count, int valid) {
    const int thread = static_cast<int>(threadIdx.x) - kWgmmaGroup;
    const int parts = (kWgmmaDepth - valid) * kWgmmaLine / 16;
    const tile::Vector<uint32_t, 4> zeros = {};
    for (int i = thread; i < count * parts; i += kWgmmaConsumers) {
        tile::store(reinterpret_cast<uint32_t*>(panels + i / parts * kWgmmaPanelBytes +
                                                valid * kWgmmaLine + i % parts * 16),
                    zeros);
    }
}

// The map of a matrix of bf16, whose boxes are 64 elements of its rows by `box_rows` rows. stride:
// in elements.
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
