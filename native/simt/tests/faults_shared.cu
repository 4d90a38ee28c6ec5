// Shared memory: bounds, alignment, reads before writes, races.
#include "simt/tests/faults.h"
#include "simt/tests/plant.h"

namespace plant {
namespace {

__global__ void fill_kernel(int shift) {
    shared<float>()[static_cast<int>(threadIdx.x) + shift] = 1;
}

__global__ void byte_kernel(int offset) {
    if (threadIdx.x == 0) *reinterpret_cast<int*>(shared<char>() + offset) = 1;
}

__global__ void uninitialised_kernel(float* out, int all) {
    if (all != 0 || threadIdx.x != 7) shared<float>()[threadIdx.x] = 1;
    __syncthreads();
    out[threadIdx.x] = shared<float>()[31 - threadIdx.x];
}

// Warps exchange words: a barrier is needed before the read and, in the next round, before the
// write.
__global__ void exchange_kernel(float* out, int before_read, int before_write) {
    float* const words = shared<float>();
    const unsigned t = threadIdx.x, n = blockDim.x;
    float sum = 0;
    words[n - 1 - t] = 0;  // written, so that only the race is left to find
    __syncthreads();
    for (int round = 0; round < 3; ++round) {
        words[t] = static_cast<float>(t);
        if (before_read != 0) __syncthreads();
        sum += words[n - 1 - t];
        if (before_write != 0) __syncthreads();
    }
    out[t] = sum;
}

__global__ void same_word_kernel(int apart) {
    if (threadIdx.x % 32 == 0) shared<int>()[apart != 0 ? threadIdx.x / 32 : 0] = 1;
}

__global__ void same_halves_kernel() { shared<uint16_t>()[threadIdx.x] = 1; }

// Within one warp.
__global__ void lanes_kernel(float* out, int ordered, unsigned mask) {
    const unsigned lane = threadIdx.x;
    shared<float>()[lane] = 0;
    __syncthreads();
    if ((mask >> lane & 1) == 0) return;
    shared<float>()[lane] = static_cast<float>(lane);
    if (ordered != 0) __syncwarp(mask);
    out[lane] = shared<float>()[lane ^ 1];
}

// A shuffle between does not order memory.
__global__ void shuffle_orders_nothing_kernel(float* out) {
    const unsigned lane = threadIdx.x;
    shared<float>()[lane] = 0;
    __syncthreads();
    shared<float>()[lane] = static_cast<float>(lane);
    out[lane] = __shfl_xor_sync(0xffffffffu, 1.0f, 1) + shared<float>()[lane ^ 1];
}

__global__ void counter_kernel(int* out, int plain) {
    int* const counter = shared<int>();
    if (threadIdx.x == 0) *counter = 0;
    __syncthreads();
    if (plain != 0 && threadIdx.x == 40) {
        *counter = 3;
    } else {
        atomicAdd(counter, 1);
    }
    __syncthreads();
    out[threadIdx.x] = *counter;
}

}  // namespace

void test_shared() {
    const Buffer<float> out(128);
    const Buffer<int> counts(128);
    clean("fill", fill_kernel, {1, 32, 128}, 0);
    caught_by_hooks("behind the end",
                    {"out of bounds: write of 4 bytes", "byte 128 of 128 of shared memory"},
                    fill_kernel, {1, 32, 128}, 1);
    caught_by_hooks("before the start", {"out of bounds"}, fill_kernel, {1, 32, 128}, -1);
    caught_by_hooks("not asked for", {"out of bounds", "byte 0 of 0 of shared memory"}, fill_kernel,
                    {1, 1, 0}, 0);
    clean("aligned", byte_kernel, {1, 32, 8}, 4);
    caught_by_hooks("misaligned", {"misaligned"}, byte_kernel, {1, 32, 8}, 2);
    caught_by_hooks("half outside", {"out of bounds"}, byte_kernel, {1, 32, 6}, 4);
    clean("initialised", uninitialised_kernel, {1, 32, 128}, out, 1);
    caught_by_hooks(
        "uninitialised",
        {"shared memory read before it was written", "byte 28 of 128", "thread (24,0,0)"},
        uninitialised_kernel, {1, 32, 128}, out, 0);
    const Shape four_warps = {1, 128, 512};
    clean("exchange", exchange_kernel, four_warps, out, 1, 1);
    caught_by_hooks("no barrier before the read",
                    {"race: ", "with no barrier between by thread", "faults_shared.cu"},
                    exchange_kernel, four_warps, out, 0, 1);
    caught_by_hooks("no barrier before the write", {"race: ", "with no barrier between by thread"},
                    exchange_kernel, four_warps, out, 1, 0);
    clean("words apart", same_word_kernel, four_warps, 1);
    caught_by_hooks("the same word", {"race: write", "which was written"}, same_word_kernel,
                    four_warps, 0);
    clean("neighbouring halves", same_halves_kernel, four_warps);
    clean("lanes in order", lanes_kernel, {1, 32, 128}, out, 1, 0xffffffffu);
    clean("some lanes in order", lanes_kernel, {1, 32, 128}, out, 1, 0x00ff00ffu);
    caught_by_hooks("lanes not in order", {"race: "}, lanes_kernel, {1, 32, 128}, out, 0,
                    0xffffffffu);
    caught_by_hooks("shuffle for a barrier", {"race: "}, shuffle_orders_nothing_kernel,
                    {1, 32, 128}, out);
    clean("shared counter", counter_kernel, {1, 64, 4}, counts, 0);
    caught_by_hooks("counter written plainly", {"race: "}, counter_kernel, {1, 64, 4}, counts, 1);
}

}  // namespace plant
