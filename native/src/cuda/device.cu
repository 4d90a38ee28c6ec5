// CUDA devices, memory, streams, events and capture, by the CUDA runtime (linked statically; it
// looks for the driver itself, so this library loads on a machine without one).
#include <cuda_runtime.h>
#include <nvtx3/nvToolsExt.h>

#include <cstdio>
#include <cstring>
#include <mutex>
#include <vector>

#include "core/device_entry.h"
#include "core/device_needs.h"
#include "cuda/kernels.h"

namespace caravan {

caravan_status tile::status_of(cudaError_t error) {
    switch (error) {
        case cudaSuccess:
            return CARAVAN_OK;
        case cudaErrorMemoryAllocation:
            return CARAVAN_OUT_OF_MEMORY;
        case cudaErrorInvalidValue:
        case cudaErrorInvalidDevice:
        case cudaErrorInvalidResourceHandle:
            return CARAVAN_INVALID_ARGUMENT;
        case cudaErrorNotSupported:
        case cudaErrorNoKernelImageForDevice:
            return CARAVAN_UNSUPPORTED;
        default:
            return CARAVAN_DEVICE_LOST;
    }
}

namespace {

using tile::status_of;

thread_local char message[512] = "";

const char* last_error() { return message; }

// Runs body() with the device current on this thread, as the runtime wants it.
template <typename Body>
caravan_status on(int32_t index, Body&& body) {
    cudaError_t error = cudaSetDevice(index);
    if (error == cudaSuccess) error = body();
    if (error == cudaSuccess) return CARAVAN_OK;
    cudaGetLastError();  // clears an error that is not sticky
    std::snprintf(message, sizeof message, "cuda:%d: %s (%s)", index, cudaGetErrorString(error),
                  cudaGetErrorName(error));
    return status_of(error);
}

cudaStream_t stream_of(void* handle) { return static_cast<cudaStream_t>(handle); }
cudaEvent_t event_of(void* handle) { return static_cast<cudaEvent_t>(handle); }
cudaGraphExec_t graph_of(void* handle) { return static_cast<cudaGraphExec_t>(handle); }

int32_t probe(char* reason, int64_t capacity) {
    const auto size = static_cast<size_t>(capacity);
    int driver = 0;
    int runtime = 0;
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (error == cudaErrorInsufficientDriver && driver == 0) {
        std::snprintf(reason, size, "no NVIDIA driver");
        return 0;
    }
    if (error == cudaErrorInsufficientDriver) {
        driver_too_old(driver, runtime, reason, capacity);
        return 0;
    }
    if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
        std::snprintf(reason, size, "no NVIDIA GPU");
        return 0;
    }
    if (error != cudaSuccess) {
        std::snprintf(reason, size, "%s (%s)", cudaGetErrorString(error), cudaGetErrorName(error));
        return 0;
    }
    // Device numbers are the runtime's, so one GPU that is too old rules out those behind it.
    for (int i = 0; i < count; ++i) {
        cudaDeviceProp properties = {};
        if (cudaGetDeviceProperties(&properties, i) != cudaSuccess ||
            !built_for(properties.major * 10 + properties.minor, reason, capacity)) {
            return i;
        }
    }
    return count;
}

caravan_status info(int32_t index, char* name, int64_t capacity, int64_t* memory_bytes) {
    return on(index, [&] {
        cudaDeviceProp properties;
        const cudaError_t error = cudaGetDeviceProperties(&properties, index);
        if (error != cudaSuccess) return error;
        std::snprintf(name, static_cast<size_t>(capacity), "%s (sm_%d%d)", properties.name,
                      properties.major, properties.minor);
        *memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
        return cudaSuccess;
    });
}

caravan_status capability(int32_t index, int32_t* capability) {
    return on(index, [&] {
        int major = 0, minor = 0;
        cudaError_t error =
            cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index);
        if (error != cudaSuccess) return error;
        error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index);
        *capability = major * 10 + minor;
        return error;
    });
}

caravan_status memory_info(int32_t index, int64_t* free_bytes, int64_t* total_bytes) {
    return on(index, [&] {
        size_t free = 0, total = 0;
        const cudaError_t error = cudaMemGetInfo(&free, &total);
        *free_bytes = static_cast<int64_t>(free);
        *total_bytes = static_cast<int64_t>(total);
        return error;
    });
}

caravan_status allocate(int32_t index, int64_t bytes, void** data) {
    return on(index, [&] { return cudaMalloc(data, static_cast<size_t>(bytes)); });
}

caravan_status release(int32_t index, void* data) {
    return on(index, [&] { return cudaFree(data); });
}

caravan_status allocate_host(int32_t index, int64_t bytes, void** data) {
    return on(index, [&] {
        const auto size = static_cast<size_t>(bytes);
        const cudaError_t error = cudaHostAlloc(data, size, cudaHostAllocDefault);
        if (error == cudaSuccess) std::memset(*data, 0, size);
        return error;
    });
}

caravan_status release_host(int32_t index, void* data) {
    return on(index, [&] { return cudaFreeHost(data); });
}

caravan_status stream_create(int32_t index, void** stream) {
    return on(index, [&] {
        return cudaStreamCreateWithFlags(reinterpret_cast<cudaStream_t*>(stream),
                                         cudaStreamNonBlocking);
    });
}

