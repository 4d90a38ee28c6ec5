// Dynamic shared memory, carved into arrays. Kernels use no other: its size is exact, so the
// emulation sees every access beyond it, and clusters work alike.
#pragma once

#include <cstdint>

#include "cuda/tile/arch.cuh"

namespace caravan {
namespace tile {

#ifndef CARAVAN_SIMT
// Aligned for the tiles of bulk copies and warpgroup products, whose swizzles repeat every 1,024
// bytes.
extern __shared__ __align__(1024) unsigned char dynamic_shared[];
#endif

// The first byte of the block's dynamic shared memory, aligned to 1,024 bytes.
__device__ __forceinline__ unsigned char* shared_memory() {
#ifdef CARAVAN_SIMT
    return simt::shared_memory();
#else
    return dynamic_shared;
#endif
}

// Hands out arrays one behind the other, each aligned as asked (at least to its element, at most to
// 1,024 bytes). Every thread makes the same calls. The host gives the launch the bytes that
// `SharedLayout` counts by the same calls. Addresses are counted from the first byte: of one that
// was computed as an integer, the compiler would no longer know that it is in shared memory.
class Shared {
  public:
    template <typename T>
    __device__ __forceinline__ T* take(int64_t count, int alignment = alignof(T)) {
        const uint32_t begin = (next_ + alignment - 1) / alignment * alignment;
        next_ = begin + static_cast<uint32_t>(count * sizeof(T));
        return reinterpret_cast<T*>(shared_memory() + begin);
    }

  private:
    uint32_t next_ = 0;
};

// The host's side of `Shared`: the bytes of the same arrays.
class SharedLayout {
  public:
    template <typename T>
    SharedLayout& take(int64_t count, int alignment = alignof(T)) {
        bytes_ = (bytes_ + alignment - 1) / alignment * alignment;
        bytes_ += count * static_cast<int64_t>(sizeof(T));
        return *this;
    }
    int64_t bytes() const { return bytes_; }

  private:
    int64_t bytes_ = 0;
};

}  // namespace tile
}  // namespace caravan
