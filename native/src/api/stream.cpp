// Streams, copies, events, capture. A CPU stream runs each op before the call returns, so there is
// nothing to wait for; an event is the time at which it was recorded. A device library has its own.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>

#include "api/dispatch.h"

namespace {

constexpr int64_t kChunk = int64_t{1} << 20;  // bytes a task copies or sets

int64_t now_nanos() {
    const auto time = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
}

void check_bytes(const char* op, const char* name, const void* data, int64_t bytes) {
    const caravan::Check check(op);
    check.that(bytes >= 0, "bytes: got %lld, needs at least 0", static_cast<long long>(bytes));
    check.that(bytes == 0 || data != nullptr, "%s: got null", name);
}

// Handles that work together belong to one device.
template <typename A, typename B>
void check_same_device(const char* op, const A& a, const B& b) {
    caravan::Check(op).that(a.kind == b.kind && a.index == b.index,
                            "got handles of two devices, needs them of one");
}

bool overlap(const char* a, const char* b, int64_t bytes) { return a < b + bytes && b < a + bytes; }

// Calls body(first, bytes) for every chunk of a range.
template <typename Body>
void for_chunks(caravan::Pool& pool, int64_t bytes, Body&& body) {
    pool.run((bytes + kChunk - 1) / kChunk, [&](int64_t task, int) {
        const int64_t first = task * kChunk;
        body(first, static_cast<size_t>(std::min(kChunk, bytes - first)));
    });
}

}  // namespace

caravan_status caravan_stream_create(int32_t kind, int32_t index, int32_t threads,
                                     caravan_stream* stream) {
    constexpr const char* op = "stream_create";
    return caravan::guarded([&] {
        caravan_stream& out = caravan::result(op, "stream", stream);
        out = nullptr;
        auto made =
            std::make_unique<caravan_stream_s>(caravan_stream_s{kind, index, nullptr, nullptr});
        if (const auto* device = caravan::check_device(op, kind, index)) {
            caravan::require(op, *device, device->stream_create(index, &made->native));
        } else {
            caravan::cpu_kernels();  // a processor that cannot run them gets no stream
            caravan::Check(op).that(threads >= 1 && threads <= 1024,
                                    "threads: got %d, needs 1 to 1024", threads);
            made->pool = new caravan::Pool(threads);
        }
        out = made.release();
    });
}

caravan_status caravan_stream_destroy(caravan_stream stream) {
    constexpr const char* op = "stream_destroy";
    return caravan::guarded([&] {
        if (stream == nullptr) return;
        const std::unique_ptr<caravan_stream_s> owned(stream);
        if (const auto* device = caravan::device_of(*owned)) {
            caravan::require(op, *device, device->stream_destroy(owned->index, owned->native));
        }
        delete owned->pool;
    });
}

caravan_status caravan_stream_synchronize(caravan_stream stream) {
    constexpr const char* op = "stream_synchronize";
    return caravan::guarded([&] {
        const auto& known = caravan::known_stream(op, stream);
        if (const auto* device = caravan::device_of(known)) {
            caravan::require(op, *device, device->stream_synchronize(known.index, known.native));
        }
    });
}

caravan_status caravan_stream_native(caravan_stream stream, void** native) {
    constexpr const char* op = "stream_native";
    return caravan::guarded(
        [&] { caravan::result(op, "native", native) = caravan::known_stream(op, stream).native; });
}

caravan_status caravan_memcpy(caravan_stream stream, void* to, const void* from, int64_t bytes) {
    constexpr const char* op = "memcpy";
    return caravan::guarded([&] {
        auto& known = caravan::known_stream(op, stream);
        check_bytes(op, "to", to, bytes);
        check_bytes(op, "from", from, bytes);
        if (bytes == 0) return;
        if (const auto* device = caravan::device_of(known)) {
            caravan::require(op, *device, device->copy(known.index, known.native, to, from, bytes));
            return;
        }
        auto* const out = static_cast<char*>(to);
        const auto* const in = static_cast<const char*>(from);
        if (overlap(out, in, bytes)) {
            std::memmove(out, in, static_cast<size_t>(bytes));
            return;
        }
        for_chunks(*known.pool, bytes, [&](int64_t first, size_t count) {
            std::memcpy(out + first, in + first, count);
        });
    });
}

caravan_status caravan_memset(caravan_stream stream, void* data, int32_t byte, int64_t bytes) {
    constexpr const char* op = "memset";
    return caravan::guarded([&] {
        auto& known = caravan::known_stream(op, stream);
        check_bytes(op, "data", data, bytes);
        caravan::Check(op).that(byte >= 0 && byte <= 255, "byte: got %d, needs 0 to 255", byte);
        if (bytes == 0) return;
        if (const auto* device = caravan::device_of(known)) {
            caravan::require(op, *device,
                             device->fill(known.index, known.native, data, byte, bytes));
            return;
        }
        for_chunks(*known.pool, bytes, [&](int64_t first, size_t count) {
            std::memset(static_cast<char*>(data) + first, byte, count);
        });
    });
}

