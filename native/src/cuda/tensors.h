// Tensors of the ABI as launchers read them; the words are those of cpu/simd.h. Host code.
#pragma once

#include <type_traits>

#include "caravan/caravan.h"
#include "cuda/tile/vector.cuh"

namespace caravan {
namespace cuda {

template <typename T>
T* data(const caravan_tensor& tensor) {
    return static_cast<T*>(tensor.data);
}

inline int64_t element_count(const caravan_tensor& tensor) {
    int64_t count = 1;
    for (int i = 0; i < tensor.rank; ++i) count *= tensor.shape[i];
    return count;
}

// Elements from one row of a matrix to the next.
inline int64_t row_stride(const caravan_tensor& matrix) {
    return matrix.shape[0] > 1 ? matrix.stride[0] : matrix.shape[1];
}

inline int64_t element_bytes(const caravan_tensor& tensor) {
    return tensor.dtype == CARAVAN_BF16 ? 2 : 4;
}

// Whether every row of a matrix begins at a multiple of 16 bytes and is a whole number of them, so
// that threads may move 16 bytes at a time.
inline bool wide_rows(const caravan_tensor& matrix) {
    return tile::wide(matrix.data, row_stride(matrix), element_bytes(matrix)) &&
           matrix.shape[1] * element_bytes(matrix) % 16 == 0;
}

// Whether a tensor without gaps begins at a multiple of 16 bytes.
inline bool wide_start(const caravan_tensor& tensor) { return tile::wide(tensor.data, 0, 1); }

// Calls body(tag), tag a null pointer to the element type of float32 or bfloat16 storage.
template <typename Body>
void with_storage(int32_t dtype, Body&& body) {
    if (dtype == CARAVAN_BF16) {
        body(static_cast<tile::bf16*>(nullptr));
    } else {
        body(static_cast<float*>(nullptr));
    }
}

// The type that a tag of with_storage stands for.
template <typename Tag>
using StorageOf = std::remove_pointer_t<Tag>;

}  // namespace cuda
}  // namespace caravan
