// What the kernels of the matrix product share: its numbers, the limit on rows, the way into c.
#pragma once

#include <cstdint>

#include "cuda/tile/launch.cuh"
#include "cuda/tile/types.cuh"
#include "cuda/tile/vector.cuh"

namespace caravan {
namespace cuda {

// c = alpha * op(a) op(b) + beta * c, as the header defines it. Strides are in elements.
struct Product {
    const void* a;
    const void* b;
    void* c;
    const int32_t* rows;  // null: no limit
    int32_t m, n, k;
    int64_t a_stride, b_stride, c_stride;
    float alpha, beta;
    bool transpose_a, transpose_b;
    bool bf16_c;
    bool c_pairs;  // two neighbours in c may be written at once
};

// The extents in use. A limit outside its range makes all of c NaN.
struct Used {
    int32_t m, k;
    bool bad;
};

__device__ __forceinline__ Used used_extents(const Product& product) {
    Used used = {product.m, product.k, false};
    if (product.rows == nullptr) return used;
    int32_t& limited = product.transpose_a ? used.k : used.m;
    const int32_t rows = *product.rows;
    used.bad = rows < 0 || rows > limited;
    limited = used.bad ? 0 : rows;
    return used;
}

// The block's tile. Eight rows of tiles are walked together, so that those which run at one time
// share what they read in the second-level cache.
struct TilePlace {
    int32_t row, column;
};

__device__ __forceinline__ TilePlace tile_place(const Product& product, int tile_rows,
                                                int tile_columns) {
    constexpr unsigned kGroup = 8;
    const unsigned down = (static_cast<unsigned>(product.m) + tile_rows - 1) / tile_rows;
    const unsigned across = (static_cast<unsigned>(product.n) + tile_columns - 1) / tile_columns;
    const unsigned first = blockIdx.x / (kGroup * across) * kGroup;
    const unsigned height = min(kGroup, down - first);
    const unsigned inside = blockIdx.x % (kGroup * across);
    return {static_cast<int32_t>((first + inside % height) * tile_rows),
            static_cast<int32_t>(inside / height * tile_columns)};
}

template <typename T>
__device__ __forceinline__ void put_elements(const Product& product, int32_t row, int32_t column,
                                             const float (&sums)[2], bool limited, bool bad) {
    T* to = static_cast<T*>(product.c) + row * product.c_stride + column;
    const bool both = column + 1 < product.n;
    tile::Vector<T, 2> values;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        float value = limited ? 0.0f : product.alpha * sums[i];
        if (product.beta != 0 && (i == 0 || both)) value += product.beta * tile::to_float(to[i]);
        values[i] = tile::from_float<T>(bad ? NAN : value);
    }
    if (both && product.c_pairs) {
        tile::store(to, values);
    } else {
        to[0] = values[0];
        if (both) to[1] = values[1];
    }
}

// Writes the sums of (row, column) and of its neighbour to the right, where they lie in c. Rows
// beyond the limit become 0 when beta is 0, and stay as they are otherwise.
__device__ __forceinline__ void put_pair(const Product& product, const Used& used, int32_t row,
                                         int32_t column, const float (&sums)[2]) {
    if (row >= product.m || column >= product.n) return;
    const bool limited = row >= used.m;
    if (limited && !used.bad && product.beta != 0) return;
    if (product.bf16_c) {
        put_elements<tile::bf16>(product, row, column, sums, limited, used.bad);
    } else {
        put_elements<float>(product, row, column, sums, limited, used.bad);
    }
}

// What starts one, a kernel each.
void start_mma_product(tile::Launcher& launcher, const Product& product, bool wide);
void start_float_product(tile::Launcher& launcher, const Product& product, bool bf16_a,
                         bool bf16_b);

}  // namespace cuda
}  // namespace caravan
