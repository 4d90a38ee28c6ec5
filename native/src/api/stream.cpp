// Streams, copies, events, capture. A CPU stream runs each op before the call returns, so there is
// nothing to wait for; an event is the time at which it was recorded.
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
        caravan::check_device(op, kind, index);
        caravan::cpu_kernels();  // a processor that cannot run them gets no stream
        caravan::Check(op).that(threads >= 1 && threads <= 1024,
                                "threads: got %d, needs 1 to 1024", threads);
        auto pool = std::make_unique<caravan::Pool>(threads);
        out = new caravan_stream_s{kind, index, pool.get(), nullptr};
        pool.release();
    });
}

caravan_status caravan_stream_destroy(caravan_stream stream) {
    return caravan::guarded([&] {
        if (stream == nullptr) return;
        delete stream->pool;
        delete stream;
    });
}

caravan_status caravan_stream_synchronize(caravan_stream stream) {
    return caravan::guarded([&] { caravan::cpu_stream("stream_synchronize", stream); });
}

caravan_status caravan_memcpy(caravan_stream stream, void* to, const void* from, int64_t bytes) {
    constexpr const char* op = "memcpy";
    return caravan::guarded([&] {
        auto& cpu = caravan::cpu_stream(op, stream);
        check_bytes(op, "to", to, bytes);
        check_bytes(op, "from", from, bytes);
        if (bytes == 0) return;
        auto* const out = static_cast<char*>(to);
        const auto* const in = static_cast<const char*>(from);
        if (overlap(out, in, bytes)) {
            std::memmove(out, in, static_cast<size_t>(bytes));
            return;
        }
        for_chunks(*cpu.pool, bytes, [&](int64_t first, size_t count) {
            std::memcpy(out + first, in + first, count);
        });
    });
}

caravan_status caravan_memset(caravan_stream stream, void* data, int32_t byte, int64_t bytes) {
    constexpr const char* op = "memset";
    return caravan::guarded([&] {
        auto& cpu = caravan::cpu_stream(op, stream);
        check_bytes(op, "data", data, bytes);
        caravan::Check(op).that(byte >= 0 && byte <= 255, "byte: got %d, needs 0 to 255", byte);
        for_chunks(*cpu.pool, bytes, [&](int64_t first, size_t count) {
            std::memset(static_cast<char*>(data) + first, byte, count);
        });
    });
}

caravan_status caravan_event_create(int32_t kind, int32_t index, caravan_event* event) {
    constexpr const char* op = "event_create";
    return caravan::guarded([&] {
        caravan_event& out = caravan::result(op, "event", event);
        out = nullptr;
        caravan::check_device(op, kind, index);
        out = new caravan_event_s{kind, index, {-1}, nullptr};
    });
}

caravan_status caravan_event_destroy(caravan_event event) {
    return caravan::guarded([&] { delete event; });
}

caravan_status caravan_event_record(caravan_event event, caravan_stream stream) {
    constexpr const char* op = "event_record";
    return caravan::guarded([&] {
        caravan_event_s& known = caravan::result(op, "event", event);
        caravan::cpu_stream(op, stream);
        known.nanos.store(now_nanos());
    });
}

caravan_status caravan_stream_wait(caravan_stream stream, caravan_event event) {
    constexpr const char* op = "stream_wait";
    return caravan::guarded([&] {
        caravan::cpu_stream(op, stream);
        caravan::result(op, "event", event);  // what it marks was done when it was recorded
    });
}

caravan_status caravan_event_elapsed(caravan_event from, caravan_event to, float* milliseconds) {
    constexpr const char* op = "event_elapsed";
    return caravan::guarded([&] {
        const int64_t start = caravan::result(op, "from", from).nanos.load();
        const int64_t end = caravan::result(op, "to", to).nanos.load();
        float& out = caravan::result(op, "milliseconds", milliseconds);
        const caravan::Check check(op);
        check.that(start >= 0, "from: got an event that was never recorded");
        check.that(end >= 0, "to: got an event that was never recorded");
        out = static_cast<float>(static_cast<double>(end - start) * 1e-6);
    });
}

// Only a CUDA stream has a queue, so on the CPU there is no graph that could be launched or destroyed.
namespace {

caravan_status no_capture(const char* op, caravan_stream stream) {
    return caravan::guarded([&] {
        caravan::cpu_stream(op, stream);
        caravan::fail(CARAVAN_UNSUPPORTED,
                      "%s: stream: got a cpu stream, which has no queue to record; call the ops", op);
    });
}

}  // namespace

caravan_status caravan_capture_begin(caravan_stream stream) {
    return no_capture("capture_begin", stream);
}

caravan_status caravan_capture_end(caravan_stream stream, caravan_graph* graph) {
    if (graph != nullptr) *graph = nullptr;
    return no_capture("capture_end", stream);
}

caravan_status caravan_graph_launch(caravan_graph, caravan_stream stream) {
    return no_capture("graph_launch", stream);
}

caravan_status caravan_graph_destroy(caravan_graph graph) {
    return caravan::guarded([&] {
        caravan::Check("graph_destroy").that(graph == nullptr, "graph: got no recorded graph");
    });
}
