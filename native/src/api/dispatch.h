// From the ABI to a device: which kernels a stream's ops go to.
#pragma once

#include "core/check.h"
#include "core/cuda_library.h"
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

// The library that serves a device: null for the CPU, which is served here. Throws for a device
// that is not there, and for CUDA says why.
inline const DeviceEntry* check_device(const char* op, int32_t kind, int32_t index) {
    const Check check(op);
    if (kind == CARAVAN_CUDA) {
        const CudaLibrary& cuda = cuda_library();
        if (cuda.devices == 0) {
            fail(CARAVAN_UNSUPPORTED, "%s: no CUDA because: %s", op, cuda.reason.c_str());
        }
        check.that(index >= 0 && index < cuda.devices, "index: got %d, needs 0 to %d", index,
                   cuda.devices - 1);
        return cuda.entry;
    }
    check.that(kind == CARAVAN_CPU, "kind: got %d, needs 0 (cpu) or 1 (cuda)", kind);
    check.that(index == 0, "index: got %d, needs 0 (the CPU is one device)", index);
    return nullptr;
}

// The same for the device of a handle that exists: null for the CPU.
template <typename Handle>
const DeviceEntry* device_of(const Handle& handle) {
    return handle.kind == CARAVAN_CUDA ? cuda_library().entry : nullptr;
}

// Where a result goes: its address must not be null.
template <typename T>
T& result(const char* op, const char* name, T* address) {
    if (address == nullptr) fail(CARAVAN_INVALID_ARGUMENT, "%s: %s: got null", op, name);
    return *address;
}

// The body of a workspace query: *bytes = size(args) on the CPU.
template <typename Args, typename Size>
caravan_status workspace(const char* op, int32_t kind, const Args* args, int64_t* bytes,
                         Size&& size) {
    return guarded([&] {
        int64_t& out = result(op, "bytes", bytes);
        out = 0;
        if (check_device(op, kind, 0) != nullptr) {
            fail(CARAVAN_UNSUPPORTED, "%s: not built yet for cuda; run it with --device cpu", op);
        }
        out = size(checked_args(op, args));
    });
}

}  // namespace caravan
