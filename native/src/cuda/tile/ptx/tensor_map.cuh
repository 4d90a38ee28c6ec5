// Tensor maps by the CUDA driver; cuda/tile/tensor_map.h says what they are. The driver is reached
// through the runtime, so that nothing links it.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstring>

namespace caravan::tile {

namespace ptx {

using EncodeTiled = CUresult(CUDAAPI*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*,
                                       const cuuint64_t*, const cuuint64_t*, const cuuint32_t*,
                                       const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                                       CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

inline EncodeTiled find_encode_tiled() {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                               12000, cudaEnableDefault, &found);
    const bool good = error == cudaSuccess && found == cudaDriverEntryPointSuccess;
    return good ? reinterpret_cast<EncodeTiled>(function) : nullptr;
}

}  // namespace ptx

inline bool make_tensor_map(const TensorMapShape& shape, TensorMap* map) {
    static_assert(sizeof(TensorMap) == sizeof(CUtensorMap), "a map is 128 bytes");
    static const ptx::EncodeTiled encode = ptx::find_encode_tiled();
    if (encode == nullptr || tensor_map_fault(shape) != nullptr) return false;
    cuuint64_t extents[3] = {}, strides[2] = {};
    cuuint32_t boxes[3] = {}, steps[3] = {1, 1, 1};
    for (int i = 0; i < shape.rank; ++i) {
        extents[i] = static_cast<cuuint64_t>(shape.extent[i]);
        boxes[i] = static_cast<cuuint32_t>(shape.box[i]);
        if (i > 0) strides[i - 1] = static_cast<cuuint64_t>(shape.stride_bytes[i]);
    }
    CUtensorMapSwizzle swizzle = CU_TENSOR_MAP_SWIZZLE_NONE;
    if (shape.swizzle == Swizzle::k32) swizzle = CU_TENSOR_MAP_SWIZZLE_32B;
    if (shape.swizzle == Swizzle::k64) swizzle = CU_TENSOR_MAP_SWIZZLE_64B;
    if (shape.swizzle == Swizzle::k128) swizzle = CU_TENSOR_MAP_SWIZZLE_128B;
    alignas(64) CUtensorMap made;
    const CUresult result =
        encode(&made,
               shape.type == TensorMapType::kBf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                                  : CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
               static_cast<cuuint32_t>(shape.rank), const_cast<void*>(shape.data), extents, strides,
               boxes, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
               CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (result != CUDA_SUCCESS) return false;
    std::memcpy(map, &made, sizeof made);
    return true;
}

}  // namespace caravan::tile
