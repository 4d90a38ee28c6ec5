// Barriers in shared memory that count arrivals and bytes: mbarrier (PTX ISA, "Parallel
// Synchronization and Communication Instructions: mbarrier"; the waits need sm_90).
//
// A barrier goes through phases. A phase is complete when all arrivals that it was made for have
// happened and as many bytes have been copied as were expected; the next then begins by itself.
// Waiting is for the phase of a parity: 0 for the first, 1 for the second, 0 again ... A thread
// that waits for parity 1 on a fresh barrier passes at once, as if a phase before the first were
// complete: so a ring's producer begins with its stages taken for free.
//
//   producer: mbarrier_wait(&free[s], parity ^ 1); mbarrier_arrive_expect(&full[s], bytes);
//   tma_load(...) consumer: mbarrier_wait(&full[s], parity); ...; mbarrier_arrive(&free[s])
#pragma once

#include <cstdint>

#include "cuda/tile/arch.cuh"
#include "cuda/tile/site.cuh"

namespace caravan::tile {

// Lives in shared memory; opaque.
struct alignas(8) Mbarrier {
    uint64_t state;
};

// Makes a barrier whose phases need `arrivals` (1 to 2^20 - 1) each. One thread does it; the others
// may use the barrier after a block barrier that follows.
__device__ __forceinline__ void mbarrier_init(Mbarrier* barrier, uint32_t arrivals);

// Makes initialised barriers visible to asynchronous copies and to the other blocks of a cluster:
// after the last mbarrier_init, before the barrier that releases the other threads
// (fence.mbarrier_init.release.cluster).
__device__ __forceinline__ void mbarrier_init_fence();

// Ends a barrier's life, so that its place may hold something else.
__device__ __forceinline__ void mbarrier_invalidate(Mbarrier* barrier);

// One arrival; releases what this thread wrote before to those whose wait it completes.
__device__ __forceinline__ void mbarrier_arrive(Mbarrier* barrier);

// One arrival, and `bytes` more to be copied in this phase.
__device__ __forceinline__ void mbarrier_arrive_expect(Mbarrier* barrier, uint32_t bytes);

// One arrival on the same barrier of block `rank` of the cluster, to tell that what this thread
// read may be overwritten. It releases nothing (.relaxed): for a release to a cluster the machine code
// holds the warp until the whole device has seen its accesses (MEMBAR.ALL.GPU), in a loop of
// products at each step. What is written for others goes by cluster_send.
__device__ __forceinline__ void mbarrier_arrive_cluster(Mbarrier* barrier, uint32_t rank);

// One arrival once all cp.async copies that this thread started before have landed, without a wait;
// it is one of the arrivals that the phase was made for (cp.async.mbarrier.arrive.noinc).
__device__ __forceinline__ void mbarrier_arrive_after_copies(Mbarrier* barrier);

// Whether the phase of this parity is complete; acquires what was released into it.
__device__ __forceinline__ bool mbarrier_test(Mbarrier* barrier, uint32_t parity);

// Waits for the phase of this parity.
__device__ __forceinline__ void mbarrier_wait(Mbarrier* barrier, uint32_t parity CARAVAN_SITE);

}  // namespace caravan::tile

#ifdef CARAVAN_SIMT
#include "simt/tile/mbarrier.h"
#else
#include "cuda/tile/ptx/mbarrier.cuh"
#endif
