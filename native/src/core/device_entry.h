// How libcaravan.so reaches a device library: a table of functions, that library's only exported
// symbol. It is opened at the first probe, so that it is not needed to load this one.
#pragma once

#include "caravan/caravan.h"
#include "core/kernel_list.h"

namespace caravan {

// Raised when a field is added or changes: both libraries come from one build.
constexpr int32_t kDeviceEntryVersion = 3;

// One function an op, null where the library has no kernel for it. Arguments have passed the checks
// of src/api, but for values that lie in device memory.
struct DeviceKernels {
#define CARAVAN_KERNEL_FIELD(name, Args) \
    caravan_status (*name)(int32_t index, void* stream, const Args& args);
    CARAVAN_KERNELS(CARAVAN_KERNEL_FIELD)
#undef CARAVAN_KERNEL_FIELD
};

// Streams, events and graphs are the device's own handles. Arguments have been checked. Functions
// that return a status leave their message for last_error, a thread at a time.
struct DeviceEntry {
    int32_t version;

    // How many devices are usable; when none is, `reason` says why, cut to capacity.
    int32_t (*probe)(char* reason, int64_t capacity);
    const char* (*last_error)();

    caravan_status (*info)(int32_t index, char* name, int64_t capacity, int64_t* memory_bytes);
    caravan_status (*capability)(int32_t index, int32_t* capability);
    caravan_status (*memory_info)(int32_t index, int64_t* free_bytes, int64_t* total_bytes);
    caravan_status (*allocate)(int32_t index, int64_t bytes, void** data);
    caravan_status (*release)(int32_t index, void* data);
    // Page-locked host memory, which the device reaches too.
    caravan_status (*allocate_host)(int32_t index, int64_t bytes, void** data);
    caravan_status (*release_host)(int32_t index, void* data);

    caravan_status (*stream_create)(int32_t index, void** stream);
    caravan_status (*stream_destroy)(int32_t index, void* stream);
    caravan_status (*stream_synchronize)(int32_t index, void* stream);
    caravan_status (*copy)(int32_t index, void* stream, void* to, const void* from, int64_t bytes);
    caravan_status (*fill)(int32_t index, void* stream, void* data, int32_t byte, int64_t bytes);

    caravan_status (*event_create)(int32_t index, void** event);
    caravan_status (*event_destroy)(int32_t index, void* event);
    caravan_status (*event_record)(int32_t index, void* event, void* stream);
    caravan_status (*stream_wait)(int32_t index, void* stream, void* event);
    caravan_status (*event_elapsed)(int32_t index, void* from, void* to, float* milliseconds);

    caravan_status (*capture_begin)(int32_t index, void* stream);
    caravan_status (*capture_end)(int32_t index, void* stream, void** graph);
    caravan_status (*graph_launch)(int32_t index, void* graph, void* stream);
    caravan_status (*graph_destroy)(int32_t index, void* graph);

    // Named ranges of this thread's timeline, for profilers.
    void (*range_push)(const char* name);
    void (*range_pop)();

    const DeviceKernels* kernels;
};

}  // namespace caravan
