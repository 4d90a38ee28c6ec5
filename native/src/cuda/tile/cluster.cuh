// Clusters: blocks that run together and reach each other's shared memory (PTX ISA, "Cooperative
// thread array clusters", "barrier.cluster", "mapa", "st.async"; sm_90 on).
//
// A block must not touch another's shared memory before that block has started nor after it has
// ended: cluster_sync, or cluster_arrive and cluster_wait, once at the start, and cluster_sync once
// behind the last access, unless each block waits for all that is sent to it.
#pragma once

#include <cstdint>

#include "cuda/tile/arch.cuh"
#include "cuda/tile/mbarrier.cuh"
#include "cuda/tile/site.cuh"

namespace caravan::tile {

// Number of this block in its cluster, and of blocks in it; 0 and 1 without a cluster.
__device__ __forceinline__ uint32_t cluster_rank();
__device__ __forceinline__ uint32_t cluster_size();

// A barrier over all threads of the cluster. By cluster_sync accesses before it are seen behind it,
// for which each thread waits until the whole device has seen its own (MEMBAR.ALL.GPU).
__device__ __forceinline__ void cluster_sync(CARAVAN_SITE_ALONE);

// The same in two halves, which each thread calls in turn, and which order no accesses but the
// initialisation of barriers by mbarrier_init_fence.
__device__ __forceinline__ void cluster_arrive(CARAVAN_SITE_ALONE);
__device__ __forceinline__ void cluster_wait(CARAVAN_SITE_ALONE);

// Writes, in the shared memory of block `rank`, the place that `own` is in this block's, without
// waiting for anything. It counts sizeof(T) bytes of the phase of `barrier` of that block
// (mbarrier_arrive_expect), whose threads see the value once they have waited for it. T has 4 or 8
// bytes and is aligned to as much.
template <typename T>
__device__ __forceinline__ void cluster_send(T* own, uint32_t rank, const T& value,
                                             Mbarrier* barrier);

}  // namespace caravan::tile

#ifdef CARAVAN_SIMT
#include "simt/tile/cluster.h"
#else
#include "cuda/tile/ptx/cluster.cuh"
#endif
