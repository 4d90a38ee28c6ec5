// From the ABI to a device: which kernels a stream's ops go to.
#pragma once

#include "core/check.h"
#include "core/cuda_library.h"
#include "core/float_mode.h"
#include "core/stream.h"
#include "cpu/kernels.h"

namespace caravan {

// The stream behind the handle, which must not be null.
inline caravan_stream_s& known_stream(const char* op, caravan_stream stream) {
    if (stream == nullptr) fail(CARAVAN_INVALID_ARGUMENT, "%s: stream: got null", op);
    return *stream;
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

// The kind of a workspace query, which needs no such device to be there.
inline void check_kind(const char* op, int32_t kind) {
    Check(op).that(kind == CARAVAN_CPU || kind == CARAVAN_CUDA,
                   "kind: got %d, needs 0 (cpu) or 1 (cuda)", kind);
}

// The body of a workspace query: *bytes = size(kind, args), from shapes alone.
template <typename Args, typename Size>
caravan_status workspace(const char* op, int32_t kind, const Args* args, int64_t* bytes,
                         Size&& size) {
    return guarded([&] {
        int64_t& out = result(op, "bytes", bytes);
        out = 0;
        check_kind(op, kind);
        out = size(kind, checked_args(op, args));
    });
}

// Runs an op where its stream is. What lies in memory can be checked on the CPU alone: there
// `ready` looks at it, throws if it is wrong, and says whether there is anything to do.
template <typename Args, typename Ready>
void launch(const char* op, const caravan_stream_s& stream, const Args& args,
            void (*CpuKernels::*cpu)(Pool&, const Args&),
            caravan_status (*DeviceKernels::*device)(int32_t, void*, const Args&), Ready&& ready) {
    if (const DeviceEntry* library = device_of(stream)) {
        const auto kernel = library->kernels->*device;
        if (kernel == nullptr) {
            fail(CARAVAN_UNSUPPORTED, "%s: not built yet for cuda; run it with --device cpu", op);
        }
        require(op, *library, kernel(stream.index, stream.native, args));
    } else if (ready()) {
        const FlushSubnormals mode;
        (cpu_kernels().*cpu)(*stream.pool, args);
    }
}

template <typename Args>
void launch(const char* op, const caravan_stream_s& stream, const Args& args,
            void (*CpuKernels::*cpu)(Pool&, const Args&),
            caravan_status (*DeviceKernels::*device)(int32_t, void*, const Args&)) {
    launch(op, stream, args, cpu, device, [] { return true; });
}

}  // namespace caravan
