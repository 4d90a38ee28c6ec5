// What the opaque handles of the ABI point to.
#pragma once

#include <atomic>

#include "caravan/caravan.h"
#include "core/pool.h"

struct caravan_stream_s {
    int32_t kind;
    int32_t index;
    caravan::Pool* pool;  // CPU: owned
    void* native;         // CUDA: the device library's stream
};

struct caravan_event_s {
    int32_t kind;
    int32_t index;
    std::atomic<int64_t> nanos;  // CPU: steady-clock time of the record; negative before the first
    void* native;                // CUDA: the device library's event
};

struct caravan_graph_s {
    int32_t kind;
    int32_t index;
    void* native;  // the device library's graph
};
