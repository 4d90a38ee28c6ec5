// What the opaque handles of the ABI point to.
#pragma once

#include "caravan/caravan.h"
#include "core/pool.h"

struct caravan_stream_s {
    int32_t kind;
    int32_t index;
    caravan::Pool* pool;  // CPU: owned
    void* native;         // CUDA: the device library's stream
};
