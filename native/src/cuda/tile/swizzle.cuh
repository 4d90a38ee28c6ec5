// Swizzles: permutations of the 16-byte columns of shared memory, with which tiles are read by rows
// and by columns without bank conflicts (PTX ISA, "Tensors: Swizzling Modes", and "Asynchronous
// Warpgroup Level Matrix Instructions: Shared Memory Matrix Layout").
//
// Each maps a byte offset to a byte offset by XORing bits of the 128-byte line's number into bits
// of the 16-byte column's. It is its own inverse, and works on the offset from a place aligned to
// swizzle_period.
#pragma once

#include <cstdint>

#include "cuda/tile/arch.cuh"

namespace caravan::tile {

// The values are those of bits 62-63 of a wgmma descriptor.
enum class Swizzle : uint32_t { kNone = 0, k128 = 1, k64 = 2, k32 = 3 };

// Bytes of a row of the tile: how far a swizzled tile may reach along its contiguous dimension.
__host__ __device__ constexpr uint32_t swizzle_width(Swizzle swizzle) {
    return swizzle == Swizzle::k128  ? 128
           : swizzle == Swizzle::k64 ? 64
           : swizzle == Swizzle::k32 ? 32
                                     : 16;
}

// Bytes after which the pattern repeats, and to which a tile must be aligned: eight rows.
__host__ __device__ constexpr uint32_t swizzle_period(Swizzle swizzle) {
    return swizzle_width(swizzle) * 8;
}

__host__ __device__ constexpr uint32_t swizzle_128(uint32_t offset) {
    return offset ^ ((offset >> 7 & 7) << 4);
}
__host__ __device__ constexpr uint32_t swizzle_64(uint32_t offset) {
    return offset ^ ((offset >> 7 & 3) << 4);
}
__host__ __device__ constexpr uint32_t swizzle_32(uint32_t offset) {
    return offset ^ ((offset >> 7 & 1) << 4);
}

__host__ __device__ constexpr uint32_t swizzled(Swizzle swizzle, uint32_t offset) {
    return swizzle == Swizzle::k128  ? swizzle_128(offset)
           : swizzle == Swizzle::k64 ? swizzle_64(offset)
           : swizzle == Swizzle::k32 ? swizzle_32(offset)
                                     : offset;
}

}  // namespace caravan::tile
