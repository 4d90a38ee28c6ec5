#include "simt/stream.h"

#include <mutex>
#include <utility>

#include "simt/machine.h"
#include "simt/run.h"

namespace simt {
namespace {

std::mutex state_mutex;
Outcome state;
thread_local int recordings_here = 0;

Outcome lose(std::string message) {
    const std::lock_guard<std::mutex> lock(state_mutex);
    if (state.status == CARAVAN_OK) state = {CARAVAN_DEVICE_LOST, std::move(message)};
    return state;
}

Outcome bad_call(Stream& stream, const char* problem) {
    if (stream.recording != nullptr && stream.recording->problem.empty()) {
        stream.recording->problem = problem;
    }
    return {CARAVAN_INVALID_ARGUMENT, problem};
}

Outcome perform(const Op& op) {
    Outcome outcome = device_state();
    if (outcome.status != CARAVAN_OK) return outcome;
    outcome = op();
    return outcome.status == CARAVAN_DEVICE_LOST ? lose(std::move(outcome.message)) : outcome;
}

}  // namespace

Outcome device_state() {
    const std::lock_guard<std::mutex> lock(state_mutex);
    return state;
}

void revive_device() {
    const std::lock_guard<std::mutex> lock(state_mutex);
    state = Outcome();
}

bool recording_here() { return recordings_here > 0; }

Outcome enqueue(Stream& stream, Op op) {
    if (stream.recording == nullptr) return perform(op);
    const Outcome outcome = device_state();
    if (outcome.status != CARAVAN_OK) return outcome;
    stream.recording->graph.ops.push_back(std::move(op));
    stream.unjoined = &stream != stream.recording->origin;
    return {};
}

Outcome synchronize(Stream& stream) {
    if (stream.recording != nullptr) {
        return bad_call(stream, "a stream that records cannot be waited for");
    }
    return device_state();
}

Outcome record(Event& event, Stream& stream) {
    event.recording = stream.recording;
    event.stream = &stream;
    if (stream.recording == nullptr) {
        event.recorded = true;
        event.time = std::chrono::steady_clock::now();
    }
    return device_state();
}

Outcome wait(Stream& stream, Event& event) {
    if (event.recording == nullptr) {
        if (stream.recording != nullptr) {
            return bad_call(stream,
                            "a stream that records cannot wait for an event outside the recording");
        }
        return device_state();
    }
    if (event.recording->origin == nullptr) {
        return bad_call(stream, "the event was part of a recording that has ended");
    }
    if (stream.recording == nullptr) {
        stream.recording = event.recording;
        stream.recording->joined.push_back(&stream);
        stream.unjoined = false;
    } else if (stream.recording != event.recording) {
        return bad_call(stream,
                        "a stream that records cannot wait for an event of another recording");
    }
    // What the waiting stream goes on to do comes behind; if it is the origin, nothing is left
    // over.
    if (&stream == stream.recording->origin) {
        event.stream->unjoined = false;
    } else {
        stream.unjoined = true;
    }
    return device_state();
}

Outcome elapsed(const Event& from, const Event& to, float& milliseconds) {
    if (!from.recorded || !to.recorded) {
        return {CARAVAN_INVALID_ARGUMENT, "the event was never recorded outside a graph"};
    }
    milliseconds = std::chrono::duration<float, std::milli>(to.time - from.time).count();
    return device_state();
}

Outcome begin_recording(Stream& stream) {
    if (stream.recording != nullptr) return bad_call(stream, "the stream records already");
    const Outcome outcome = device_state();
    if (outcome.status != CARAVAN_OK) return outcome;
    stream.recording = std::make_shared<Recording>();
    stream.recording->origin = &stream;
    ++recordings_here;
    return {};
}

Outcome end_recording(Stream& stream, std::unique_ptr<Graph>& graph) {
    const std::shared_ptr<Recording> recording = stream.recording;
    if (recording == nullptr) return {CARAVAN_INVALID_ARGUMENT, "the stream does not record"};
    if (recording->origin != &stream) {
        return bad_call(stream, "the stream only joined the recording; end it where it began");
    }
    std::string problem = recording->problem;
    for (Stream* const joined : recording->joined) {
        if (joined->unjoined && problem.empty()) {
            problem =
                "a stream that joined the recording has work that its first stream does not wait "
                "for";
        }
        joined->recording = nullptr;
    }
    recording->origin = nullptr;
    stream.recording = nullptr;
    --recordings_here;
    if (!problem.empty()) return {CARAVAN_INVALID_ARGUMENT, "recording refused: " + problem};
    graph = std::make_unique<Graph>(std::move(recording->graph));
    return device_state();
}

Outcome replay(const Graph& graph, Stream& stream) {
    if (stream.recording != nullptr)
        return bad_call(stream, "a graph cannot be part of a recording here");
    for (const Op& op : graph.ops) {
        const Outcome outcome = perform(op);
        if (outcome.status != CARAVAN_OK) return outcome;
    }
    return device_state();
}

const char* enqueue(Launch launch) {
    static thread_local std::string problem;
    auto& stream = *static_cast<Stream*>(launch.stream);
    const Outcome outcome = enqueue(stream, [launch = std::move(launch)]() -> Outcome {
        bool lost = false;
        std::string message = run(launch, lost);
        if (message.empty()) return {};
        return {lost ? CARAVAN_DEVICE_LOST : CARAVAN_INVALID_ARGUMENT, std::move(message)};
    });
    if (outcome.status == CARAVAN_OK) return nullptr;
    problem = outcome.message;
    return problem.c_str();
}

}  // namespace simt
