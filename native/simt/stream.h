// Streams, events and graphs of the emulated device. Work is done in the order in which it was
// issued, before the call that issues it returns; or, with Settings::late, whenever the order of
// its stream and the events that it waits for allow, at random, so that a host that does not wait
// reads what was there before. While a stream records, work is kept for the graph instead.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "caravan/caravan.h"

namespace simt {

// What a call comes to. A fault ends the device: every later call returns it again, as a CUDA error
// that is sticky does.
struct Outcome {
    caravan_status status = CARAVAN_OK;
    std::string message;
    bool pending = false;  // of an op: it waits for what other host threads will enqueue
};

// A piece of work.
using Op = std::function<Outcome()>;

// Work that was recorded, in an order that keeps every stream's own and every wait for an event.
struct Graph {
    std::vector<Op> ops;
};

struct Stream;

// Begun by one stream; others join it when they wait for an event that is part of it.
struct Recording {
    Graph graph;
    Stream* origin = nullptr;
    std::vector<Stream*> joined;
    std::string problem;  // the first call that cannot be recorded: the graph is then refused
};

// What an event marks: it happens when its stream comes to it.
struct Mark {
    bool happened = false;
    std::chrono::steady_clock::time_point time;
};

// Work in the queue of a stream: an op, a mark to be made, or one to be waited for.
struct Queued {
    Op op;
    std::shared_ptr<Mark> makes;
    std::shared_ptr<Mark> waits_for;
};

struct Stream {
    explicit Stream(int32_t device = 0);
    ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    const int32_t device;
    std::deque<Queued> queue;
    std::shared_ptr<Recording> recording;  // null while work is done
    bool unjoined = false;  // it has recorded work that the origin does not wait for yet
};

struct Event {
    std::shared_ptr<Mark> mark;            // of the last record; null before the first
    std::shared_ptr<Recording> recording;  // that it is part of
    Stream* stream = nullptr;              // on which it was recorded there
};

Outcome enqueue(Stream& stream, Op op);
Outcome synchronize(Stream& stream);
// Does all that was enqueued on any stream of a device, as freeing memory does.
Outcome synchronize_device(int32_t device);
Outcome record(Event& event, Stream& stream);
Outcome wait(Stream& stream, Event& event);
Outcome elapsed(const Event& from, const Event& to, float& milliseconds);
Outcome begin_recording(Stream& stream);
Outcome end_recording(Stream& stream, std::unique_ptr<Graph>& graph);
Outcome replay(const Graph& graph, Stream& stream);

// Whether this thread has begun a recording that has not ended: it may not allocate then.
bool recording_here();

// The fault that ended the device, if there was one.
Outcome device_state();
// As a new process would find it. For tests of faults.
void revive_device();

}  // namespace simt
