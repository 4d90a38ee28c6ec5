// cp.async, ldmatrix and stmatrix, mma.sync, named barriers.
#include "cuda/tile/copy_async.cuh"
#include "cuda/tile/launch_dependents.cuh"
#include "cuda/tile/matrix.cuh"
#include "cuda/tile/mma.cuh"
#include "cuda/tile/named_barrier.cuh"
#include "cuda/tile/shared.cuh"
#include "cuda/tile/swizzle.cuh"
#include "tests/cuda/tile_cases.h"

namespace tile_test {
namespace {

namespace tile = caravan::tile;

// ------------------------------------------------------------------------------- cp.async

constexpr int kCopies = 128;

// Thread t copies word 0 (4 bytes), words 2 and 3 (8), and words 4 to 7 (16) of its 8.
__global__ void copy_async_kernel(const uint32_t* in, uint32_t* out) {
    tile::Shared shared;
    auto* words = shared.take<uint32_t>(kCopies * 8, 16);
    const int t = threadIdx.x;
    words[t * 8 + 1] = 7;
    tile::copy_async<4>(words + t * 8, in + t * 8);
    tile::copy_async_commit();
    tile::copy_async<8>(words + t * 8 + 2, in + t * 8 + 2);
    tile::copy_async<16>(words + t * 8 + 4, in + t * 8 + 4);
    tile::copy_async_commit();
    tile::copy_async_wait<1>();
    const uint32_t first = words[t * 8];
    tile::copy_async_wait<0>();
    __syncthreads();
    for (int i = 0; i < 8; ++i) {
        out[i * kCopies + t] = words[i * kCopies + t];
    }
    out[8 * kCopies + t] = first;
}

Result copy_async_case(Device& device) {
    Buffer in(device, counting(kCopies * 8)), out(device, kCopies * 9);
    Result result;
    result.fault = launch(device, copy_async_kernel, tile::config(1, kCopies, kCopies * 32),
                          in.as<const uint32_t>(), out.as<uint32_t>());
    result.got = out.read();
    result.expected = counting(kCopies * 8);
    for (int t = 0; t < kCopies; ++t) result.expected[t * 8 + 1] = 7;
    for (int t = 0; t < kCopies; ++t) result.expected.push_back(t * 8 + 1);
    return result;
}

// Thread t reads t % (bytes + 1) bytes of each copy; the rest becomes zeros. Those that read
// nothing give an address that holds nothing.
__global__ void copy_async_filled_kernel(const uint32_t* in, uint32_t* out) {
    tile::Shared shared;
    auto* words = shared.take<uint32_t>(kCopies * 8, 16);
    const int t = threadIdx.x;
    const auto from = [&](int word, int valid) {
        return valid == 0 ? in + kCopies * 8 : in + t * 8 + word;
    };
    tile::copy_async_filled<4>(words + t * 8, from(0, t % 5), t % 5);
    tile::copy_async_filled<4>(words + t * 8 + 1, from(1, t % 5), t % 5);
    tile::copy_async_filled<8>(words + t * 8 + 2, from(2, t % 9), t % 9);
    tile::copy_async_filled<16>(words + t * 8 + 4, from(4, t % 17), t % 17);
    tile::copy_async_commit();
    tile::copy_async_wait<0>();
    __syncthreads();
    for (int i = 0; i < 8; ++i) out[i * kCopies + t] = words[i * kCopies + t];
}

Result copy_async_filled_case(Device& device) {
    const Words values = counting(kCopies * 8, 0x01010101);
    Buffer in(device, values), out(device, kCopies * 8);
    Result result;
    result.fault = launch(device, copy_async_filled_kernel, tile::config(1, kCopies, kCopies * 32),
                          in.as<const uint32_t>(), out.as<uint32_t>());
    result.got = out.read();
    result.expected = values;
    for (int i = 0; i < kCopies * 32; ++i) {
        const int t = i / 32, byte = i % 32;
        const bool kept = byte < 8    ? byte % 4 < t % 5
                          : byte < 16 ? byte - 8 < t % 9
                                      : byte - 16 < t % 17;
        if (!kept) {
            result.expected[static_cast<size_t>(i / 4)] &= ~(0xffu << (8 * (i % 4)));
        }
    }
    return result;
}

// A ring of three stages through which 10 tiles of 64 words go; each is summed by one warp.
__global__ void copy_async_ring_kernel(const uint32_t* in, uint32_t* out) {
    constexpr int kStages = 3, kTiles = 10, kWords = 64;
    tile::Shared shared;
    auto* ring = shared.take<uint32_t>(kStages * kWords, 16);
    const int t = threadIdx.x;
    const auto fetch = [&](int i) {
        if (i < kTiles) {
            tile::copy_async<8>(ring + i % kStages * kWords + t * 2, in + i * kWords + t * 2);
        }
        tile::copy_async_commit();
    };
    for (int i = 0; i < kStages - 1; ++i) fetch(i);
    for (int i = 0; i < kTiles; ++i) {
        tile::copy_async_wait<kStages - 2>();
        __syncthreads();
        fetch(i + kStages - 1);
        const uint32_t* words = ring + i % kStages * kWords;
        out[i * 32 + t] = words[t] * 3 + words[63 - t];
    }
}

Result copy_async_ring_case(Device& device) {
    const Words values = counting(10 * 64);
    Buffer in(device, values), out(device, 10 * 32);
    Result result;
    result.fault = launch(device, copy_async_ring_kernel, tile::config(1, 32, 3 * 64 * 4),
                          in.as<const uint32_t>(), out.as<uint32_t>());
    result.got = out.read();
    for (int i = 0; i < 10; ++i) {
        for (int t = 0; t < 32; ++t) {
            result.expected.push_back(values[static_cast<size_t>(i * 64 + t)] * 3 +
                                      values[static_cast<size_t>(i * 64 + 63 - t)]);
        }
    }
    return result;
}

// ------------------------------------------------------------------------------- ldmatrix,
// stmatrix

// Four matrices of 16-bit counts, with the 128-byte swizzle of a tile [8, 64] (only its first half
// is used): matrix m holds columns 8 m .. 8 m + 7.
constexpr int kMatrixBytes = 8 * 128;

__device__ unsigned char* matrix_row_at(unsigned char* tile_memory, int i) {
    return tile_memory + tile::swizzle_128(static_cast<uint32_t>(i % 8 * 128 + i / 8 % 4 * 16));
}

template <int kCount, bool kTransposed>
__global__ void load_matrices_kernel(const uint32_t* in, uint32_t* out) {
    tile::Shared shared;
    auto* memory = shared.take<unsigned char>(kMatrixBytes, 1024);
    const int t = threadIdx.x;
    for (int i = t; i < 8 * 16; i += 32) {
        const int row = i / 16, word = i % 16;
        *reinterpret_cast<uint32_t*>(
            memory + tile::swizzle_128(static_cast<uint32_t>(row * 128 + word * 4))) = in[i];
    }
    __syncwarp();
    uint32_t registers[kCount];
    if constexpr (kTransposed) {
        tile::load_matrices_transposed(registers, matrix_row_at(memory, t));
    } else {
        tile::load_matrices(registers, matrix_row_at(memory, t));
    }
    for (int r = 0; r < kCount; ++r) out[r * 32 + t] = registers[r];
}

uint16_t count_at(int m, int row, int column) {
    return static_cast<uint16_t>(row * 32 + m * 8 + column + 1);
}

std::vector<uint16_t> counts() {
    std::vector<uint16_t> halves;
    for (int row = 0; row < 8; ++row) {
        for (int column = 0; column < 32; ++column) {
            halves.push_back(count_at(column / 8, row, column % 8));
        }
    }
    return halves;
}

Words matrix_registers(int count, bool transposed) {
    Words words;
    for (int m = 0; m < count; ++m) {
        for (int lane = 0; lane < 32; ++lane) {
            uint16_t halves[2];
            for (int half = 0; half < 2; ++half) {
                const int row = tile::matrix_row(lane), column = tile::matrix_column(lane, half);
                halves[half] = transposed ? count_at(m, column, row) : count_at(m, row, column);
            }
            words.push_back(halves[0] | static_cast<uint32_t>(halves[1]) << 16);
        }
    }
    return words;
}

template <int kCount, bool kTransposed>
Result load_matrices_case(Device& device) {
    Buffer in(device, packed(counts())), out(device, kCount * 32);
    Result result;
    result.fault =
        launch(device, load_matrices_kernel<kCount, kTransposed>, tile::config(1, 32, kMatrixBytes),
               in.as<const uint32_t>(), out.as<uint32_t>());
    result.got = out.read();
    result.expected = matrix_registers(kCount, kTransposed);
    return result;
}

template <int kCount, bool kTransposed>
__global__ void store_matrices_kernel(const uint32_t* in, uint32_t* out) {
    tile::Shared shared;
    auto* memory = shared.take<unsigned char>(kMatrixBytes, 1024);
    const int t = threadIdx.x;
    uint32_t registers[kCount];
    for (int r = 0; r < kCount; ++r) registers[r] = in[r * 32 + t];
    if constexpr (kTransposed) {
        tile::store_matrices_transposed(matrix_row_at(memory, t), registers);
    } else {
        tile::store_matrices(matrix_row_at(memory, t), registers);
    }
    __syncwarp();
    for (int i = t; i < 8 * kCount * 4; i += 32) {
        const int row = i / (kCount * 4), word = i % (kCount * 4);
        out[i] = *reinterpret_cast<uint32_t*>(
            memory + tile::swizzle_128(static_cast<uint32_t>(row * 128 + word * 4)));
    }
}

template <int kCount, bool kTransposed>
Result store_matrices_case(Device& device) {
    Buffer in(device, matrix_registers(kCount, kTransposed)), out(device, 8 * kCount * 4);
    Result result;
    result.fault =
        launch(device, store_matrices_kernel<kCount, kTransposed>,
               tile::config(1, 32, kMatrixBytes), in.as<const uint32_t>(), out.as<uint32_t>());
    result.got = out.read();
    std::vector<uint16_t> halves;
    for (int row = 0; row < 8; ++row) {
        for (int column = 0; column < kCount * 8; ++column) {
            halves.push_back(count_at(column / 8, row, column % 8));
        }
    }
    result.expected = packed(halves);
    return result;
}

// ------------------------------------------------------------------------------- mma.sync

__device__ uint32_t pair_at(const uint16_t* low, const uint16_t* high) {
    return *low | static_cast<uint32_t>(*high) << 16;
}

// sums [16, 8] = 1 + a [16, 16] b [16, 8], row-major all; out[i * 32 + lane] is sum i of a lane.
__global__ void mma_bf16_kernel(const uint16_t* a, const uint16_t* b, float* out) {
    using Map = tile::Mma16816;
    const int lane = threadIdx.x;
    uint32_t a_registers[4], b_registers[2];
    for (int r = 0; r < 4; ++r) {
        const auto at = [&](int i) {
            return a + Map::a_row(lane, i) * 16 + Map::a_column(lane, i);
        };
        a_registers[r] = pair_at(at(2 * r), at(2 * r + 1));
    }
    for (int r = 0; r < 2; ++r) {
        const auto at = [&](int i) { return b + Map::b_row(lane, i) * 8 + Map::b_column(lane, i); };
        b_registers[r] = pair_at(at(2 * r), at(2 * r + 1));
    }
    float sums[4] = {1, 1, 1, 1};
    tile::mma_bf16(sums, a_registers, b_registers);
    for (int i = 0; i < 4; ++i) out[i * 32 + lane] = sums[i];
}

// 1 + sum over k of a (row, k) b (k, column), operands of matrix(..., which).
float product(int columns_of_a, int columns_of_b, int k_extent, int row, int column, int which) {
    int sum = 1;
    for (int k = 0; k < k_extent; ++k) {
        sum += small(row * columns_of_a + k + (int64_t{which} << 32)) *
               small(k * columns_of_b + column + (int64_t{which + 1} << 32));
    }
    return static_cast<float>(sum);
}

Result mma_bf16_case(Device& device) {
    Buffer a(device, matrix(16, 16, 1)), b(device, matrix(16, 8, 2)), out(device, 4 * 32);
    Result result;
    result.fault = launch(device, mma_bf16_kernel, tile::config(1, 32), a.as<const uint16_t>(),
                          b.as<const uint16_t>(), out.as<float>());
    result.got = out.read();
    for (int i = 0; i < 4; ++i) {
        for (int lane = 0; lane < 32; ++lane) {
            result.expected.push_back(bits_of(product(16, 8, 16, tile::Mma16816::sum_row(lane, i),
                                                      tile::Mma16816::sum_column(lane, i), 1)));
        }
    }
    return result;
}

__global__ void mma_tf32_kernel(const float* a, const float* b, float* out) {
    using Map = tile::Mma1688;
    const int lane = threadIdx.x;
    uint32_t a_registers[4], b_registers[2];
    for (int r = 0; r < 4; ++r) {
        a_registers[r] = __float_as_uint(a[Map::a_row(lane, r) * 8 + Map::a_column(lane, r)]);
    }
    for (int r = 0; r < 2; ++r) {
        b_registers[r] = __float_as_uint(b[Map::b_row(lane, r) * 8 + Map::b_column(lane, r)]);
    }
    float sums[4] = {1, 1, 1, 1};
    tile::mma_tf32(sums, a_registers, b_registers);
    for (int i = 0; i < 4; ++i) out[i * 32 + lane] = sums[i];
}

Result mma_tf32_case(Device& device) {
    const auto floats = [](int count, int which) {
        Words words;
        for (int i = 0; i < count; ++i) {
            words.push_back(bits_of(static_cast<float>(small(i + (int64_t{which} << 32)))));
        }
        return words;
    };
    Buffer a(device, floats(16 * 8, 3)), b(device, floats(8 * 8, 4)), out(device, 4 * 32);
    Result result;
    result.fault = launch(device, mma_tf32_kernel, tile::config(1, 32), a.as<const float>(),
                          b.as<const float>(), out.as<float>());
    result.got = out.read();
    for (int i = 0; i < 4; ++i) {
        for (int lane = 0; lane < 32; ++lane) {
            result.expected.push_back(bits_of(product(8, 8, 8, tile::Mma1688::sum_row(lane, i),
                                                      tile::Mma1688::sum_column(lane, i), 3)));
        }
    }
    return result;
}

// A whole product [32, 64] = 1 + a [32, 64] b [64, 64]: tiles by cp.async with the swizzle, a by
// ldmatrix, b by its transposed form, four warps of 16 columns each.
constexpr int kRows = 32, kSide = 64;

__global__ void tile_product_kernel(const uint16_t* a, const uint16_t* b, float* out) {
    tile::Shared shared;
    auto* a_tile = shared.take<unsigned char>(kRows * 128, 1024);
    auto* b_tile = shared.take<unsigned char>(kSide * 128, 1024);
    const int t = threadIdx.x, lane = t % 32, warp = t / 32;
    for (int i = t; i < (kRows + kSide) * 8; i += 128) {
        const bool of_a = i < kRows * 8;
        const int chunk = of_a ? i : i - kRows * 8;
        tile::copy_async<16>(
            (of_a ? a_tile : b_tile) + tile::swizzle_128(static_cast<uint32_t>(chunk * 16)),
            (of_a ? a : b) + chunk * 8);
    }
    tile::copy_async_commit();
    tile::copy_async_wait<0>();
    __syncthreads();
    const auto at = [](unsigned char* memory, int row, int column) {
        return memory + tile::swizzle_128(static_cast<uint32_t>(row * 128 + column * 2));
    };
    for (int m = 0; m < kRows; m += 16) {
        float sums[2][4];
        for (auto& part : sums) {
            for (float& sum : part) sum = 1;
        }
        for (int k = 0; k < kSide; k += 16) {
            uint32_t a_part[4], b_part[4];
            tile::load_matrices(a_part, at(a_tile, m + lane % 16, k + lane / 16 * 8));
            tile::load_matrices_transposed(b_part,
                                           at(b_tile, k + lane % 16, warp * 16 + lane / 16 * 8));
            tile::mma_bf16(sums[0], a_part, {b_part[0], b_part[1]});
            tile::mma_bf16(sums[1], a_part, {b_part[2], b_part[3]});
        }
        for (int part = 0; part < 2; ++part) {
            for (int i = 0; i < 4; ++i) {
                const int row = m + tile::Mma16816::sum_row(lane, i);
                const int column = warp * 16 + part * 8 + tile::Mma16816::sum_column(lane, i);
                out[row * kSide + column] = sums[part][i];
            }
        }
    }
}

Result tile_product_case(Device& device) {
    Buffer a(device, matrix(kRows, kSide, 5)), b(device, matrix(kSide, kSide, 6));
    Buffer out(device, kRows * kSide);
    Result result;
    result.fault = launch(device, tile_product_kernel, tile::config(1, 128, (kRows + kSide) * 128),
                          a.as<const uint16_t>(), b.as<const uint16_t>(), out.as<float>());
    result.got = out.read();
    for (int i = 0; i < kRows * kSide; ++i) {
        result.expected.push_back(bits_of(product(kSide, kSide, kSide, i / kSide, i % kSide, 5)));
    }
    return result;
}

// ------------------------------------------------------------------------------- named barriers

// Warps 0 and 1 hand 8 rounds of words to warps 2 and 3 through one buffer, and are told by barrier
// 2 when it is free again.
__global__ void named_barrier_kernel(uint32_t* out) {
    tile::Shared shared;
    auto* words = shared.take<uint32_t>(64);
    const int t = threadIdx.x;
    tile::wait_for_predecessor();
    tile::launch_dependents();
    for (uint32_t round = 0; round < 8; ++round) {
        if (t < 64) {
            if (round > 0) tile::barrier_sync(2, 128);
            words[t] = round * 1000 + static_cast<uint32_t>(t);
            tile::barrier_arrive(1, 128);
        } else {
            tile::barrier_sync(1, 128);
            out[round * 64 + static_cast<uint32_t>(t) - 64] = words[127 - t];
            if (round < 7) tile::barrier_arrive(2, 128);
        }
    }
}

Result named_barrier_case(Device& device) {
    Buffer out(device, 8 * 64);
    Result result;
    result.fault =
        launch(device, named_barrier_kernel, tile::config(1, 128, 64 * 4), out.as<uint32_t>());
    result.got = out.read();
    for (uint32_t round = 0; round < 8; ++round) {
        for (uint32_t t = 0; t < 64; ++t) result.expected.push_back(round * 1000 + 63 - t);
    }
    return result;
}

}  // namespace

std::vector<Case> copy_cases() {
    return {
        {"copy_async", 80, false, copy_async_case},
        {"copy_async_filled", 80, false, copy_async_filled_case},
        {"copy_async_ring", 80, false, copy_async_ring_case},
        {"load_matrices_1", 80, false, load_matrices_case<1, false>},
        {"load_matrices_2", 80, false, load_matrices_case<2, false>},
        {"load_matrices_4", 80, false, load_matrices_case<4, false>},
        {"load_matrices_transposed_1", 80, false, load_matrices_case<1, true>},
        {"load_matrices_transposed_2", 80, false, load_matrices_case<2, true>},
        {"load_matrices_transposed_4", 80, false, load_matrices_case<4, true>},
        {"store_matrices_1", 90, false, store_matrices_case<1, false>},
        {"store_matrices_2", 90, false, store_matrices_case<2, false>},
        {"store_matrices_4", 90, false, store_matrices_case<4, false>},
        {"store_matrices_transposed_1", 90, false, store_matrices_case<1, true>},
        {"store_matrices_transposed_2", 90, false, store_matrices_case<2, true>},
        {"store_matrices_transposed_4", 90, false, store_matrices_case<4, true>},
        {"mma_bf16", 80, false, mma_bf16_case},
        {"mma_tf32", 80, false, mma_tf32_case},
        {"tile_product", 80, false, tile_product_case},
        {"named_barrier", 80, false, named_barrier_case},
    };
}

}  // namespace tile_test
