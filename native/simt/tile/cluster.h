// Clusters of the emulation; cuda/tile/cluster.cuh says what each wrapper means.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "simt/machine.h"

namespace caravan::tile {

inline uint32_t cluster_rank() { return static_cast<uint32_t>(simt::self().block_rank); }
inline uint32_t cluster_size() { return static_cast<uint32_t>(simt::self().cluster_size); }
inline void cluster_arrive(simt::Site site) { simt::cluster_arrive(site); }
inline void cluster_wait(simt::Site site) { simt::cluster_wait(site); }
inline void cluster_sync(simt::Site site) {
    simt::cluster_arrive(site);
    simt::cluster_wait(site);
}

template <typename T>
inline void cluster_send(T* own, uint32_t rank, const T& value, Mbarrier* barrier) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "4 or 8 bytes");
    void* const to = simt::map_shared_rank(own, rank);
    simt::Work work;
    work.what = "st.async";
    work.writes[0] = {to, sizeof(T), sizeof(T)};
    work.releases = true;
    work.run = [to, value] { std::memcpy(to, &value, sizeof(T)); };
    simt::async_start(simt::map_shared_rank(barrier, rank), sizeof(T), std::move(work));
}

}  // namespace caravan::tile
