#include "simt/cuda.h"
#include "simt/tests/device_kernels.h"

namespace device_test {
namespace {

__global__ void scale_kernel(float* data, int count, float factor, float term) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < count) data[i] = data[i] * factor + term;
}

__global__ void meet_kernel(float* data, int count, int rounds) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    float sum = 0;
    for (int round = 0; round < rounds; ++round) {
        __syncthreads();
        sum += __shfl_xor_sync(0xffffffffu, 1.0f, 1 << round % 5);
    }
    if (i < count) data[i] = sum;
}

unsigned blocks(int count) { return static_cast<unsigned>(count + 63) / 64; }

}  // namespace

const char* scale(void* stream, float* data, int count, float factor, float term) {
    return simt::launch(stream, reinterpret_cast<const void*>(scale_kernel), blocks(count), 64, 0,
                        1, [=] { scale_kernel(data, count, factor, term); });
}

const char* overrun(void* stream, float* data, int count) {
    return scale(stream, data, count + 1, 1, 0);
}

const char* meet(void* stream, float* data, int count, int rounds) {
    return simt::launch(stream, reinterpret_cast<const void*>(meet_kernel), blocks(count), 64, 0, 1,
                        [=] { meet_kernel(data, count, rounds); });
}

}  // namespace device_test
