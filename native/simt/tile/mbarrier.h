// mbarrier of the emulation; cuda/tile/mbarrier.cuh says what each wrapper means.
#pragma once

#include <cstdint>

#include "simt/machine.h"

namespace caravan::tile {

inline void mbarrier_init(Mbarrier* barrier, uint32_t arrivals) {
    simt::mbarrier_init(barrier, arrivals);
}

// The emulation's barriers are visible at once.
inline void mbarrier_init_fence() {}

inline void mbarrier_invalidate(Mbarrier* barrier) { simt::mbarrier_invalidate(barrier); }

inline void mbarrier_arrive(Mbarrier* barrier) { simt::mbarrier_arrive(barrier); }

inline void mbarrier_arrive_expect(Mbarrier* barrier, uint32_t bytes) {
    simt::mbarrier_expect(barrier, bytes);
    simt::mbarrier_arrive(barrier);
}

// Here it releases what was written too, which a device may not.
inline void mbarrier_arrive_cluster(Mbarrier* barrier, uint32_t rank) {
    simt::mbarrier_arrive(simt::map_shared_rank(barrier, rank));
}

inline void mbarrier_arrive_after_copies(Mbarrier* barrier) { simt::async_arrive(barrier, true); }

inline bool mbarrier_test(Mbarrier* barrier, uint32_t parity) {
    return simt::mbarrier_test(barrier, parity);
}

inline void mbarrier_wait(Mbarrier* barrier, uint32_t parity, simt::Site site) {
    simt::mbarrier_wait(barrier, parity, site);
}

}  // namespace caravan::tile
