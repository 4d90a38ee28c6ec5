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
    if (product.rows == nullptr) return {product.m, product.k, false};
    const int32_t rows = *product.rows;
    const bool bad = rows < 0 || rows > (product.transpose_a ? product.k : product.m);
    const int32_t limit = bad ? 0 : rows;
    if (product.transpose_a) return {product.m, limit, bad};
    return {limit, product.k, bad};
}

// Where tile number `index` begins. kGroup rows of tiles are walked together, so that those which
// run at one time share what they read in the second-level cache.
struct TilePlace {
    int32_t row, column;
};

template <unsigned kGroup = 8>
__device__ __forceinline__ TilePlace tile_place(const Product& product, unsigned index,
                                                int tile_rows, int tile_columns) {
    const unsigned down = (static_cast<unsigned>(product.m) + tile_rows - 1) / tile_rows;
    const unsigned across = (static_cast<unsigned>(product.n) + tile_columns - 1) / tile_columns;
    const unsigned first = index / (kGroup * across) * kGroup;
    const unsigned height = min(kGroup, down - first);
    const unsigned inside = index % (kGroup * across);
    return {static_cast<int32_t>((first + inside % height) * tile_rows),
            static_cast<int32_t>(inside / height * tile_columns)};
}

// Two neighbours of a row.
struct Pair {
    float low, high;
};

// What c held at (row, column) and right of it; 0 where that is outside of c.
template <typename T>
__device__ __forceinline__ Pair read_elements(const Product& product, int32_t row, int32_t column) {
    if (row >= product.m || column >= product.n) return {0.0f, 0.0f};
    const T* from = static_cast<const T*>(product.c) + row * product.c_stride + column;
    if (column + 1 >= product.n) return {tile::to_float(from[0]), 0.0f};
    if (!product.c_pairs) return {tile::to_float(from[0]), tile::to_float(from[1])};
    const auto values = tile::load<2>(from);
    return {tile::to_float(values[0]), tile::to_float(values[1])};
}

// alpha * sums + beta * c at (row, column) and right of it. Rows beyond the limit become 0.
template <typename T>
__device__ __forceinline__ Pair finished(const Product& product, const Used& used, int32_t row,
                                         int32_t column, float low, float high) {
    if (used.bad) return {NAN, NAN};
    if (row >= used.m) return {0.0f, 0.0f};
    Pair pair = {product.alpha * low, product.alpha * high};
    if (product.beta != 0) {
        const Pair before = read_elements<T>(product, row, column);
        pair.low += product.beta * before.low;
        pair.high += product.beta * before.high;
    }
    return pair;
}

template <typename T>
__device__ __forceinline__ void put_elements(const Product& product, const Used& used, int32_t row,
                                             int32_t column, float low, float high) {
    const Pair pair = finished<T>(product, used, row, column, low, high);
    T* to = static_cast<T*>(product.c) + row * product.c_stride + column;
    const bool both = column + 1 < product.n;
    if (both && product.c_pairs) {
        tile::Vector<T, 2> values = {
            {tile::from_float<T>(pair.low), tile::from_float<T>(pair.high)}};
        tile::store(to, values);
    } else {
        to[0] = tile::from_float<T>(pair.low);
        if (both) to[1] = tile::from_float<T>(pair.high);
    }
}

// Writes the sums of (row, column) and of its neighbour to the right, where they lie in c. Rows
// beyond the limit become 0 when beta is 0, and stay as they are otherwise.
__device__ __forceinline__ void put_pair(const Product& product, const Used& used, int32_t row,
                                         int32_t column, float low, float high) {
    if (row >= product.m || column >= product.n) return;
    if (row >= used.m && !used.bad && product.beta != 0) return;
    if (product.bf16_c) {
        put_elements<tile::bf16>(product, used, row, column, low, high);
    } else {
        put_elements<float>(product, used, row, column, low, high);
    }
}

// What starts one, a kernel each.
void start_mma_product(tile::Launcher& launcher, const Product& product, bool wide);
void start_float_product(tile::Launcher& launcher, const Product& product, bool bf16_a,
                         bool bf16_b);
// False where the device or the product is not for warpgroups; nothing was started then.
bool start_wgmma_product(tile::Launcher& launcher, const Product& product);

}  // namespace cuda
}  // namespace caravan
