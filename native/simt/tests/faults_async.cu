// Asynchronous copies and mbarriers, by the machine's own functions (the tile wrappers have tests
// of theirs).
#include "simt/tests/faults.h"
#include "simt/tests/plant.h"

namespace plant {
namespace {

// A copy of 16 bytes, as cp.async makes it.
simt::Work copy_work(void* to, const void* from) {
    simt::Work work;
    work.what = "copy";
    work.writes[0] = {to, 16, 16};
    work.run = [to, from] { std::memcpy(to, from, 16); };
    return work;
}

enum Mistake {
    kNone,
    kReadEarly,     // before the wait
    kWaitForOther,  // the wait lets the newest group be pending
    kNoBarrier,     // each thread waits for its own copies only
    kWriteEarly,    // over the destination
    kNeverWait,
    kNotCommitted,
};

// Every thread brings 16 bytes and reads those of its neighbour.
__global__ void copies_kernel(const float* from, float* out, int mistake) {
    float* const words = shared<float>();
    const unsigned t = threadIdx.x, n = blockDim.x;
    simt::async_start(simt::Group::kCopy, copy_work(words + 4 * t, from + 4 * t));
    if (mistake != kNotCommitted) simt::async_commit(simt::Group::kCopy);
    if (mistake == kWriteEarly) words[4 * t] = 0;
    if (mistake == kReadEarly) out[t] = words[4 * t];
    if (mistake == kNeverWait) return;
    simt::async_wait(simt::Group::kCopy, mistake == kWaitForOther ? 1 : 0);
    if (mistake != kNoBarrier) __syncthreads();
    out[t] = words[4 * ((t + 32) % n)];
}

// Two stages: while one is read, the next one is on its way.
__global__ void double_buffer_kernel(const float* from, float* out, int rounds, int free_early) {
    float* const words = shared<float>();
    const unsigned t = threadIdx.x, n = blockDim.x;
    const auto start = [&](int round) {
        float* const stage = words + static_cast<unsigned>(round % 2) * 4 * n;
        const float* const source = from + static_cast<unsigned>(round) * 4 * n;
        if (round < rounds) {
            simt::async_start(simt::Group::kCopy, copy_work(stage + 4 * t, source + 4 * t));
        }
        simt::async_commit(simt::Group::kCopy);
    };
    float sum = 0;
    start(0);
    for (int round = 0; round < rounds; ++round) {
        start(round + 1);
        simt::async_wait(simt::Group::kCopy, 1);
        __syncthreads();
        const float* const stage = words + static_cast<unsigned>(round % 2) * 4 * n;
        for (unsigned i = 0; i < 4; ++i) sum += stage[4 * ((t + 32) % n) + i];
        if (free_early == 0) __syncthreads();
    }
    simt::async_wait(simt::Group::kCopy, 0);
    out[t] = sum;
}

// ---------------------------------------------------------------- mbarrier

enum BarrierMistake {
    kGood,
    kNoInit,
    kInitNotOrdered,
    kExpectTooMuch,
    kNobodyArrives,
    kArriveTwice,
    kReadWithoutWait,
    kOverwriteSource,
    kPlainAccess,
};

// Thread 0 has 128 bytes brought by bulk copy; the others wait on the barrier.
__global__ void bulk_kernel(const float* from, float* out, int mistake) {
    float* const words = shared<float>();
    auto* const barrier = shared<char>() + 128;
    const unsigned t = threadIdx.x;
    if (t == 0 && mistake != kNoInit) simt::mbarrier_init(barrier, 1);
    if (mistake != kInitNotOrdered) __syncthreads();
    if (t == 0) {
        simt::Work work;
        work.what = "bulk copy";
        work.async_proxy = true;
        work.writes[0] = {words, 128, 128};
        work.run = [words, from] { std::memcpy(words, from, 128); };
        simt::mbarrier_expect(barrier, mistake == kExpectTooMuch ? 256 : 128);
        simt::async_start(barrier, 128, std::move(work));
        if (mistake != kNobodyArrives)
            simt::mbarrier_arrive(barrier, mistake == kArriveTwice ? 2 : 1);
    }
    if (mistake == kPlainAccess && t == 9) *reinterpret_cast<int*>(barrier) = 0;
    if (mistake != kReadWithoutWait || t == 0) simt::mbarrier_wait(barrier, 0);
    out[t] = words[t % 32];
}

enum StoreMistake { kStoreGood, kNoFence, kOverwrite, kEndEarly };

// A block's words go out by bulk store.
__global__ void bulk_store_kernel(float* to, int mistake) {
    float* const words = shared<float>();
    const unsigned t = threadIdx.x;
    words[t] = static_cast<float>(t);
    if (mistake != kNoFence) simt::fence_proxy_async();
    __syncthreads();
    if (t == 0) {
        simt::Work work;
        work.what = "bulk store";
        work.async_proxy = true;
        work.reads[0] = {words, 256, 16};
        work.run = [words, to] { std::memcpy(to, words, 256); };
        simt::async_start(simt::Group::kBulk, std::move(work));
        simt::async_commit(simt::Group::kBulk);
        if (mistake != kOverwrite && mistake != kEndEarly)
            simt::async_wait_read(simt::Group::kBulk, 0);
    }
    if (mistake == kEndEarly) return;
    __syncthreads();
    words[t] = 0;
    if (t == 0) simt::async_wait(simt::Group::kBulk, 0);
}

// A ring of two stages between a producing and a consuming warp.
__global__ void ring_kernel(float* out, int rounds, int release_early) {
    float* const words = shared<float>();
    char* const full = shared<char>() + 256;
    char* const empty = full + 16;
    const unsigned t = threadIdx.x;
    if (t == 0) {
        for (int stage = 0; stage < 2; ++stage) {
            simt::mbarrier_init(full + 8 * stage, 32);
            simt::mbarrier_init(empty + 8 * stage, 32);
        }
    }
    __syncthreads();
    for (int round = 0; round < rounds; ++round) {
        const int stage = round % 2;
        const auto phase = static_cast<uint32_t>(round / 2 % 2);
        float* const slot = words + 32 * stage;
        if (t < 32) {
            simt::mbarrier_wait(empty + 8 * stage, phase ^ 1);
            slot[t] = static_cast<float>(round * 100) + static_cast<float>(t);
            simt::mbarrier_arrive(full + 8 * stage);
        } else {
            simt::mbarrier_wait(full + 8 * stage, phase);
            if (release_early != 0) simt::mbarrier_arrive(empty + 8 * stage);
            out[static_cast<unsigned>(round) * 32 + t - 32] = slot[63 - t];
            if (release_early == 0) simt::mbarrier_arrive(empty + 8 * stage);
        }
    }
}

void test_copies() {
    const Buffer<float> from(4 * 64 * 4), out(64);
    for (int i = 0; i < 4 * 64 * 4; ++i) from[i] = static_cast<float>(i % 7);
    const Shape shape = {1, 64, 1024};
    clean("copies", copies_kernel, shape, from, out, kNone);
    for (int i = 0; i < 64; ++i)
        check(out[i] == from[4 * ((i + 32) % 64)], "copies", "wrong value");
    caught_by_hooks("read early",
                    {"asynchronous copy read before it was waited for", "faults_async.cu"},
                    copies_kernel, shape, from, out, kReadEarly);
    caught_by_hooks("wait for others", {"asynchronous copy read before it was waited for"},
                    copies_kernel, shape, from, out, kWaitForOther);
    caught_by_hooks("not committed", {"asynchronous copy read before it was waited for"},
                    copies_kernel, shape, from, out, kNotCommitted);
    caught_by_hooks("no barrier", {"shared memory"}, copies_kernel, shape, from, out, kNoBarrier);
    caught_by_hooks("write early", {"asynchronous copy overwritten before it was waited for"},
                    copies_kernel, shape, from, out, kWriteEarly);
    caught("never wait", {"ends with asynchronous copies that it has not waited for"},
           copies_kernel, shape, from, out, kNeverWait);
    const Shape two = {1, 64, 2048};
    clean("double buffer", double_buffer_kernel, two, from, out, 4, 0);
    caught_by_hooks("freed early", {"of shared memory"}, double_buffer_kernel, two, from, out, 4,
                    1);
}

void test_mbarriers() {
    const Buffer<float> from(32), out(256), ring(32 * 5);
    for (int i = 0; i < 32; ++i) from[i] = static_cast<float>(i);
    const Shape shape = {1, 64, 136};
    clean("bulk", bulk_kernel, shape, from, out, kGood);
    for (int i = 0; i < 64; ++i) check(out[i] == static_cast<float>(i % 32), "bulk", "wrong value");
    caught("no init", {"no mbarrier was initialised at byte 128"}, bulk_kernel, shape, from, out,
           kNoInit);
    caught("init not ordered", {"mbarrier"}, bulk_kernel, shape, from, out, kInitNotOrdered);
    caught("too many bytes",
           {"deadlock", "wait in mbarrier.try_wait",
            "the mbarrier at byte 128 lacks 0 of 1 arrivals and 128 bytes in phase 0"},
           bulk_kernel, shape, from, out, kExpectTooMuch);
    caught("nobody arrives", {"deadlock", "lacks 1 of 1 arrivals and 0 bytes in phase 0"},
           bulk_kernel, shape, from, out, kNobodyArrives);
    caught("arrive twice", {"mbarrier.arrive: 2 arrivals, the phase lacks 1 of 1"}, bulk_kernel,
           shape, from, out, kArriveTwice);
    if (kInstrumented) {
        caught("read without a wait", {"shared memory"}, bulk_kernel, shape, from, out,
               kReadWithoutWait);
        caught("plain access", {"mbarrier touched by a plain access"}, bulk_kernel, shape, from,
               out, kPlainAccess);
    }

    const Shape store = {1, 64, 256};
    clean("bulk store", bulk_store_kernel, store, out, kStoreGood);
    for (int i = 0; i < 64; ++i)
        check(out[i] == static_cast<float>(i), "bulk store", "wrong value");
    caught_by_hooks("no fence", {"no fence.proxy.async: bulk store reads byte"}, bulk_store_kernel,
                    store, out, kNoFence);
    caught_by_hooks("overwrite", {"overwritten while asynchronous work reads it"},
                    bulk_store_kernel, store, out, kOverwrite);
    caught("end early", {"ends with asynchronous copies"}, bulk_store_kernel, store, out,
           kEndEarly);

    const Shape two_warps = {1, 64, 288};
    clean("ring", ring_kernel, two_warps, ring, 5, 0);
    for (int i = 0; i < 160; ++i) {
        check(ring[i] == static_cast<float>(i / 32 * 100 + 31 - i % 32), "ring", "wrong value");
    }
    caught_by_hooks("released early", {"race: "}, ring_kernel, two_warps, ring, 5, 1);
}

}  // namespace

void test_async() {
    test_copies();
    test_mbarriers();
}

}  // namespace plant
