// One value of each block of a cluster, brought to all of them: each block sends its own into the
// others' shared memory, where a barrier counts the bytes. A barrier over the cluster would do, but
// it holds every thread until the device has seen all of its stores, those of the rows before too.
#pragma once

#include <cstdint>

#include "cuda/tile/cluster.cuh"
#include "cuda/tile/mbarrier.cuh"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {

inline constexpr int kExchangeBlocks = 8;  // most of a cluster
inline constexpr int kExchangeTurns = 2;   // a block may be one exchange ahead of another

// All threads of all blocks of the cluster make the same calls. T has 4 or 8 bytes.
template <typename T>
class ClusterExchange {
  public:
    // As early as possible: the first exchange waits for all blocks to have come this far. Nothing
    // is done where `blocks` is 1. The same takes as by `layout`.
    __device__ __forceinline__ ClusterExchange(tile::Shared& shared, int blocks)
        : values_(shared.take<T>(kExchangeTurns * kExchangeBlocks, 8)),
          arrived_(shared.take<tile::Mbarrier>(kExchangeTurns)),
          blocks_(blocks) {
        if (blocks == 1) return;
        if (threadIdx.x == 0) {
            for (int i = 0; i < kExchangeTurns; ++i) tile::mbarrier_init(arrived_ + i, 1);
            tile::mbarrier_init_fence();
        }
        tile::cluster_arrive();
    }

    template <typename Layout>
    static void layout(Layout& layout) {
        layout.template take<T>(kExchangeTurns * kExchangeBlocks, 8);
        layout.template take<tile::Mbarrier>(kExchangeTurns);
    }

    // Before the first exchange, or the end of a kernel that may have none.
    __device__ __forceinline__ void begin() const {
        if (blocks_ > 1) tile::cluster_wait();
    }

    // Exchange number `turn`, from 0 on, of a `value` that all threads of a block have alike: the
    // values by rank, until the next but one. Between two exchanges a block meets at a barrier.
    __device__ __forceinline__ const T* operator()(const T& value, int turn) const {
        const int place = turn % kExchangeTurns;
        T* const values = values_ + place * kExchangeBlocks;
        tile::Mbarrier* const arrived = arrived_ + place;
        const auto thread = static_cast<int>(threadIdx.x);
        if (thread == 0) {
            tile::mbarrier_arrive_expect(arrived, static_cast<uint32_t>(blocks_ * sizeof(T)));
        }
        if (thread < blocks_) {
            tile::cluster_send(values + tile::cluster_rank(), static_cast<uint32_t>(thread), value,
                               arrived);
        }
        tile::mbarrier_wait(arrived, static_cast<uint32_t>(turn / kExchangeTurns % 2));
        return values;
    }

  private:
    T* values_;
    tile::Mbarrier* arrived_;
    int blocks_;
};

}  // namespace cuda
}  // namespace caravan
