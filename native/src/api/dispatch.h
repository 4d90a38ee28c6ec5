// From the ABI to a device: which kernels a stream's ops go to.
#pragma once

#include "core/check.h"
#include "core/stream.h"
#include "cpu/kernels.h"

namespace caravan {

// The CPU stream behind the handle; throws when the op has no kernel for the stream's device.
inline caravan_stream_s& cpu_stream(const char* op, caravan_stream stream) {
    if (stream == nullptr) fail(CARAVAN_INVALID_ARGUMENT, "%s: stream: got null", op);
    if (stream->kind != CARAVAN_CPU) {
        fail(CARAVAN_UNSUPPORTED, "%s: not built yet for cuda; run it with --device cpu", op);
    }
    return *stream;
}

}  // namespace caravan
