// The first half of a sum over rows: every block of rows (core/blocks.h, partial_blocks) leaves a
// partial sum of each column in a workspace; partials.cuh has the second.
#pragma once

#include "core/blocks.h"
#include "cuda/tensors.h"
#include "cuda/tile/launch.cuh"
#include "cuda/tile/part.cuh"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {

// Block (x, y) takes the parts of 16 bytes from x * group on over the y-th block of rows. Its
// threads are cut into rows side by side of `group` parts each.
struct ColumnSums {
    static constexpr int kThreads = 256;

    int64_t rows, block_rows, blocks, width, parts;
    int32_t group;  // a power of two, up to kThreads

    // Which part of which rows a thread takes: begin, begin + step, ... below end.
    struct Place {
        int lane, side;
        int64_t part, begin, end;
        int step;
    };

    __device__ __forceinline__ Place place() const {
        const int lane = static_cast<int>(threadIdx.x) % group;
        const int side = static_cast<int>(threadIdx.x) / group;
        const int64_t begin = blockIdx.y * block_rows;
        const int64_t end = begin + block_rows < rows ? begin + block_rows : rows;
        return {lane,         side, static_cast<int64_t>(blockIdx.x) * group + lane,
                begin + side, end,  kThreads / group};
    }

    // partials[blockIdx.y] = the sums of what threads have of each column, rows side by side added
    // in their order. The block calls it together.
    //   partials [blocks, width] f32
    template <int N>
    __device__ __forceinline__ void store(const Place& at, tile::Vector<float, N> sum,
                                          float* partials) const {
        auto* const sums = tile::Shared().take<tile::Vector<float, N>>(kThreads, 16);
        sums[threadIdx.x] = sum;
        __syncthreads();
        if (at.side != 0 || at.part >= parts) return;
        for (int s = 1; s < at.step; ++s) {
            const auto other = sums[s * group + at.lane];
#pragma unroll
            for (int j = 0; j < N; ++j) sum[j] += other[j];
        }
        tile::store_part<false>(partials + blockIdx.y * width, at.part * N, width, sum);
    }

    template <int N>
    tile::Config config() const {
        tile::Config config = tile::config((parts + group - 1) / group, kThreads,
                                           kThreads * N * static_cast<int64_t>(sizeof(float)));
        config.grid.y = static_cast<unsigned>(blocks);
        return config;
    }
};

// Of a matrix in parts of N elements.
template <int N>
ColumnSums column_sums(const caravan_tensor& matrix, const Blocks& blocks) {
    const int64_t width = matrix.shape[1];
    ColumnSums shape = {matrix.shape[0], blocks.size, blocks.count, width, (width + N - 1) / N, 1};
    while (shape.group < ColumnSums::kThreads && shape.group < shape.parts) shape.group *= 2;
    return shape;
}

}  // namespace cuda
}  // namespace caravan
