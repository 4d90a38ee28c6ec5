// From the ABI to a device: which kernels a stream's ops go to.
#pragma once

#include "core/check.h"
#include "core/stream.h"
#include "cpu/kernels.h"

namespace caravan {

// The stream behind the handle, which must not be null.
inline caravan_stream_s& known_stream(const char* op, caravan_stream stream) {
    if (stream == nullptr) fail(CARAVAN_INVALID_ARGUMENT, "%s: stream: got null", op);
    return *stream;
}

// The CPU stream behind the handle; throws when the op has no kernel for the stream's device.
inline caravan_stream_s& cpu_stream(const char* op, caravan_stream stream) {
    caravan_stream_s& known = known_stream(op, stream);
    if (known.kind != CARAVAN_CPU) {
        fail(CARAVAN_UNSUPPORTED, "%s: not built yet for cuda; run it with --device cpu", op);
    }
    return known;
}

// Passes for the one CPU device (index 0); throws for a device that is not there.
inline void check_device(const char* op, int32_t kind, int32_t index) {
    if (kind == CARAVAN_CUDA) {
        fail(CARAVAN_UNSUPPORTED, "%s: kind: got cuda, which this build leaves out", op);
    }
    if (kind != CARAVAN_CPU) {
        fail(CARAVAN_INVALID_ARGUMENT, "%s: kind: got %d, needs 0 (cpu) or 1 (cuda)", op, kind);
    }
    if (index != 0) {
        fail(CARAVAN_INVALID_ARGUMENT, "%s: index: got %d, needs 0 (the CPU is one device)", op,
             index);
    }
}

// Where a result goes: its address must not be null.
template <typename T>
T& result(const char* op, const char* name, T* address) {
    if (address == nullptr) fail(CARAVAN_INVALID_ARGUMENT, "%s: %s: got null", op, name);
    return *address;
}

}  // namespace caravan
