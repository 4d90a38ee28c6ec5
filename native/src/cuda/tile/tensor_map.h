// Tensor maps: what a tensor copy (tma.cuh) must know of a tensor in global memory. Made on the
// host, passed to a kernel as `const __grid_constant__ tile::TensorMap`, never looked into.
//
// A map describes a tensor of up to three dimensions, innermost first, and the box that one copy
// moves: a dense block in shared memory, its innermost dimension contiguous, swizzled. Elements of
// a box that lie outside the tensor are read as zeros and not written.
#pragma once

#include <cstdint>

#include "cuda/tile/swizzle.cuh"

namespace caravan::tile {

struct alignas(64) TensorMap {
    uint64_t opaque[16];
};

enum class TensorMapType : int32_t { kBf16 = 0, kF32 = 1 };

struct TensorMapShape {
    const void* data = nullptr;  // aligned to 16 bytes
    TensorMapType type = TensorMapType::kBf16;
    int32_t rank = 1;              // 1 to 3
    int64_t extent[3] = {};        // elements, innermost first
    int64_t stride_bytes[3] = {};  // of dimension i at [i]; [0] is not used; multiples of 16
    int32_t box[3] = {};           // elements, 1 to 256 each; box[0] is a multiple of 16 bytes, and
                                   // the swizzle's width where there is one
    Swizzle swizzle = Swizzle::kNone;
};

// The rules above and those of cuTensorMapEncodeTiled (CUDA driver API, "Tensor Map Object
// Management"). Null when all hold, else what is wrong.
inline const char* tensor_map_fault(const TensorMapShape& shape) {
    const int64_t width = shape.type == TensorMapType::kBf16 ? 2 : 4;
    if (shape.rank < 1 || shape.rank > 3) return "rank: needs 1 to 3";
    if (reinterpret_cast<uintptr_t>(shape.data) % 16 != 0) return "data: needs 16 bytes' alignment";
    for (int i = 0; i < shape.rank; ++i) {
        if (shape.extent[i] < 1 || shape.extent[i] > int64_t{1} << 32) {
            return "extent: needs 1 to 2^32";
        }
        if (shape.box[i] < 1 || shape.box[i] > 256) return "box: needs 1 to 256";
        if (i > 0 && (shape.stride_bytes[i] % 16 != 0 || shape.stride_bytes[i] <= 0 ||
                      shape.stride_bytes[i] >= int64_t{1} << 40)) {
            return "stride: needs a multiple of 16 bytes below 2^40";
        }
    }
    const int64_t row = shape.box[0] * width;
    if (row % 16 != 0) return "box: needs rows of a multiple of 16 bytes";
    if (shape.swizzle != Swizzle::kNone && row != swizzle_width(shape.swizzle)) {
        return "box: needs rows as long as the swizzle";
    }
    return nullptr;
}

// Makes a map. False when the shape breaks a rule or the driver refuses it.
inline bool make_tensor_map(const TensorMapShape& shape, TensorMap* map);

}  // namespace caravan::tile

#ifdef CARAVAN_SIMT
#include "simt/tile/tensor_map.h"
#else
#include "cuda/tile/ptx/tensor_map.cuh"
#endif
