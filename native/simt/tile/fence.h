// Fences of the emulation; cuda/tile/fence.cuh says what each wrapper means.
#pragma once

#include "cuda/tile/arch.cuh"

namespace caravan::tile {

inline void fence_async_shared() { simt::fence_proxy_async(); }
inline void fence_async_global() { simt::fence_proxy_async(); }
inline void fence_block() { __threadfence_block(); }
inline void fence_device() { __threadfence(); }
inline void fence_system() { __threadfence_system(); }

}  // namespace caravan::tile