caravan_status stream_destroy(int32_t index, void* stream) {
    return on(index, [&] { return cudaStreamDestroy(stream_of(stream)); });
}

caravan_status stream_synchronize(int32_t index, void* stream) {
    return on(index, [&] { return cudaStreamSynchronize(stream_of(stream)); });
}

caravan_status copy(int32_t index, void* stream, void* to, const void* from, int64_t bytes) {
    return on(index, [&] {
        return cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault,
                               stream_of(stream));
    });
}

caravan_status fill(int32_t index, void* stream, void* data, int32_t byte, int64_t bytes) {
    return on(index, [&] {
        return cudaMemsetAsync(data, byte, static_cast<size_t>(bytes), stream_of(stream));
    });
}

caravan_status event_create(int32_t index, void** event) {
    return on(index, [&] { return cudaEventCreate(reinterpret_cast<cudaEvent_t*>(event)); });
}

caravan_status event_destroy(int32_t index, void* event) {
    return on(index, [&] { return cudaEventDestroy(event_of(event)); });
}

caravan_status event_record(int32_t index, void* event, void* stream) {
    return on(index, [&] { return cudaEventRecord(event_of(event), stream_of(stream)); });
}

caravan_status stream_wait(int32_t index, void* stream, void* event) {
    return on(index, [&] { return cudaStreamWaitEvent(stream_of(stream), event_of(event), 0); });
}

caravan_status event_elapsed(int32_t index, void* from, void* to, float* milliseconds) {
    return on(index, [&] {
        const cudaError_t error = cudaEventSynchronize(event_of(to));
        if (error != cudaSuccess) return error;
        return cudaEventElapsedTime(milliseconds, event_of(from), event_of(to));
    });
}

// Thread-local: other ranks' threads go on allocating while this one records.
caravan_status capture_begin(int32_t index, void* stream) {
    return on(index, [&] {
        return cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal);
    });
}

caravan_status capture_end(int32_t index, void* stream, void** graph) {
    return on(index, [&] {
        cudaGraph_t recorded = nullptr;
        cudaError_t error = cudaStreamEndCapture(stream_of(stream), &recorded);
        if (error != cudaSuccess) return error;
        error = cudaGraphInstantiate(reinterpret_cast<cudaGraphExec_t*>(graph), recorded, 0);
        cudaGraphDestroy(recorded);
        return error;
    });
}

caravan_status graph_launch(int32_t index, void* graph, void* stream) {
    return on(index, [&] { return cudaGraphLaunch(graph_of(graph), stream_of(stream)); });
}

caravan_status graph_destroy(int32_t index, void* graph) {
    return on(index, [&] { return cudaGraphExecDestroy(graph_of(graph)); });
}

void range_push(const char* name) { nvtxRangePushA(name); }
void range_pop() { nvtxRangePop(); }

// What launchers may know of a device, asked once.
cudaError_t find_target(int32_t index, tile::Target& target) {
    static std::mutex mutex;
    static std::vector<tile::Target> known;
    const std::lock_guard<std::mutex> lock(mutex);
    const auto slot = static_cast<size_t>(index);
    if (slot >= known.size()) known.resize(slot + 1, tile::Target{});
    if (known[slot].capability == 0) {
        int major = 0, minor = 0, processors = 0, shared = 0;
        const std::pair<int*, cudaDeviceAttr> wanted[] = {
            {&major, cudaDevAttrComputeCapabilityMajor},
            {&minor, cudaDevAttrComputeCapabilityMinor},
            {&processors, cudaDevAttrMultiProcessorCount},
            {&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin}};
        for (const auto& [value, attribute] : wanted) {
            const cudaError_t error = cudaDeviceGetAttribute(value, attribute, index);
            if (error != cudaSuccess) return error;
        }
        known[slot] = {major * 10 + minor, processors, shared};
    }
    target = known[slot];
    return cudaSuccess;
}

}  // namespace

caravan_status cuda::with_launcher(int32_t index, void* stream,
                                   void (*body)(tile::Launcher&, const void*), const void* args) {
    tile::Target target = {};
    const caravan_status status = on(index, [&] { return find_target(index, target); });
    if (status != CARAVAN_OK) return status;
    tile::Launcher launcher(target, stream);
    body(launcher, args);
    if (launcher.status() != CARAVAN_OK) {
        std::snprintf(message, sizeof message, "cuda:%d: %s", index, launcher.message());
    }
    return launcher.status();
}

}  // namespace caravan

extern "C" CARAVAN_API const caravan::DeviceEntry caravan_cuda_entry;
const caravan::DeviceEntry caravan_cuda_entry = {
    caravan::kDeviceEntryVersion,
    caravan::probe,
    caravan::last_error,
    caravan::info,
    caravan::capability,
    caravan::memory_info,
    caravan::allocate,
    caravan::release,
    caravan::allocate_host,
    caravan::release_host,
    caravan::stream_create,
    caravan::stream_destroy,
    caravan::stream_synchronize,
    caravan::copy,
    caravan::fill,
    caravan::event_create,
    caravan::event_destroy,
    caravan::event_record,
    caravan::stream_wait,
    caravan::event_elapsed,
    caravan::capture_begin,
    caravan::capture_end,
    caravan::graph_launch,
    caravan::graph_destroy,
    caravan::range_push,
    caravan::range_pop,
    &caravan::cuda::kKernels,
};
