// Threads that wait for each other: barriers, warp functions, clusters, and waits without end.
#include "simt/tests/faults.h"
#include "simt/tests/plant.h"

namespace plant {
namespace {

// ---------------------------------------------------------------- __syncthreads

__global__ void barrier_kernel(unsigned threads) {
    if (threadIdx.x < threads) __syncthreads();
}

__global__ void two_barriers_kernel(unsigned border) {
    if (threadIdx.x < border) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}

// Some wait for the block, the others for their warp.
__global__ void mixed_kernel(unsigned border) {
    if (threadIdx.x < border) __syncthreads();
    __syncwarp();
    if (threadIdx.x >= border) __syncthreads();
}

__global__ void votes_kernel(int* out) {
    const unsigned t = threadIdx.x;
    const int some = t % 3 == 0;
    const int count = __syncthreads_count(some);
    const int any = __syncthreads_or(t == 70);
    const int all = __syncthreads_and(t != 70);
    out[t] = count * 100 + any * 10 + all;
}

// ---------------------------------------------------------------- warps

__global__ void shuffle_kernel(int* out, unsigned mask, unsigned takes_part, int distance) {
    if ((takes_part >> threadIdx.x % 32 & 1) == 0) return;
    out[threadIdx.x] = __shfl_xor_sync(mask, static_cast<int>(threadIdx.x), distance);
}

__global__ void waiting_shuffle_kernel(int* out, unsigned mask, unsigned waits) {
    if ((waits >> threadIdx.x & 1) != 0) __syncthreads();
    out[threadIdx.x] = __shfl_sync(mask, 1, 0);
    if ((waits >> threadIdx.x & 1) == 0) __syncthreads();
}

__global__ void divergent_warp_kernel(int* out, unsigned border) {
    if (threadIdx.x < border) {
        out[threadIdx.x] = __shfl_sync(0xffffffffu, 1, 0);
    } else {
        out[threadIdx.x] = static_cast<int>(__ballot_sync(0xffffffffu, 1));
    }
}

__global__ void width_kernel(int* out, int width) {
    out[threadIdx.x] = __shfl_up_sync(0xffffffffu, static_cast<int>(threadIdx.x), 1, width);
}

// Two halves of a warp, each for itself.
__global__ void halves_meet_kernel(int* out) {
    const unsigned mask = threadIdx.x < 16 ? 0xffffu : 0xffff0000u;
    const int source = threadIdx.x < 16 ? 3 : 19;
    out[threadIdx.x] = __shfl_sync(mask, static_cast<int>(threadIdx.x), source);
}

// ---------------------------------------------------------------- named barriers

// Warps 0 and 1 hand on what they made to warps 2 and 3, which wait for them.
__global__ void hand_on_kernel(float* out, int expected, int arrivals) {
    float* const words = shared<float>();
    const int t = static_cast<int>(threadIdx.x);
    if (t < 64) {
        words[t] = static_cast<float>(t);
        if (t / 32 < arrivals) simt::named_barrier_arrive(1, 128);
    } else {
        simt::named_barrier_sync(1, expected);
        out[t - 64] = words[t - 64];
    }
}

__global__ void barrier_number_kernel(int id, int threads) {
    simt::named_barrier_sync(id, threads);
}

// ---------------------------------------------------------------- clusters

// Every block reads its neighbour's word.
__global__ void neighbour_kernel(float* out, int before, int after, int skip) {
    const auto rank = static_cast<unsigned>(simt::self().block_rank);
    const auto size = static_cast<unsigned>(simt::self().cluster_size);
    float* const word = shared<float>();
    if (threadIdx.x == 0) *word = static_cast<float>(rank);
    if (before != 0 && !(skip != 0 && rank == 1 && threadIdx.x == 5)) simt::cluster_arrive();
    if (before != 0 && !(skip != 0 && rank == 1 && threadIdx.x == 5)) simt::cluster_wait();
    const auto* const other =
        static_cast<const float*>(simt::map_shared_rank(word, (rank + 1) % size));
    if (threadIdx.x == 0) out[blockIdx.x] = *other;
    if (after == 1) simt::cluster_arrive();
    if (after == 1) simt::cluster_wait();
    if (after == 2 && threadIdx.x == 0) *word = 7;  // while the neighbour may still read it
    if (after == 2) simt::cluster_arrive();
    if (after == 2) simt::cluster_wait();
}

__global__ void far_rank_kernel() { simt::map_shared_rank(shared<float>(), 2); }

__global__ void wait_without_arrive_kernel() { simt::cluster_wait(); }

// ---------------------------------------------------------------- waits without end

__global__ void never_kernel(int* flag) {
    simt::wait_until([flag] { return *flag == 1; }, "a flag that nobody sets");
}

__global__ void flag_kernel(int* flag) {
    if (threadIdx.x == 40) atomicExch(flag, 1);
    simt::wait_until([flag] { return *flag == 1; }, "a flag");
}

__global__ void spin_kernel(int* flag) {
    while (atomicAdd(flag, 0) != 1) simt::yield();
}

void test_warps(int* out) {
    const Shape warp = {1, 32}, block = {1, 64};
    clean("all lanes", shuffle_kernel, block, out, 0xffffffffu, 0xffffffffu, 1);
    clean("some lanes", shuffle_kernel, block, out, 0x0f0fu, 0x0f0fu, 2);
    clean("halves", halves_meet_kernel, warp, out);
    for (int i = 0; i < 32; ++i) check(out[i] == (i < 16 ? 3 : 19), "halves", "wrong value");
    caught("reads a lane outside the mask",
           {"__shfl_xor_sync: lane", "which is not in the mask 0xffff"}, shuffle_kernel, block, out,
           0xffffu, 0xffffu, 16);
    caught("not in its own mask", {"__shfl_xor_sync", "is not in"}, shuffle_kernel, block, out,
           0xfffeu, 0xffffu, 0);
    caught("lanes that do not exist", {"names lanes that do not exist: the warp has 16"},
           shuffle_kernel, {1, 48}, out, 0xffffffffu, 0xffffffffu, 1);
    caught("a lane that has ended", {"lane"}, shuffle_kernel, warp, out, 0xffffffffu, 0x7fffffffu,
           1);
    caught("a lane that waits elsewhere",
           {"deadlock: block (0,0,0): threads ", "wait in __shfl_sync", "wait in __syncthreads",
            "faults_meet.cu"},
           waiting_shuffle_kernel, warp, out, 0xffffffffu, 0xffu);
    caught("two functions of one warp", {"divergent warp", "__shfl_sync", "__ballot_sync"},
           divergent_warp_kernel, warp, out, 9u);
    clean("one function", divergent_warp_kernel, warp, out, 32u);
    clean("width 8", width_kernel, warp, out, 8);
    caught("width 12", {"width 12; needs a power of two"}, width_kernel, warp, out, 12);
}

void test_block_barriers(int* out, float* floats) {
    const Shape block = {2, 128};
    clean("all reach it", barrier_kernel, block, 128u);
    caught("not reached by all", {"barrier not reached by all"}, barrier_kernel, block, 96u);
    caught("not reached by one", {"barrier not reached by all"}, barrier_kernel, block, 127u);
    clean("one place", two_barriers_kernel, block, 128u);
    caught("two places",
           {"divergent barrier: __syncthreads", "others are in __syncthreads", "faults_meet.cu"},
           two_barriers_kernel, block, 32u);
    caught("the warp and the block", {"deadlock", "wait in __syncthreads", "wait in __syncwarp"},
           mixed_kernel, {1, 32}, 16u);
    clean("votes", votes_kernel, {1, 128}, out);
    for (int i = 0; i < 128; ++i) check(out[i] == 4310, "votes", std::to_string(out[i]));

    const Shape handing = {1, 128, 256};
    clean("hand on", hand_on_kernel, handing, floats, 128, 2);
    for (int i = 0; i < 64; ++i)
        check(floats[i] == static_cast<float>(i), "hand on", "wrong value");
    caught("nobody arrives", {"deadlock", "wait in barrier.sync"}, hand_on_kernel, handing, floats,
           128, 1);
    caught("another count", {"barrier 1:", "threads expected"}, hand_on_kernel, handing, floats, 64,
           2);
    caught("no such barrier", {"barrier 16: there are 0 to 15"}, barrier_number_kernel, handing, 16,
           128);
    caught("not whole warps", {"33 threads; needs a multiple of 32"}, barrier_number_kernel,
           handing, 1, 33);
}

void test_clusters(float* out) {
    const Shape two = {4, 32, 4, 2};
    clean("neighbours", neighbour_kernel, two, out, 1, 1, 0);
    for (int i = 0; i < 4; ++i)
        check(out[i] == static_cast<float>(1 - i % 2), "neighbours", "wrong value");
    clean("eight", neighbour_kernel, {8, 32, 4, 8}, out, 1, 1, 0);
    if (kInstrumented) {
        caught("before the cluster met", {"another block's shared memory before a cluster barrier"},
               neighbour_kernel, two, out, 0, 1, 0);
        caught("written while it is read", {"race: "}, neighbour_kernel, two, out, 1, 2, 0);
        // Whether the neighbour has ended depends on the order, so some seed must show it.
        int seen = 0;
        under_all_seeds([&] {
            const std::string message = launch(neighbour_kernel, two, out, 1, 0, 0);
            seen += message.find("shared memory of a block that has ended") != std::string::npos;
        });
        check(seen > 0, "the neighbour may have ended", "no seed showed it");
    }
    caught("a thread that never arrives",
           {"deadlock", "wait in barrier.cluster.wait", "block (1,0,0)"}, neighbour_kernel,
           {2, 32, 4, 2}, out, 1, 1, 1);
    caught("no such block", {"map_shared_rank: block 2 of a cluster of 2"}, far_rank_kernel, two);
    caught("wait without arrive", {"barrier.cluster.wait without an arrive"},
           wait_without_arrive_kernel, two);
}

}  // namespace

void test_meetings() {
    const Buffer<int> out(128), flag(1);
    const Buffer<float> floats(128);
    test_warps(out);
    test_block_barriers(out, floats);
    test_clusters(floats);
    caught("never", {"deadlock", "wait in a flag that nobody sets"}, never_kernel, {1, 64}, flag);
    under_all_seeds([&] {
        *flag = 0;
        const std::string message = launch(flag_kernel, {1, 64}, static_cast<int*>(flag));
        check(message.empty(), "a flag", message);
    });
    *flag = 0;
    const std::string message = launch(spin_kernel, {1, 64}, static_cast<int*>(flag));
    check(message.find("livelock") != std::string::npos, "spin", "nothing was caught: " + message);
}

}  // namespace plant
