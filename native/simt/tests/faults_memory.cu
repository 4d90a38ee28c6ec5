// Device memory: bounds, alignment, life, races between blocks.
#include "cuda/tile/vector.cuh"
#include "simt/tests/faults.h"
#include "simt/tests/plant.h"

namespace plant {
namespace {

__constant__ float kTable[4] = {1, 2, 3, 4};

__global__ void copy_kernel(const float* from, float* to, int shift) {
    to[threadIdx.x] = from[static_cast<int>(threadIdx.x) + shift];
}

__global__ void store_kernel(float* to, int shift) {
    to[static_cast<int>(threadIdx.x) + shift] = 1;
}

__global__ void wide_kernel(const float* from, float* to, int shift) {
    to[threadIdx.x] = caravan::tile::load<4>(from + shift)[3];
}

__global__ void table_kernel(float* to) { to[threadIdx.x] = kTable[threadIdx.x % 4]; }

// Lane 0 hands out the address of its own variable.
__global__ void local_kernel(float* to, int own) {
    float local = static_cast<float>(threadIdx.x);
    auto address = reinterpret_cast<unsigned long long>(&local);
    if (own == 0) address = __shfl_sync(0xffffffffu, address, 0);
    to[threadIdx.x] = *reinterpret_cast<volatile float*>(address);
}

__attribute__((noinline)) float deep(int depth, volatile float* to) {
    volatile float frame[64];
    frame[depth % 64] = static_cast<float>(depth);
    *to = frame[depth % 64];
    return depth == 0 ? *to : deep(depth - 1, to) + frame[depth % 64];
}

__global__ void deep_kernel(float* to, int depth) {
    float value;
    to[threadIdx.x] = deep(depth, &value);
}

// Every block writes its own element; with `overlap`, the next one's as well.
__global__ void blocks_write_kernel(float* to, int overlap) {
    if (threadIdx.x == 0) {
        to[blockIdx.x] = 1;
        if (overlap != 0) to[(blockIdx.x + 1) % gridDim.x] = 1;
    }
}

// Reads what another block writes.
__global__ void blocks_read_kernel(float* to, int neighbour) {
    if (threadIdx.x == 0) to[blockIdx.x] = to[(blockIdx.x + neighbour) % gridDim.x] + 1;
}

__global__ void halves_kernel(uint16_t* to) {
    if (threadIdx.x == 0) to[blockIdx.x] = static_cast<uint16_t>(blockIdx.x);
}

__global__ void count_kernel(int* counter, int plain) {
    if (plain != 0 && blockIdx.x == 1) {
        if (threadIdx.x == 0) *counter = 0;
        return;
    }
    atomicAdd(counter, 1);
}

// Each block leaves a part; the last one to come adds them up, if it may.
__global__ void last_block_kernel(float* parts, int* counter, float* sum, int counted) {
    if (threadIdx.x != 0) return;
    parts[blockIdx.x] = static_cast<float>(blockIdx.x + 1);
    __threadfence();
    const int before = counted != 0 ? atomicAdd(counter, 1) : static_cast<int>(blockIdx.x);
    if (before != static_cast<int>(gridDim.x) - 1) return;
    float total = 0;
    for (unsigned i = 0; i < gridDim.x; ++i) total += parts[i];
    *sum = total;
}

void test_race_between_blocks() {
    const Buffer<float> eight(8), sum(1);
    const Buffer<int> counter(1);
    const Shape blocks = {8, 32};
    clean("each block its own", blocks_write_kernel, blocks, eight, 0);
    caught_by_hooks("two blocks write",
                    {"race between blocks", "write of 4 bytes", "wrote", "faults_memory.cu"},
                    blocks_write_kernel, blocks, eight, 1);
    clean("each block reads its own", blocks_read_kernel, blocks, eight, 0);
    caught_by_hooks("a block reads another's", {"race between blocks"}, blocks_read_kernel, blocks,
                    eight, 1);
    const Buffer<uint16_t> halves(8);
    clean("halves of words", halves_kernel, blocks, halves);
    clean("atomics", count_kernel, blocks, counter, 0);
    caught_by_hooks("atomics and plain", {"race between blocks"}, count_kernel, blocks, counter, 1);
    under_all_seeds([&] {
        *counter = 0;
        const std::string message = launch(last_block_kernel, blocks, static_cast<float*>(eight),
                                           static_cast<int*>(counter), static_cast<float*>(sum), 1);
        check(message.empty() && *sum == 36, "the last block adds", message);
    });
    caught_by_hooks("some block adds", {"race between blocks"}, last_block_kernel, blocks, eight,
                    counter, sum, 0);
}

}  // namespace

void test_memory() {
    const Buffer<float> in(33), out(32), pinned(32, true);
    clean("copy", copy_kernel, {1, 32}, in, out, 0);
    clean("copy to pinned", copy_kernel, {1, 32}, in, pinned, 1);
    caught_by_hooks(
        "read behind the end",
        {"copy_kernel: out of bounds: read of 4 bytes", "0 bytes behind the end of device",
         "of 132 bytes", "thread (31,0,0) of block (0,0,0)", "faults_memory.cu:"},
        copy_kernel, {1, 32}, in, out, 2);
    caught_by_hooks("read before the start", {"out of bounds", "4 bytes before device allocation"},
                    copy_kernel, {1, 32}, in, out, -1);
    caught_by_hooks("write behind the end", {"out of bounds: write of 4 bytes", "behind the end"},
                    store_kernel, {1, 32}, out, 1);
    caught_by_hooks("null", {"out of bounds", "in no memory of the device"}, store_kernel, {1, 32},
                    static_cast<float*>(nullptr), 0);
    std::vector<float> host(32);
    caught_by_hooks("host memory", {"out of bounds", "in no memory of the device"}, store_kernel,
                    {1, 32}, host.data(), 0);
    float* released = nullptr;
    {
        const Buffer<float> gone(32);
        released = gone;
    }
    if (kInstrumented) {
        caught_by_hooks("released", {"use of released memory"}, store_kernel, {1, 32}, released, 0);
    }
    auto* const odd =
        reinterpret_cast<float*>(reinterpret_cast<char*>(static_cast<float*>(in)) + 2);
    caught_by_hooks("misaligned", {"misaligned: read of 4 bytes", "needs a multiple of 4"},
                    copy_kernel, {1, 32}, odd, out, 0);
    clean("wide", wide_kernel, {1, 32}, in, out, 4);
    caught("misaligned wide",
           {"misaligned: read of 16 bytes (vector load)", "needs a multiple of 16"}, wide_kernel,
           {1, 32}, in, out, 1);
    clean("constants", table_kernel, {1, 32}, out);
    clean("own variable", local_kernel, {1, 32}, out, 1);
    caught_by_hooks("another's variable", {"local memory of another thread"}, local_kernel, {1, 32},
                    out, 0);
    clean("a few frames", deep_kernel, {1, 1}, out, 8);
    caught_by_hooks("endless frames", {"local memory: the thread's stack is full"}, deep_kernel,
                    {1, 1}, out, 1 << 20);
    test_race_between_blocks();
}

}  // namespace plant
