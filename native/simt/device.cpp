// The emulated device behind the table of src/core/device_entry.h: what src/cuda/device.cu is for
// real ones.
#include "simt/device.h"

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/device_entry.h"
#include "core/device_needs.h"
#include "cuda/kernels.h"
#include "simt/exchange.h"
#include "simt/matmul.h"
#include "simt/memory.h"
#include "simt/run.h"
#include "simt/stream.h"

namespace caravan {
namespace {

// Results must not depend on it, so it is one that no GPU has.
constexpr int32_t kMultiprocessors = 3;

// The CUDA that a driver must serve, as cudaRuntimeGetVersion counts.
constexpr int32_t kRuntime = 13000;

thread_local std::string
    message;  // a string: little room is left for thread-local data of late libraries

const char* last_error() { return message.c_str(); }

caravan_status result(const simt::Outcome& outcome) { return simt::finish_call(outcome); }

simt::Stream& stream_of(void* handle) { return *static_cast<simt::Stream*>(handle); }
simt::Event& event_of(void* handle) { return *static_cast<simt::Event*>(handle); }
simt::Graph& graph_of(void* handle) { return *static_cast<simt::Graph*>(handle); }

DeviceKernels kernels = {};

int32_t probe(char* reason, int64_t capacity) {
    // Not earlier: the table of kernels is made when the library is loaded.
    kernels = cuda::kKernels;
    if (!simt::settings().own_products) kernels.matmul_forward = simt::matmul_forward;
    if (simt::settings().driver < kRuntime) {
        driver_too_old(simt::settings().driver, kRuntime, reason, capacity);
        return 0;
    }
    const int32_t capability = simt::settings().capability;
    if (!built_for(capability, reason, capacity)) return 0;
    if (simt::shared_limit(capability) != 0) return simt::settings().devices;
    std::snprintf(reason, static_cast<size_t>(capacity),
                  "CARAVAN_SIMT_CAPABILITY: got %d, needs 80, 86, 89, 90 or 120", capability);
    return 0;
}

caravan_status info(int32_t, char* name, int64_t capacity, int64_t* memory_bytes) {
    std::snprintf(name, static_cast<size_t>(capacity), "CUDA emulation (sm_%d)",
                  simt::settings().capability);
    *memory_bytes = static_cast<int64_t>(simt::device_memory().limit());
    return CARAVAN_OK;
}

caravan_status capability(int32_t, int32_t* capability) {
    *capability = simt::settings().capability;
    return CARAVAN_OK;
}

caravan_status memory_info(int32_t, int64_t* free_bytes, int64_t* total_bytes) {
    const simt::DeviceMemory& memory = simt::device_memory();
    *total_bytes = static_cast<int64_t>(memory.limit());
    *free_bytes = static_cast<int64_t>(memory.free_bytes());
    return result(simt::device_state());
}

caravan_status allocate_as(int64_t bytes, void** data, bool pinned) {
    const simt::Outcome state = simt::device_state();
    if (state.status != CARAVAN_OK) return result(state);
    if (simt::recording_here()) {
        return result(
            {CARAVAN_INVALID_ARGUMENT, "no memory can be allocated while a stream records"});
    }
    simt::DeviceMemory& memory = simt::device_memory();
    *data = memory.allocate(static_cast<size_t>(bytes), pinned);
    if (*data != nullptr) return CARAVAN_OK;
    return result({CARAVAN_OUT_OF_MEMORY, "out of memory"});
}

caravan_status release_as(int32_t device, void* data, bool pinned) {
    simt::synchronize_device(device);
    if (data == nullptr || simt::device_memory().release(data, pinned)) return CARAVAN_OK;
    return result({CARAVAN_INVALID_ARGUMENT, "no allocation begins at that address"});
}

caravan_status allocate(int32_t, int64_t bytes, void** data) {
    return allocate_as(bytes, data, false);
}
caravan_status release(int32_t index, void* data) { return release_as(index, data, false); }
caravan_status allocate_host(int32_t, int64_t bytes, void** data) {
    const caravan_status status = allocate_as(bytes, data, true);
    if (status == CARAVAN_OK) std::memset(*data, 0, static_cast<size_t>(bytes));
    return status;
}
caravan_status release_host(int32_t index, void* data) { return release_as(index, data, true); }

caravan_status stream_create(int32_t index, void** stream) {
    *stream = new simt::Stream(index);
    return result(simt::device_state());
}

caravan_status stream_destroy(int32_t, void* stream) {
    delete &stream_of(stream);
    return CARAVAN_OK;
}

caravan_status stream_synchronize(int32_t, void* stream) {
    return result(simt::synchronize(stream_of(stream)));
}

simt::Outcome check_range(const char* name, const void* data, int64_t bytes) {
    const std::string problem = simt::device_memory().refusal(data, static_cast<size_t>(bytes));
    if (problem.empty()) return {};
    return {CARAVAN_INVALID_ARGUMENT, std::string(name) + ": " + problem};
}

// Memory of the host that is not pinned is read at once and written at the latest when the call
// returns, as by the CUDA runtime: "API synchronization behavior" of its manual.
caravan_status copy(int32_t, void* stream, void* to, const void* from, int64_t bytes) {
    const simt::DeviceMemory& memory = simt::device_memory();
    const auto size = static_cast<size_t>(bytes);
    const bool late = simt::settings().late && stream_of(stream).recording == nullptr;
    std::shared_ptr<std::vector<char>> staged;
    if (late && !memory.reserved(from)) {
        const char* const first = static_cast<const char*>(from);
        staged = std::make_shared<std::vector<char>>(first, first + size);
    }
    const auto run = [=]() -> simt::Outcome {
        simt::Outcome outcome = check_range("copy to", to, bytes);
        if (outcome.status == CARAVAN_OK) outcome = check_range("copy from", from, bytes);
        if (outcome.status != CARAVAN_OK) return outcome;
        std::memmove(to, staged != nullptr ? staged->data() : from, size);
        return outcome;
    };
    const simt::Outcome outcome = simt::enqueue(stream_of(stream), run);
    const bool wait = late && outcome.status == CARAVAN_OK && !memory.reserved(to);
    return result(wait ? simt::synchronize(stream_of(stream)) : outcome);
}

caravan_status fill(int32_t, void* stream, void* data, int32_t byte, int64_t bytes) {
    return result(simt::enqueue(stream_of(stream), [=]() -> simt::Outcome {
        simt::Outcome outcome = check_range("fill", data, bytes);
        if (outcome.status == CARAVAN_OK) std::memset(data, byte, static_cast<size_t>(bytes));
        return outcome;
    }));
}

caravan_status event_create(int32_t, void** event) {
    *event = new simt::Event;
    return result(simt::device_state());
}

caravan_status event_destroy(int32_t, void* event) {
    delete &event_of(event);
    return CARAVAN_OK;
}

caravan_status event_record(int32_t, void* event, void* stream) {
    return result(simt::record(event_of(event), stream_of(stream)));
}

caravan_status stream_wait(int32_t, void* stream, void* event) {
    return result(simt::wait(stream_of(stream), event_of(event)));
}

caravan_status event_elapsed(int32_t, void* from, void* to, float* milliseconds) {
    return result(simt::elapsed(event_of(from), event_of(to), *milliseconds));
}

caravan_status capture_begin(int32_t, void* stream) {
    return result(simt::begin_recording(stream_of(stream)));
}

caravan_status capture_end(int32_t, void* stream, void** graph) {
    std::unique_ptr<simt::Graph> made;
    const caravan_status status = result(simt::end_recording(stream_of(stream), made));
    if (status == CARAVAN_OK) *graph = made.release();
    return status;
}

caravan_status graph_launch(int32_t, void* graph, void* stream) {
    return result(simt::replay(graph_of(graph), stream_of(stream)));
}

caravan_status graph_destroy(int32_t, void* graph) {
    delete &graph_of(graph);
    return CARAVAN_OK;
}

void range_push(const char*) {}
void range_pop() {}

}  // namespace

caravan_status cuda::with_launcher(int32_t, void* stream,
                                   void (*body)(tile::Launcher&, const void*), const void* args) {
    const int32_t capability = simt::settings().capability;
    tile::Launcher launcher({capability, kMultiprocessors, simt::shared_limit(capability)}, stream);
    body(launcher, args);
    return result({launcher.status(), launcher.message()});
}

}  // namespace caravan

caravan_status simt::finish_call(const Outcome& outcome) {
    if (outcome.status != CARAVAN_OK) caravan::message = "cuda:0: " + outcome.message;
    return outcome.status;
}

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
    &caravan::kernels,
};

const simt::ExchangeEntry caravan_simt_exchange = {
    simt::enqueue,
    [](const void* data, size_t bytes) { return simt::device_memory().refusal(data, bytes); },
};
