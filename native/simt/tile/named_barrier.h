// Named barriers of the emulation; cuda/tile/named_barrier.cuh says what each wrapper means.
#pragma once

#include "simt/machine.h"

namespace caravan::tile {

inline void barrier_sync(int id, int threads, simt::Site site) {
    simt::named_barrier_sync(id, threads, site);
}

inline void barrier_arrive(int id, int threads, simt::Site site) {
    simt::named_barrier_arrive(id, threads, site);
}

}  // namespace caravan::tile
