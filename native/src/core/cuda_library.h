// The CUDA half of the library, if it is there and finds a device.
#pragma once

#include <string>

#include "core/device_entry.h"

namespace caravan {

struct CudaLibrary {
    const DeviceEntry* entry;  // null when there is no library
    int32_t devices;
    std::string reason;  // why there is no device
};

// Opened and asked once, at the first call. Never fails: that is what the reason is for.
const CudaLibrary& cuda_library();

// Opens a device library. (cuda_library takes libcaravan_cuda.so beside its own file, or the file
// that the environment variable CARAVAN_CUDA_LIBRARY names: that is how tests put the emulation in
// its place.)
CudaLibrary open_cuda_library(const std::string& file);

// Throws a device library's failure, with its message, unless the status is CARAVAN_OK.
void require(const char* op, const DeviceEntry& entry, caravan_status status);

}  // namespace caravan
