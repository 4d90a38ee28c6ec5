// Clusters: blocks that run together and reach each other's shared memory (PTX ISA, "Cooperative
// thread array clusters", "barrier.cluster", "mapa", "ld"/"st" with .shared::cluster; sm_90 on).
//
// A block must not touch another's shared memory before that block has started nor after it has
// ended: cluster_sync once at the start and once behind the last access.
#pragma once

#include <cstdint>

#include "cuda/tile/arch.cuh"
#include "cuda/tile/site.cuh"

namespace caravan::tile {

// Number of this block in its cluster, and of blocks in it; 0 and 1 without a cluster.
__device__ __forceinline__ uint32_t cluster_rank();
__device__ __forceinline__ uint32_t cluster_size();

// A barrier over all threads of the cluster, in two halves: accesses before the arrival (release)
// are seen after the wait (acquire). Each thread calls both, in turn.
__device__ __forceinline__ void cluster_arrive(CARAVAN_SITE_ALONE);
__device__ __forceinline__ void cluster_wait(CARAVAN_SITE_ALONE);
__device__ __forceinline__ void cluster_sync(CARAVAN_SITE_ALONE);

// Reads or writes, in the shared memory of block `rank`, the place that `own` is in this block's.
// T has 4, 8 or 16 bytes and is aligned to as much.
template <typename T>
__device__ __forceinline__ T cluster_load(const T* own, uint32_t rank);
template <typename T>
__device__ __forceinline__ void cluster_store(T* own, uint32_t rank, const T& value);

}  // namespace caravan::tile

#ifdef CARAVAN_SIMT
#include "simt/tile/cluster.h"
#else
#include "cuda/tile/ptx/cluster.cuh"
#endif
