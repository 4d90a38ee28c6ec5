// Misuse of mbarrier, bulk and tensor copies, proxies and clusters.
#include "cuda/tile/cluster.cuh"
#include "cuda/tile/fence.cuh"
#include "cuda/tile/mbarrier.cuh"
#include "cuda/tile/shared.cuh"
#include "cuda/tile/tma.cuh"
#include "simt/tests/faults_tile.h"
#include "simt/tests/plant.h"

namespace plant {
namespace {

namespace tile = caravan::tile;
using tile::Mbarrier;

// ------------------------------------------------------------------------------- mbarrier

enum Ring {
    kGoodRing,
    kWrongParity,
    kWrongProducerParity,
    kNoArrive,
    kExtraArrive,
    kNoInitBarrier,
    kNotFreed
};

// Warp 0 hands three rounds through one stage to warp 1.
__global__ void ring_kernel(float* out, int fault) {
    tile::Shared shared;
    auto* floats = shared.take<float>(32);
    auto* full = shared.take<Mbarrier>(1);
    auto* free = shared.take<Mbarrier>(1);
    const int t = threadIdx.x;
    if (t == 0) {
        tile::mbarrier_init(full, 32);
        tile::mbarrier_init(free, 32);
        tile::mbarrier_init_fence();
    }
    if (fault != kNoInitBarrier) __syncthreads();
    for (uint32_t round = 0; round < 3; ++round) {
        const uint32_t parity = round % 2;
        if (t < 32) {
            const uint32_t freed = fault == kWrongProducerParity ? parity : parity ^ 1;
            if (fault != kNotFreed) tile::mbarrier_wait(free, freed);
            floats[t] = static_cast<float>(round);
            if (fault != kNoArrive || t != 7) tile::mbarrier_arrive(full);
            if (fault == kExtraArrive && t == 7) tile::mbarrier_arrive(full);
        } else {
            tile::mbarrier_wait(full, fault == kWrongParity ? parity ^ 1 : parity);
            out[t - 32] = floats[t - 32];
            tile::mbarrier_arrive(free);
        }
    }
}

// ------------------------------------------------------------------------------- copies in

enum In { kGoodIn, kNoWait, kExpectMore, kExpectLess, kNoExpect, kPlainRead };

// One bulk copy of 256 bytes into shared memory, `from` and `to` floats off their places.
__global__ void copy_in_kernel(const float* in, float* out, int fault, int from, int to,
                               uint32_t bytes) {
    tile::Shared shared;
    auto* floats = shared.take<float>(64 + 8, 16);
    auto* full = shared.take<Mbarrier>(1);
    const int t = threadIdx.x;
    if (t == 0) {
        tile::mbarrier_init(full, 1);
        tile::mbarrier_init_fence();
    }
    __syncthreads();
    if (t == 0) {
        if (fault != kNoExpect) {
            tile::mbarrier_arrive_expect(full, fault == kExpectMore   ? bytes + 16
                                               : fault == kExpectLess ? bytes - 16
                                                                      : bytes);
        }
        tile::tma_copy_in(floats + to, in + from, bytes, full);
    }
    if (fault != kNoWait) tile::mbarrier_wait(full, 0);
    out[t] = floats[t];
    if (fault == kNoWait) tile::mbarrier_wait(full, 0);
}

// A tensor copy into shared memory at byte `to`.
__global__ void tensor_kernel(const __grid_constant__ tile::TensorMap map, float* out, int to,
                              int wait, int x) {
    tile::Shared shared;
    auto* bytes = shared.take<unsigned char>(1024 + 128, 1024);
    auto* full = shared.take<Mbarrier>(1);
    const int t = threadIdx.x;
    if (t == 0) {
        tile::mbarrier_init(full, 1);
        tile::mbarrier_init_fence();
    }
    __syncthreads();
    if (t == 0) {
        tile::mbarrier_arrive_expect(full, 1024);
        tile::tma_load(bytes + to, map, x, 0, full);
    }
    if (wait != 0) tile::mbarrier_wait(full, 0);
    out[t] = *reinterpret_cast<float*>(bytes + to + t * 4);
    if (wait == 0) tile::mbarrier_wait(full, 0);
}

enum Reuse { kGoodReuse, kNoReuseFence, kReuseFenceByOne };

// A tile that all threads wrote by plain stores becomes the target of a tensor copy.
__global__ void reuse_kernel(const __grid_constant__ tile::TensorMap map, float* out, int fault) {
    tile::Shared shared;
    auto* floats = shared.take<float>(256, 1024);
    auto* full = shared.take<Mbarrier>(1);
    const int t = threadIdx.x;
    for (int i = t; i < 256; i += blockDim.x) floats[i] = 0;
    if (fault == kGoodReuse || (fault == kReuseFenceByOne && t == 0)) tile::fence_async_shared();
    if (t == 0) {
        tile::mbarrier_init(full, 1);
        tile::mbarrier_init_fence();
    }
    __syncthreads();
    if (t == 0) {
        tile::mbarrier_arrive_expect(full, 1024);
        tile::tma_load(floats, map, 0, 0, full);
    }
    tile::mbarrier_wait(full, 0);
    out[t] = floats[t];
}

__global__ void wrong_rank_kernel(const __grid_constant__ tile::TensorMap map) {
    tile::Shared shared;
    auto* bytes = shared.take<unsigned char>(1024, 1024);
    auto* full = shared.take<Mbarrier>(1);
    tile::mbarrier_init(full, 1);
    tile::mbarrier_arrive_expect(full, 1024);
    tile::tma_load(bytes, map, 0, full);
    tile::mbarrier_wait(full, 0);
}

// ------------------------------------------------------------------------------- copies out

enum Out { kGoodOut, kNoFence, kFenceBehind, kNoBarrier, kNoCommit, kOverwrite, kNoReadWait };

// 64 floats are written by plain stores and copied out by thread 0.
__global__ void copy_out_kernel(float* out, int fault) {
    tile::Shared shared;
    auto* floats = shared.take<float>(64, 16);
    const int t = threadIdx.x;
    floats[t] = static_cast<float>(t);
    if (fault != kNoFence && fault != kFenceBehind) tile::fence_async_shared();
    if (fault != kNoBarrier) __syncthreads();
    if (fault == kFenceBehind && t == 0) tile::fence_async_shared();
    if (t == 0) {
        tile::tma_copy_out(out, floats, 256);
        if (fault != kNoCommit) tile::tma_commit();
        if (fault == kOverwrite) floats[5] = 1;
        if (fault != kNoReadWait) tile::tma_wait<0>();
    }
}

// A tensor copy of [8, 32] floats out of shared memory to (x, y).
__global__ void tensor_out_kernel(const __grid_constant__ tile::TensorMap map, int x, int y) {
    tile::Shared shared;
    auto* floats = shared.take<float>(256, 1024);
    for (int i = threadIdx.x; i < 256; i += blockDim.x) floats[i] = static_cast<float>(i);
    tile::fence_async_shared();
    __syncthreads();
    if (threadIdx.x == 0) {
        tile::tma_store(map, x, y, floats);
        tile::tma_commit();
        tile::tma_wait<0>();
    }
}

// ------------------------------------------------------------------------------- clusters

enum Cluster { kGoodCluster, kNoStart, kNoEnd, kNoOrder, kHalfArrives };

// Each block reads what the other one wrote.
__global__ void cluster_kernel(float* out, int fault) {
    tile::Shared shared;
    auto* floats = shared.take<float>(32);
    const int t = threadIdx.x;
    floats[t] = static_cast<float>(t);
    if (fault == kHalfArrives && tile::cluster_rank() == 1) return;
    if (fault != kNoStart) tile::cluster_sync();
    if (fault == kNoOrder) floats[t] = 1;
    const void* const other = simt::map_shared_rank(floats + 31 - t, tile::cluster_rank() ^ 1);
    out[static_cast<int>(blockIdx.x) * 32 + t] = *static_cast<const float*>(other);
    if (fault != kNoEnd) tile::cluster_sync();
}

enum Send { kGoodSend, kNoSendStart, kNoSendWait, kNoSendExpect };

// Each block reads what the other one sent.
__global__ void send_kernel(float* out, int fault) {
    tile::Shared shared;
    auto* floats = shared.take<float>(2);
    auto* arrived = shared.take<Mbarrier>(1);
    const auto t = static_cast<unsigned>(threadIdx.x);
    const uint32_t rank = tile::cluster_rank();
    if (t == 0) {
        tile::mbarrier_init(arrived, 1);
        tile::mbarrier_init_fence();
    }
    if (fault != kNoSendStart) {
        tile::cluster_arrive();
        tile::cluster_wait();
    }
    if (t == 0 && fault != kNoSendExpect) tile::mbarrier_arrive_expect(arrived, 8);
    if (t < 2) tile::cluster_send(floats + rank, t, static_cast<float>(rank), arrived);
    if (fault == kNoSendStart) return;
    if (fault != kNoSendWait) tile::mbarrier_wait(arrived, 0);
    out[blockIdx.x * 32 + t] = floats[rank ^ 1];
}

}  // namespace

void test_tile_bulk() {
    const Buffer<float> in(64 + 16), out(64);
    const Shape ring = {1, 64, 32 * 4 + 16}, copy_in = {1, 64, 72 * 4 + 8};
    clean("ring", ring_kernel, ring, out, kGoodRing);
    caught("producer waits for the wrong parity",
           {"deadlock", "mbarrier.try_wait", "faults_tile_bulk.cu"}, ring_kernel, ring, out,
           kWrongProducerParity);
    caught_by_hooks("consumer waits for the wrong parity",
                    {"read of 4 bytes (load)", "of shared memory"}, ring_kernel, ring, out,
                    kWrongParity);
    caught("an arrival too few", {"deadlock", "mbarrier.try_wait"}, ring_kernel, ring, out,
           kNoArrive);
    caught("barriers used before their initialisation is visible", {"mbarrier"}, ring_kernel, ring,
           out, kNoInitBarrier);
    caught_by_hooks("stage written before it was free", {"of shared memory"}, ring_kernel, ring,
                    out, kNotFreed);

    clean("copy in", copy_in_kernel, copy_in, in, out, kGoodIn, 0, 0, 256u);
    caught_by_hooks("bulk copy read without a wait", {"read of 4 bytes (load)", "of shared memory"},
                    copy_in_kernel, copy_in, in, out, kNoWait, 0, 0, 256u);
    caught("more bytes expected than come", {"deadlock", "mbarrier.try_wait"}, copy_in_kernel,
           copy_in, in, out, kExpectMore, 0, 0, 256u);
    caught("nothing expected", {"deadlock"}, copy_in_kernel, copy_in, in, out, kNoExpect, 0, 0,
           256u);
    caught("misaligned bulk source", {"cp.async.bulk", "aligned to 16"}, copy_in_kernel, copy_in,
           in, out, kGoodIn, 2, 0, 256u);
    caught("misaligned bulk target", {"cp.async.bulk", "aligned to 16"}, copy_in_kernel, copy_in,
           in, out, kGoodIn, 0, 2, 256u);
    caught("bulk copy of an odd size", {"cp.async.bulk: 248 bytes, needs a multiple of 16"},
           copy_in_kernel, copy_in, in, out, kGoodIn, 0, 0, 248u);
    caught("bulk source out of bounds", {"out of bounds: read of 256 bytes (cp.async.bulk source)"},
           copy_in_kernel, copy_in, in, out, kGoodIn, 20, 0, 256u);

    const Buffer<float> tensor(8 * 64);
    tile::TensorMapShape shape;
    shape.data = static_cast<const float*>(tensor);
    shape.type = tile::TensorMapType::kF32;
    shape.rank = 2;
    shape.extent[0] = 32;
    shape.extent[1] = 8;
    shape.stride_bytes[1] = 256;
    shape.box[0] = 32;
    shape.box[1] = 8;
    shape.swizzle = tile::Swizzle::k128;
    tile::TensorMap map = {}, beyond = {};
    check(tile::make_tensor_map(shape, &map), "tensor map", "refused");
    shape.extent[1] = 9;
    shape.box[1] = 9;
    check(tile::make_tensor_map(shape, &beyond), "tensor map", "refused");
    const Shape box = {1, 64, 1024 + 128 + 8};
    clean("tensor copy", tensor_kernel, box, map, out, 0, 1, 0);
    clean("tensor copy at a multiple of 128", tensor_kernel, box, map, out, 128, 1, 0);
    caught("tensor copy to a multiple of 64", {"needs 128 bytes' alignment"}, tensor_kernel, box,
           map, out, 64, 1, 0);
    caught_by_hooks("tensor copy read without a wait", {"read of 4 bytes (load)"}, tensor_kernel,
                    box, map, out, 0, 0, 0);
    caught("tensor beyond its allocation", {"out of bounds", "cp.async.bulk.tensor source"},
           tensor_kernel, box, beyond, out, 0, 1, 0);
    caught("a map that was never made", {"not a tensor map"}, tensor_kernel, box, tile::TensorMap{},
           out, 0, 1, 0);
    caught("tensor copy from within 16 bytes", {"x = 2 is byte 8 of a row, needs a multiple of 16"},
           tensor_kernel, box, map, out, 0, 1, 2);
    clean("tensor copy from a negative coordinate", tensor_kernel, box, map, out, 0, 1, -4);
    const Shape reused = {1, 64, 1024 + 8};
    clean("tensor copy over plain stores", reuse_kernel, reused, map, out, kGoodReuse);
    caught_by_hooks("tensor copy over plain stores without a fence",
                    {"no fence.proxy.async: cp.async.bulk", " writes byte "}, reuse_kernel, reused,
                    map, out, kNoReuseFence);
    caught_by_hooks("tensor copy over plain stores, fenced by one thread",
                    {"no fence.proxy.async: cp.async.bulk", " writes byte "}, reuse_kernel, reused,
                    map, out, kReuseFenceByOne);
    caught("a copy of fewer dimensions", {"a copy of 1 dimensions by a tensor map of 2"},
           wrong_rank_kernel, {1, 1, 1024 + 8}, map);

    const Shape box_out = {1, 64, 1024};
    clean("tensor copy out", tensor_out_kernel, box_out, map, 4, 3);
    caught("tensor copy out to within 16 bytes", {"x = 6 is byte 24 of a row"}, tensor_out_kernel,
           box_out, map, 6, 0);
    caught("tensor copy out to a negative coordinate", {"store: coordinate 1 is -1"},
           tensor_out_kernel, box_out, map, 0, -1);
    // Its rows end within 16 bytes: the last one's end lies beyond the allocation.
    const Buffer<float> ragged(30);
    shape.data = static_cast<const float*>(ragged);
    shape.extent[0] = 30;
    shape.extent[1] = 1;
    shape.box[1] = 8;
    tile::TensorMap cut = {};
    check(tile::make_tensor_map(shape, &cut), "tensor map", "refused");
    caught("tensor copy out that is not cut at 16 bytes",
           {"out of bounds: write of 128 bytes (cp.async.bulk.tensor target)"}, tensor_out_kernel,
           box_out, cut, 0, 0);

    const Shape copy_out = {1, 64, 256};
    clean("copy out", copy_out_kernel, copy_out, out, kGoodOut);
    caught_by_hooks("plain stores copied out without a fence", {"no fence.proxy.async"},
                    copy_out_kernel, copy_out, out, kNoFence);
    caught_by_hooks("fence by the reader alone", {"no fence.proxy.async"}, copy_out_kernel,
                    copy_out, out, kFenceBehind);
    caught_by_hooks("plain stores copied out without a barrier", {"(cp.async.bulk store)"},
                    copy_out_kernel, copy_out, out, kNoBarrier);
    caught("copy out that no commit closes", {"has not waited for"}, copy_out_kernel, copy_out, out,
           kNoCommit);
    caught_by_hooks("overwritten while it is copied out",
                    {"overwritten while asynchronous work reads it"}, copy_out_kernel, copy_out,
                    out, kOverwrite);
    caught("thread ends before its shared memory was read", {"has not waited for"}, copy_out_kernel,
           copy_out, out, kNoReadWait);

    const Shape pair = {2, 32, 128, 2};
    clean("cluster", cluster_kernel, pair, out, kGoodCluster);
    caught("another block's memory before it started", {"before a cluster barrier"}, cluster_kernel,
           pair, out, kNoStart);
    caught_by_hooks("written after the cluster barrier", {"race: "}, cluster_kernel, pair, out,
                    kNoOrder);
    caught("cluster barrier that one block never reaches", {"cluster"}, cluster_kernel, pair, out,
           kHalfArrives);
    const Shape sent = {2, 32, 16, 2};
    clean("sent to another block", send_kernel, sent, out, kGoodSend);
    caught("sent to a block before it started", {"before a cluster barrier"}, send_kernel, sent,
           out, kNoSendStart);
    caught_by_hooks("a sent value read without a wait", {"read of 4 bytes (load)"}, send_kernel,
                    sent, out, kNoSendWait);
    caught("nothing expected of another block", {"deadlock"}, send_kernel, sent, out,
           kNoSendExpect);
}

}  // namespace plant
