// Between the registers of a warp and rows of a bf16 matrix, by way of lines in shared memory.
#pragma once

#include "cuda/matmul_config.h"
#include "cuda/tile/matrix.cuh"
#include "cuda/tile/swizzle.cuh"
#include "cuda/tile/types.cuh"
#include "cuda/tile/vector.cuh"

namespace caravan {
namespace cuda {

#if CARAVAN_SM90A
using tile::bf16;

// A warp's way between registers and 16 rows of a matrix, 64 columns at a time, through a buffer of
// its own: so that memory is read and written in lines.
struct Lines {
    unsigned char* buffer;
    int rows;  // of the 16 that are in use

    // Where pairs of columns j and j + 1, of 8 each, lie for a lane, as stmatrix takes them.
    __device__ __forceinline__ unsigned char* pairs(int j) const {
        const int lane = threadIdx.x % tile::kWarp;
        const int at = lane % 16 * kWgmmaLine + (j + lane / 16) * 16;
        return buffer + tile::swizzle_128(static_cast<uint32_t>(at));
    }

    template <typename Body>
    __device__ __forceinline__ void each(int32_t columns, Body&& body) const {
        const int lane = threadIdx.x % tile::kWarp;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int line = i * 4 + lane / 8, at = lane % 8 * 8;
            unsigned char* const place =
                buffer + tile::swizzle_128(static_cast<uint32_t>(line * kWgmmaLine + at * 2));
            body(line, at, reinterpret_cast<bf16*>(place), line < rows && at < columns);
        }
    }

    // `columns` of the 64 are in use, a multiple of 8.
    __device__ __forceinline__ void put(bf16* to, int64_t stride, int32_t columns) const {
        __syncwarp();
        each(columns, [&](int line, int at, const bf16* place, bool used) {
            if (used) tile::store(to + line * stride + at, tile::load<8>(place));
        });
        __syncwarp();
    }

    __device__ __forceinline__ void take(const bf16* from, int64_t stride, int32_t columns) const {
        each(columns, [&](int line, int at, bf16* place, bool used) {
            tile::Vector<bf16, 8> values = {};
            if (used) values = tile::load<8>(from + line * stride + at);
            tile::store(place, values);
        });
        __syncwarp();
    }
};

// Writes 64 columns whose pairs pick(j, half) gives: of columns 8 j on, rows below 8 or from 8 on.
template <typename Pick>
__device__ __forceinline__ void put_columns(const Lines& lines, bf16* to, int64_t stride,
                                            int32_t columns, const Pick& pick) {
    if (columns <= 0) return;
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
        const uint32_t pairs[4] = {pick(j, 0), pick(j, 1), pick(j + 1, 0), pick(j + 1, 1)};
        tile::store_matrices(lines.pairs(j), pairs);
    }
    lines.put(to, stride, columns);
}

#endif  // CARAVAN_SM90A

}  // namespace cuda
}  // namespace caravan
