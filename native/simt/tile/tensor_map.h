// Tensor maps of the emulation; cuda/tile/tensor_map.h says what they are.
#pragma once

#include <cstdint>
#include <cstring>

#include "cuda/tile/tensor_map.h"

namespace caravan::tile {

namespace emulation {

inline constexpr uint64_t kMapMark = 0x70616d726f736e74;

// What lies in the 128 bytes.
struct MapContents {
    uint64_t mark;
    TensorMapShape shape;
};
static_assert(sizeof(MapContents) <= sizeof(TensorMap), "a map is 128 bytes");

}  // namespace emulation

inline bool make_tensor_map(const TensorMapShape& shape, TensorMap* map) {
    if (tensor_map_fault(shape) != nullptr) return false;
    const emulation::MapContents contents = {emulation::kMapMark, shape};
    std::memset(map, 0, sizeof *map);
    std::memcpy(map, &contents, sizeof contents);
    return true;
}

}  // namespace caravan::tile
