// What kernels share that keep a ring of tiles in shared memory full for warpgroups.
#pragma once

#include <cstdint>

#include "cuda/tile/mbarrier.cuh"

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

}  // namespace cuda
}  // namespace caravan
