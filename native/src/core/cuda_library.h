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

// Where it is looked for: libcaravan_cuda.so in the folder. (cuda_library takes the folder of the file
// that holds it.)
CudaLibrary open_cuda_library(const std::string& folder);

// Throws a device library's failure, with its message, unless the status is CARAVAN_OK.
void require(const char* op, const DeviceEntry& entry, caravan_status status);

}  // namespace caravan