caravan_status caravan_event_create(int32_t kind, int32_t index, caravan_event* event) {
    constexpr const char* op = "event_create";
    return caravan::guarded([&] {
        caravan_event& out = caravan::result(op, "event", event);
        out = nullptr;
        const auto* const device = caravan::check_device(op, kind, index);
        std::unique_ptr<caravan_event_s> made(new caravan_event_s{kind, index, {-1}, nullptr});
        if (device != nullptr) {
            caravan::require(op, *device, device->event_create(index, &made->native));
        }
        out = made.release();
    });
}

caravan_status caravan_event_destroy(caravan_event event) {
    constexpr const char* op = "event_destroy";
    return caravan::guarded([&] {
        if (event == nullptr) return;
        const std::unique_ptr<caravan_event_s> owned(event);
        if (const auto* device = caravan::device_of(*owned)) {
            caravan::require(op, *device, device->event_destroy(owned->index, owned->native));
        }
    });
}

caravan_status caravan_event_record(caravan_event event, caravan_stream stream) {
    constexpr const char* op = "event_record";
    return caravan::guarded([&] {
        caravan_event_s& known = caravan::result(op, "event", event);
        const auto& on = caravan::known_stream(op, stream);
        check_same_device(op, known, on);
        if (const auto* device = caravan::device_of(known)) {
            caravan::require(op, *device,
                             device->event_record(known.index, known.native, on.native));
        }
        known.nanos.store(now_nanos());
    });
}

caravan_status caravan_stream_wait(caravan_stream stream, caravan_event event) {
    constexpr const char* op = "stream_wait";
    return caravan::guarded([&] {
        const auto& known = caravan::known_stream(op, stream);
        const auto& on = caravan::result(op, "event", event);
        check_same_device(op, known, on);
        // On the CPU, what the event marks was done when it was recorded.
        if (const auto* device = caravan::device_of(known)) {
            caravan::require(op, *device,
                             device->stream_wait(known.index, known.native, on.native));
        }
    });
}

caravan_status caravan_event_elapsed(caravan_event from, caravan_event to, float* milliseconds) {
    constexpr const char* op = "event_elapsed";
    return caravan::guarded([&] {
        const auto& first = caravan::result(op, "from", from);
        const auto& second = caravan::result(op, "to", to);
        const int64_t start = first.nanos.load();
        const int64_t end = second.nanos.load();
        float& out = caravan::result(op, "milliseconds", milliseconds);
        const caravan::Check check(op);
        check.that(start >= 0, "from: got an event that was never recorded");
        check.that(end >= 0, "to: got an event that was never recorded");
        check_same_device(op, first, second);
        if (const auto* device = caravan::device_of(first)) {
            caravan::require(op, *device,
                             device->event_elapsed(first.index, first.native, second.native, &out));
            return;
        }
        out = static_cast<float>(static_cast<double>(end - start) * 1e-6);
    });
}

namespace {

// The library of a stream that can record; throws for a CPU stream.
const caravan::DeviceEntry& recording_device(const char* op, const caravan_stream_s& stream) {
    const auto* const device = caravan::device_of(stream);
    if (device == nullptr) {
        caravan::fail(CARAVAN_UNSUPPORTED,
                      "%s: stream: got a cpu stream, which has no queue to record; call the ops",
                      op);
    }
    return *device;
}

}  // namespace

caravan_status caravan_capture_begin(caravan_stream stream) {
    constexpr const char* op = "capture_begin";
    return caravan::guarded([&] {
        const auto& known = caravan::known_stream(op, stream);
        const auto& device = recording_device(op, known);
        caravan::require(op, device, device.capture_begin(known.index, known.native));
    });
}

caravan_status caravan_capture_end(caravan_stream stream, caravan_graph* graph) {
    constexpr const char* op = "capture_end";
    return caravan::guarded([&] {
        caravan_graph& out = caravan::result(op, "graph", graph);
        out = nullptr;
        const auto& known = caravan::known_stream(op, stream);
        const auto& device = recording_device(op, known);
        auto made =
            std::make_unique<caravan_graph_s>(caravan_graph_s{known.kind, known.index, nullptr});
        caravan::require(op, device, device.capture_end(known.index, known.native, &made->native));
        out = made.release();
    });
}

caravan_status caravan_graph_launch(caravan_graph graph, caravan_stream stream) {
    constexpr const char* op = "graph_launch";
    return caravan::guarded([&] {
        const auto& on = caravan::known_stream(op, stream);
        const auto& device = recording_device(op, on);
        const auto& known = caravan::result(op, "graph", graph);
        check_same_device(op, known, on);
        caravan::require(op, device, device.graph_launch(known.index, known.native, on.native));
    });
}

caravan_status caravan_graph_destroy(caravan_graph graph) {
    constexpr const char* op = "graph_destroy";
    return caravan::guarded([&] {
        if (graph == nullptr) return;
        const std::unique_ptr<caravan_graph_s> owned(graph);
        if (const auto* device = caravan::device_of(*owned)) {
            caravan::require(op, *device, device->graph_destroy(owned->index, owned->native));
        }
    });
}
