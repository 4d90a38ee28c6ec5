// The emulated device behind its entry table: memory, streams, events, recordings, faults that
// stay, and launches from threads with little stack.
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include <cstring>
#include <string>
#include <vector>

#include "core/device_entry.h"
#include "simt/memory.h"
#include "simt/run.h"
#include "simt/stream.h"
#include "simt/tests/device_kernels.h"
#include "tests/harness.h"

extern "C" const caravan::DeviceEntry caravan_cuda_entry;

namespace {

const caravan::DeviceEntry& device = caravan_cuda_entry;

#define CHECK_DONE(call)                                    \
    ::test::check((call) == CARAVAN_OK, __FILE__, __LINE__, \
                  std::string(#call) + ": " + device.last_error())

void check_failed(caravan_status got, caravan_status expected, const char* part, int line) {
    test::check(got == expected, __FILE__, line, "status " + std::to_string(got));
    const std::string message = device.last_error();
    test::check(message.find(part) != std::string::npos, __FILE__, line,
                "no '" + std::string(part) + "' in: " + message);
}
#define CHECK_FAILED(call, status, part) check_failed((call), status, part, __LINE__)

struct Stream {
    Stream() { CHECK_DONE(device.stream_create(0, &handle)); }
    ~Stream() { CHECK_DONE(device.stream_destroy(0, handle)); }
    void* handle = nullptr;
};

struct Event {
    Event() { CHECK_DONE(device.event_create(0, &handle)); }
    ~Event() { CHECK_DONE(device.event_destroy(0, handle)); }
    void* handle = nullptr;
};

struct Floats {
    explicit Floats(int n) : count(n) {
        void* made = nullptr;
        CHECK_DONE(device.allocate(0, n * 4, &made));
        data = static_cast<float*>(made);
    }
    ~Floats() { CHECK_DONE(device.release(0, data)); }
    void set(const Stream& stream, float value) {
        const std::vector<float> values(static_cast<size_t>(count), value);
        CHECK_DONE(device.copy(0, stream.handle, data, values.data(), count * 4));
    }
    bool all(const Stream& stream, float value) {
        std::vector<float> values(static_cast<size_t>(count));
        CHECK_DONE(device.copy(0, stream.handle, values.data(), data, count * 4));
        CHECK_DONE(device.stream_synchronize(0, stream.handle));
        for (const float got : values) {
            if (got != value) return false;
        }
        return true;
    }
    int count;
    float* data = nullptr;
};

void what_it_says_of_itself() {
    char text[100] = "";
    CHECK_EQUAL(device.version, caravan::kDeviceEntryVersion);
    CHECK_EQUAL(device.probe(text, sizeof text), 1);
    int64_t bytes = 0, free_bytes = 0;
    CHECK_DONE(device.info(0, text, sizeof text, &bytes));
    CHECK(std::string(text) == "CUDA emulation (sm_90)");
    int32_t capability = 0;
    CHECK_DONE(device.capability(0, &capability));
    CHECK_EQUAL(capability, 90);
    simt::settings().capability = 75;
    CHECK_EQUAL(device.probe(text, sizeof text), 0);
    CHECK(std::string(text) == "the NVIDIA GPU has compute capability 7.5, needs 8.0 or later");
    simt::settings().capability = 100;
    CHECK_EQUAL(device.probe(text, sizeof text), 0);
    CHECK(std::string(text).find("needs 80, 86, 89, 90 or 120") != std::string::npos);
    simt::settings().capability = 90;
    simt::settings().driver = 12090;
    CHECK_EQUAL(device.probe(text, sizeof text), 0);
    CHECK(std::string(text) ==
          "the NVIDIA driver is for CUDA 12.9 at most, needs to be one for CUDA 13.0 or later");
    simt::settings().driver = 13000;
    CHECK_DONE(device.memory_info(0, &free_bytes, &bytes));
    CHECK_EQUAL(free_bytes, bytes);
}

void memory_is_limited_and_poisoned() {
    int64_t free_bytes = 0, bytes = 0;
    CHECK_DONE(device.memory_info(0, &free_bytes, &bytes));
    void* all = nullptr;
    CHECK_FAILED(device.allocate(0, bytes + 1, &all), CARAVAN_OUT_OF_MEMORY, "out of memory");
    void* some = nullptr;
    CHECK_DONE(device.allocate(0, 1000, &some));
    CHECK_EQUAL(reinterpret_cast<uintptr_t>(some) % 256, 0u);
    int64_t now = 0;
    CHECK_DONE(device.memory_info(0, &now, &bytes));
    CHECK_EQUAL(now, free_bytes - 1000);
    CHECK_FAILED(device.allocate(0, bytes - 999, &all), CARAVAN_OUT_OF_MEMORY, "out of memory");
    const Stream stream;
    float values[2] = {1, 1};
    CHECK_DONE(device.copy(0, stream.handle, values, some, 8));
    CHECK(std::isnan(values[0]) && std::isnan(values[1]));
    CHECK_DONE(device.fill(0, stream.handle, some, 0, 1000));
    CHECK_DONE(device.copy(0, stream.handle, values, static_cast<char*>(some) + 992, 8));
    CHECK(values[0] == 0 && values[1] == 0);
    if (simt::settings().late) {  // what is refused is found when it is done
        CHECK_DONE(device.release(0, some));
        return;
    }
    CHECK_FAILED(device.fill(0, stream.handle, some, 0, 1001), CARAVAN_INVALID_ARGUMENT,
                 "fill: 1001 bytes from byte 0 of device allocation");
    CHECK_FAILED(device.copy(0, stream.handle, values, static_cast<char*>(some) + 996, 8),
                 CARAVAN_INVALID_ARGUMENT, "copy from: 8 bytes from byte 996");
    CHECK_FAILED(device.release(0, static_cast<char*>(some) + 256), CARAVAN_INVALID_ARGUMENT,
                 "no allocation begins at that address");
    CHECK_FAILED(device.release_host(0, some), CARAVAN_INVALID_ARGUMENT, "no allocation");
    CHECK_DONE(device.release(0, some));
    CHECK_FAILED(device.release(0, some), CARAVAN_INVALID_ARGUMENT, "no allocation");
    CHECK_FAILED(device.fill(0, stream.handle, some, 0, 8), CARAVAN_INVALID_ARGUMENT, "released");
    void* pinned = nullptr;
    CHECK_DONE(device.allocate_host(0, 4096, &pinned));
    std::memset(pinned, 1, 4096);
    CHECK_DONE(device.memory_info(0, &now, &bytes));
    CHECK_EQUAL(now, free_bytes);
    CHECK_DONE(device.release_host(0, pinned));
}

void others_hold_memory() {
    int64_t before = 0, bytes = 0, now = 0;
    CHECK_DONE(device.memory_info(0, &before, &bytes));
    simt::settings().held_bytes = before - 1000;
    CHECK_DONE(device.memory_info(0, &now, &bytes));
    CHECK_EQUAL(now, 1000);
    CHECK_EQUAL(bytes, before);
    void* some = nullptr;
    void* more = nullptr;
    CHECK_FAILED(device.allocate(0, 1001, &some), CARAVAN_OUT_OF_MEMORY, "out of memory");
    CHECK_DONE(device.allocate(0, 1000, &some));
    simt::settings().held_bytes = bytes + 1;
    CHECK_DONE(device.memory_info(0, &now, &bytes));
    CHECK_EQUAL(now, 0);
    CHECK_DONE(device.release(0, some));
    simt::settings().held_from = int64_t{1} << 40;
    CHECK_DONE(device.memory_info(0, &now, &bytes));
    CHECK_EQUAL(now, before);
    CHECK_DONE(device.allocate(0, 1001, &more));
    CHECK_DONE(device.release(0, more));
    simt::settings().held_bytes = simt::settings().held_from = 0;
}

void work_is_done_in_order() {
    const Stream stream;
    Floats data(1000);
    data.set(stream, 1);
    CHECK(device_test::scale(stream.handle, data.data, data.count, 2, 1) == nullptr);
    CHECK(device_test::scale(stream.handle, data.data, data.count, 3, 0) == nullptr);
    CHECK(data.all(stream, 9));
    const Event from, to, never;
    CHECK_DONE(device.event_record(0, from.handle, stream.handle));
    CHECK_DONE(device.event_record(0, to.handle, stream.handle));
    float milliseconds = -1;
    CHECK_DONE(device.event_elapsed(0, from.handle, to.handle, &milliseconds));
    CHECK(milliseconds >= 0);
    CHECK_FAILED(device.event_elapsed(0, from.handle, never.handle, &milliseconds),
                 CARAVAN_INVALID_ARGUMENT, "never recorded");
    CHECK_DONE(device.stream_wait(0, stream.handle, to.handle));
}

void a_recording_runs_later_with_its_arguments() {
    const Stream stream;
    Floats data(100), copy(100);
    data.set(stream, 1);
    CHECK_DONE(device.capture_begin(0, stream.handle));
    float factor = 2;
    CHECK(device_test::scale(stream.handle, data.data, data.count, factor, 1) == nullptr);
    factor = 100;  // the value at the time of the call counts
    CHECK_DONE(device.copy(0, stream.handle, copy.data, data.data, 400));
    CHECK_DONE(device.fill(0, stream.handle, data.data, 0, 4));
    void* nothing = nullptr;
    CHECK_FAILED(device.allocate(0, 4, &nothing), CARAVAN_INVALID_ARGUMENT,
                 "while a stream records");
    void* graph = nullptr;
    CHECK_DONE(device.capture_end(0, stream.handle, &graph));
    CHECK(data.all(stream, 1));
    CHECK_DONE(device.graph_launch(0, graph, stream.handle));
    CHECK(copy.all(stream, 3));
    data.set(stream, 5);
    CHECK_DONE(device.graph_launch(0, graph, stream.handle));
    CHECK(copy.all(stream, 11));
    CHECK_DONE(device.graph_destroy(0, graph));
    CHECK_FAILED(device.capture_end(0, stream.handle, &graph), CARAVAN_INVALID_ARGUMENT,
                 "does not record");
}

void a_recording_may_span_streams() {
    const Stream first, second;
    const Event fork, join, outside;
    Floats a(10), b(10);
    a.set(first, 1);
    b.set(first, 1);
    CHECK_DONE(device.event_record(0, outside.handle, first.handle));
    for (const bool joins : {true, false}) {
        CHECK_DONE(device.capture_begin(0, first.handle));
        CHECK(device_test::scale(first.handle, a.data, 10, 2, 0) == nullptr);
        CHECK_DONE(device.event_record(0, fork.handle, first.handle));
        CHECK_DONE(device.stream_wait(0, second.handle, fork.handle));
        CHECK_DONE(device.copy(0, second.handle, b.data, a.data, 40));
        CHECK_DONE(device.event_record(0, join.handle, second.handle));
        if (joins) CHECK_DONE(device.stream_wait(0, first.handle, join.handle));
        void* graph = nullptr;
        if (joins) {
            CHECK_DONE(device.capture_end(0, first.handle, &graph));
            CHECK(b.all(second, 1));
            CHECK_DONE(device.graph_launch(0, graph, first.handle));
            CHECK(b.all(first, 2));
            CHECK_DONE(device.graph_destroy(0, graph));
        } else {
            CHECK_FAILED(device.capture_end(0, first.handle, &graph), CARAVAN_INVALID_ARGUMENT,
                         "its first stream does not wait for");
        }
    }
    CHECK_FAILED(device.stream_wait(0, second.handle, fork.handle), CARAVAN_INVALID_ARGUMENT,
                 "a recording that has ended");
    CHECK_DONE(device.capture_begin(0, first.handle));
    CHECK_FAILED(device.stream_wait(0, first.handle, outside.handle), CARAVAN_INVALID_ARGUMENT,
                 "outside the recording");
    CHECK_FAILED(device.stream_synchronize(0, first.handle), CARAVAN_INVALID_ARGUMENT,
                 "cannot be waited for");
    void* graph = nullptr;
    CHECK_FAILED(device.capture_end(0, first.handle, &graph), CARAVAN_INVALID_ARGUMENT,
                 "recording refused");
}

// With late streams, a host that does not wait, or a stream that does not wait for another's event,
// sees what was there before under some seed; one that waits never does.
void nothing_is_early() {
    if (!simt::settings().late) return;
    void* made = nullptr;
    CHECK_DONE(device.allocate_host(0, 4, &made));
    auto* const pinned = static_cast<float*>(made);
    const Stream first, second;
    const Event event;
    Floats data(1);
    int host_early = 0, stream_early = 0;
    for (int i = 0; i < 64; ++i) {
        const bool host_waits = i % 2 == 0, stream_waits = i % 4 < 2;
        *pinned = 0;
        data.set(first, 0);
        CHECK_DONE(device.stream_synchronize(0, first.handle));
        CHECK(device_test::scale(first.handle, data.data, 1, 1, 7) == nullptr);
        CHECK_DONE(device.event_record(0, event.handle, first.handle));
        if (stream_waits) CHECK_DONE(device.stream_wait(0, second.handle, event.handle));
        CHECK_DONE(device.copy(0, second.handle, pinned, data.data, 4));
        if (host_waits) CHECK_DONE(device.stream_synchronize(0, second.handle));
        if (host_waits && stream_waits) CHECK_EQUAL(*pinned, 7.0f);
        if (!host_waits && stream_waits) host_early += *pinned != 7;
        CHECK_DONE(device.stream_synchronize(0, second.handle));
        if (!stream_waits) stream_early += *pinned != 7;
        CHECK_DONE(device.stream_synchronize(0, first.handle));
    }
    CHECK(host_early > 0);
    CHECK(stream_early > 0);
    CHECK_DONE(device.release_host(0, pinned));
}

void a_fault_stays() {
#ifndef __SANITIZE_ADDRESS__
    const Stream stream;
    Floats data(64);
    data.set(stream, 1);
    const char* const problem = device_test::overrun(stream.handle, data.data, data.count);
    if (!simt::settings().late) {
        CHECK(problem != nullptr && std::strstr(problem, "out of bounds") != nullptr);
    }
    CHECK_FAILED(device.stream_synchronize(0, stream.handle), CARAVAN_DEVICE_LOST, "out of bounds");
    CHECK_FAILED(device.fill(0, stream.handle, data.data, 0, 4), CARAVAN_DEVICE_LOST,
                 "out of bounds");
    void* nothing = nullptr;
    CHECK_FAILED(device.allocate(0, 4, &nothing), CARAVAN_DEVICE_LOST, "out of bounds");
    CHECK(device_test::scale(stream.handle, data.data, 1, 1, 1) != nullptr);
    simt::revive_device();
    CHECK(data.all(stream, 1));
#endif
}

// ---------------------------------------------------------------- threads

constexpr int kRounds = 200;

void* launch_often(void* argument) {
    auto& data = *static_cast<Floats*>(argument);
    const Stream stream;
    for (int i = 0; i < 5; ++i) {
        const char* const problem =
            device_test::meet(stream.handle, data.data, data.count, kRounds);
        if (problem != nullptr) test::check(false, __FILE__, __LINE__, problem);
    }
    return nullptr;
}

volatile sig_atomic_t signals_seen = 0;

// As a profiler's handler does, on whatever stack is in use.
void on_signal(int) {
    volatile char room[8192];
    room[signals_seen % 8192] = 1;
    signals_seen = signals_seen + room[signals_seen % 8192];
}

// A JVM's threads have stacks of their own sizes, and signals arrive at any time.
void threads_with_little_stack_may_launch() {
    struct sigaction action = {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, nullptr);
    const itimerval often = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &often, nullptr);
    Floats first(200), second(200);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstacksize(&attributes, size_t{128} << 10) == 0);
    pthread_t threads[2];
    CHECK(pthread_create(&threads[0], &attributes, launch_often, &first) == 0);
    CHECK(pthread_create(&threads[1], &attributes, launch_often, &second) == 0);
    for (const pthread_t thread : threads) pthread_join(thread, nullptr);
    const itimerval never = {};
    setitimer(ITIMER_REAL, &never, nullptr);
    pthread_attr_destroy(&attributes);
    const Stream stream;
    CHECK(first.all(stream, kRounds));
    CHECK(second.all(stream, kRounds));
}

}  // namespace

int main() {
    what_it_says_of_itself();
    memory_is_limited_and_poisoned();
    others_hold_memory();
    work_is_done_in_order();
    a_recording_runs_later_with_its_arguments();
    a_recording_may_span_streams();
    nothing_is_early();
    a_fault_stays();
    threads_with_little_stack_may_launch();
    return test::finish();
}
