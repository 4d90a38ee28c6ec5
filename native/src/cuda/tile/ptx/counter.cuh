// Counters in device memory for nvcc; cuda/tile/counter.cuh says what each wrapper means.
#pragma once

#include <cstdint>

namespace caravan::tile {

__device__ uint32_t counter_take(uint32_t* counter) { return atomicAdd(counter, 1u); }

__device__ void counter_wait(const uint32_t* counter, uint32_t count) {
    uint32_t now;
    do {
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                     : "=r"(now)
                     : "l"(__cvta_generic_to_global(counter))
                     : "memory");
    } while (now < count);
}

__device__ void counter_add(uint32_t* counter) {
    asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(__cvta_generic_to_global(counter))
                 : "memory");
}

}  // namespace caravan::tile
