// Kernels for device_test.cpp, enqueued on a stream of the emulated device.
#pragma once

namespace device_test {

// data[i] = data[i] * factor + term for i < count. Null, or what is wrong.
const char* scale(void* stream, float* data, int count, float factor, float term);

// Reads behind the end of `count` elements: a fault.
const char* overrun(void* stream, float* data, int count);

// Every thread meets the others `rounds` times and shuffles; data[i] becomes the number of rounds.
const char* meet(void* stream, float* data, int count, int rounds);

}  // namespace device_test
