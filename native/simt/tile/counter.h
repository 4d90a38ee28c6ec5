// Counters in device memory of the emulation; cuda/tile/counter.cuh says what each wrapper means.
#pragma once

#include <cstdint>

#include "simt/machine.h"

namespace caravan::tile {

inline uint32_t counter_take(uint32_t* counter) { return atomicAdd(counter, 1u); }

inline void counter_wait(const uint32_t* counter, uint32_t count, simt::Site site) {
    const simt::Trusted trusted;
    simt::check_atomic(counter, 4, "ld.acquire");
    simt::wait_until([=] { return *counter >= count; }, "a turn", site);
    // Again: whom it has waited for is known to come before.
    simt::check_atomic(counter, 4, "ld.acquire");
}

inline void counter_add(uint32_t* counter) { atomicAdd(counter, 1u); }

}  // namespace caravan::tile
