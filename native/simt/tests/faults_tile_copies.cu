// Misuse of cp.async, ldmatrix, mma.sync and named barriers.
#include "cuda/tile/copy_async.cuh"
#include "cuda/tile/matrix.cuh"
#include "cuda/tile/mma.cuh"
#include "cuda/tile/named_barrier.cuh"
#include "cuda/tile/shared.cuh"
#include "simt/tests/faults_tile.h"
#include "simt/tests/plant.h"

namespace plant {
namespace {

namespace tile = caravan::tile;

enum Copy { kGood, kNoWait, kNoCommit, kTooFew, kNoBarrier, kWriteEarly, kEndEarly };

// Each thread copies 16 bytes and puts out those of its neighbour in the next warp.
__global__ void copy_kernel(const float* in, float* out, int fault, int from_shift, int to_shift) {
    tile::Shared shared;
    auto* floats = shared.take<float>(64 * 4 + 8, 16);
    const int t = threadIdx.x;
    tile::copy_async<16>(floats + t * 4 + to_shift, in + t * 4 + from_shift);
    if (fault != kNoCommit) tile::copy_async_commit();
    if (fault == kWriteEarly) floats[t * 4] = 1;
    if (fault == kTooFew) {
        tile::copy_async_wait<1>();
    } else if (fault != kNoWait && fault != kEndEarly) {
        tile::copy_async_wait<0>();
    }
    if (fault == kEndEarly) return;
    if (fault != kNoBarrier) __syncthreads();
    out[t] = floats[(t + 32) % 64 * 4];
    if (fault == kNoWait || fault == kTooFew) tile::copy_async_wait<0>();
}

// A copy of 16 bytes of which only the first `valid` are wanted, from word `first` on.
__global__ void filled_copy_kernel(const float* in, float* out, int first, int valid) {
    tile::Shared shared;
    auto* floats = shared.take<float>(4, 16);
    tile::copy_async_filled<16>(floats, in + first, valid);
    tile::copy_async_commit();
    tile::copy_async_wait<0>();
    out[0] = floats[0];
}

// Row `lane` of a tile is 16 bytes at `pitch` bytes a row; unwritten rows are left as they were.
__global__ void load_matrices_kernel(float* out, int pitch, int written, int lanes) {
    tile::Shared shared;
    auto* bytes = shared.take<unsigned char>(32 * 24, 16);
    const int t = threadIdx.x;
    for (int i = 0; i < 24 / 4; ++i) {
        if (t < written) *reinterpret_cast<uint32_t*>(bytes + t * 24 + i * 4) = 1;
    }
    __syncwarp();
    uint32_t registers[4] = {};
    if (t < lanes) tile::load_matrices(registers, bytes + t * pitch);
    out[t] = static_cast<float>(registers[0] + registers[3]);
}

__global__ void mma_kernel(float* out, int lanes) {
    const uint32_t a[4] = {1, 2, 3, 4}, b[2] = {5, 6};
    float sums[4] = {};
    if (static_cast<int>(threadIdx.x) < lanes) tile::mma_bf16(sums, a, b);
    out[threadIdx.x] = sums[0];
}

// Two warps meet at barrier 3; `arrive` says whether the second comes.
__global__ void named_barrier_kernel(float* out, int arrive, int threads) {
    tile::Shared shared;
    auto* floats = shared.take<float>(32);
    const int t = threadIdx.x;
    if (t >= 32) {
        floats[t - 32] = 2;
        if (arrive != 0) tile::barrier_arrive(3, 64);
    } else {
        tile::barrier_sync(3, threads);
        out[t] = floats[t];
    }
}

}  // namespace

void test_tile_copies() {
    const Buffer<float> in(64 * 4), out(64);
    const Shape two_warps = {1, 64, 64 * 16 + 32}, one_warp = {1, 32, 32 * 24};
    clean("copy", copy_kernel, two_warps, in, out, kGood, 0, 0);
    caught_by_hooks("copy read without a wait",
                    {"asynchronous copy read before it was waited for", "faults_tile_copies.cu"},
                    copy_kernel, two_warps, in, out, kNoWait, 0, 0);
    caught_by_hooks("copy that no commit closes", {"read before it was waited for"}, copy_kernel,
                    two_warps, in, out, kNoCommit, 0, 0);
    caught_by_hooks("wait for one group too few", {"read before it was waited for"}, copy_kernel,
                    two_warps, in, out, kTooFew, 0, 0);
    caught_by_hooks("copy of another warp read without a barrier",
                    {"read of 4 bytes (load)", "of shared memory"}, copy_kernel, two_warps, in, out,
                    kNoBarrier, 0, 0);
    caught_by_hooks("copy overwritten before its wait", {"overwritten before it was waited for"},
                    copy_kernel, two_warps, in, out, kWriteEarly, 0, 0);
    caught("thread ends before its copies", {"has not waited for"}, copy_kernel, two_warps, in, out,
           kEndEarly, 0, 0);
    caught("misaligned source", {"cp.async: source", "not aligned to 16"}, copy_kernel, two_warps,
           in, out, kGood, 1, 0);
    caught("misaligned target", {"misaligned", "cp.async"}, copy_kernel, two_warps, in, out, kGood,
           0, 2);
    caught("source out of bounds", {"out of bounds: read of 16 bytes (cp.async source)"},
           copy_kernel, two_warps, in, out, kGood, 4, 0);
    caught("target out of bounds", {"out of bounds", "cp.async"}, copy_kernel, two_warps, in, out,
           kGood, 0, 12);

    const Buffer<float> six(6);
    const Shape one_thread = {1, 1, 16};
    clean("filled copy", filled_copy_kernel, one_thread, six, out, 0, 8);
    clean("filled copy of nothing", filled_copy_kernel, one_thread, six, out, 4, 0);
    caught("filled copy whose rest lies out of bounds",
           {"out of bounds: read of 16 bytes (cp.async source)"}, filled_copy_kernel, one_thread,
           six, out, 4, 8);

    clean("load_matrices", load_matrices_kernel, one_warp, out, 16, 32, 32);
    caught("load_matrices of misaligned rows", {"misaligned: read of 16 bytes (ldmatrix row)"},
           load_matrices_kernel, one_warp, out, 24, 32, 32);
    caught_by_hooks("load_matrices of what nobody wrote",
                    {"shared memory read before it was written"}, load_matrices_kernel, one_warp,
                    out, 16, 16, 32);
    caught("load_matrices out of bounds", {"out of bounds: read of 16 bytes (ldmatrix row)"},
           load_matrices_kernel, one_warp, out, 32, 32, 32);
    caught("load_matrices by half a warp", {"ldmatrix", "lanes"}, load_matrices_kernel, one_warp,
           out, 16, 32, 16);
    clean("mma", mma_kernel, one_warp, out, 32);
    caught("mma by half a warp", {"mma.sync", "lanes"}, mma_kernel, one_warp, out, 16);

    const Shape barrier = {1, 64, 128};
    clean("named barrier", named_barrier_kernel, barrier, out, 1, 64);
    caught("named barrier that one warp never reaches",
           {"deadlock", "barrier.sync", "faults_tile_copies.cu"}, named_barrier_kernel, barrier,
           out, 0, 64);
    caught_by_hooks("named barrier of too few", {"read of 4 bytes (load)"}, named_barrier_kernel,
                    barrier, out, 0, 32);
    caught("named barrier of half a warp", {"barrier 3: 48 threads"}, named_barrier_kernel, barrier,
           out, 1, 48);
}

}  // namespace plant
