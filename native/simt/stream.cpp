#include "simt/stream.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>
#include <utility>

#include "simt/machine.h"
#include "simt/run.h"

namespace simt {
namespace {

// Of the state and of all queues. Work itself runs under it too: one piece at a time, whoever asks.
std::recursive_mutex device_mutex;
using Lock = std::lock_guard<std::recursive_mutex>;

// How long work may wait for other threads' before that counts as a deadlock.
constexpr auto kPatience = std::chrono::minutes(2);

Outcome state;
std::vector<Stream*> streams;
uint64_t random_state = 0;
thread_local int recordings_here = 0;

uint32_t random_number(size_t bound) {
    random_state = random_state * 6364136223846793005ull + settings().seed * 2 + 1;
    return static_cast<uint32_t>((random_state >> 33) % bound);
}

Outcome lose(std::string message) {
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
    if (state.status != CARAVAN_OK) return state;
    Outcome outcome = op();
    return outcome.status == CARAVAN_DEVICE_LOST ? lose(std::move(outcome.message)) : outcome;
}

// Does the first thing in a stream's queue, unless it waits for what has not happened.
bool advance(Stream& stream) {
    if (stream.queue.empty()) return false;
    const Queued first = stream.queue.front();
    if (first.waits_for != nullptr && !first.waits_for->happened) return false;
    stream.queue.pop_front();
    if (first.makes != nullptr) {
        first.makes->time = std::chrono::steady_clock::now();
        first.makes->happened = true;
    }
    if (first.op == nullptr) return true;
    const Outcome outcome = perform(first.op);
    if (outcome.pending) {
        stream.queue.push_front(first);
        return false;
    }
    // What a call would have been refused for is found late here, so it ends the device.
    if (outcome.status != CARAVAN_OK) lose(outcome.message);
    return true;
}

// Lets other threads give their work; the caller holds the mutex once.
Outcome wait_for_threads(std::chrono::steady_clock::time_point since) {
    if (std::chrono::steady_clock::now() - since > kPatience) {
        return lose("deadlock: an exchange that not all ranks take part in");
    }
    device_mutex.unlock();
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    device_mutex.lock();
    return state;
}

bool waits_for_threads(const Stream* stream) {
    return !stream->queue.empty() && stream->queue.front().op != nullptr;
}

// Lets streams take turns at random until `done`.
template <typename Done>
Outcome advance_until(Done&& done) {
    auto moved = std::chrono::steady_clock::now();
    while (!done()) {
        const size_t first = random_number(streams.size());
        bool any = false;
        for (size_t i = 0; i < streams.size() && !any; ++i) {
            any = advance(*streams[(first + i) % streams.size()]);
        }
        if (any) {
            moved = std::chrono::steady_clock::now();
        } else if (std::any_of(streams.begin(), streams.end(), waits_for_threads)) {
            if (wait_for_threads(moved).status != CARAVAN_OK) return state;
        } else {
            return lose("deadlock: streams wait for events that were never recorded");
        }
    }
    return state;
}

Outcome put(Stream& stream, Queued work) {
    stream.queue.push_back(std::move(work));
    if (!settings().late) return advance_until([&] { return stream.queue.empty(); });
    const uint32_t turns = random_number(3);
    for (uint32_t i = 0; i < turns; ++i) advance(*streams[random_number(streams.size())]);
    return state;
}

}  // namespace

Outcome device_state() {
    const Lock lock(device_mutex);
    return state;
}

Stream::Stream(int32_t number) : device(number) {
    const Lock lock(device_mutex);
    streams.push_back(this);
}

Stream::~Stream() {
    const Lock lock(device_mutex);
    advance_until([this] { return queue.empty(); });
    streams.erase(std::find(streams.begin(), streams.end(), this));
}

void revive_device() {
    const Lock lock(device_mutex);
    state = Outcome();
}

bool recording_here() { return recordings_here > 0; }

namespace {

// As enqueue, where the mutex is held already, once.
Outcome enqueue_locked(Stream& stream, Op op) {
    if (state.status != CARAVAN_OK) return state;
    if (stream.recording != nullptr) {
        stream.recording->graph.ops.push_back(std::move(op));
        stream.unjoined = &stream != stream.recording->origin;
        return {};
    }
    if (settings().late) return put(stream, {std::move(op), nullptr, nullptr});
    const auto began = std::chrono::steady_clock::now();
    Outcome outcome = perform(op);
    while (outcome.pending) {
        if (wait_for_threads(began).status != CARAVAN_OK) return state;
        outcome = perform(op);
    }
    return outcome;
}

}  // namespace

Outcome enqueue(Stream& stream, Op op) {
    const Lock lock(device_mutex);
    return enqueue_locked(stream, std::move(op));
}

Outcome synchronize(Stream& stream) {
    const Lock lock(device_mutex);
    if (stream.recording != nullptr) {
        return bad_call(stream, "a stream that records cannot be waited for");
    }
    return advance_until([&] { return stream.queue.empty(); });
}

Outcome synchronize_device(int32_t device) {
    const Lock lock(device_mutex);
    return advance_until([device] {
        return std::all_of(streams.begin(), streams.end(), [device](const Stream* stream) {
            return stream->device != device || stream->queue.empty();
        });
    });
}

Outcome record(Event& event, Stream& stream) {
    const Lock lock(device_mutex);
    event.recording = stream.recording;
    event.stream = &stream;
    if (stream.recording != nullptr) return state;
    event.mark = std::make_shared<Mark>();
    return put(stream, {nullptr, event.mark, nullptr});
}

Outcome wait(Stream& stream, Event& event) {
    const Lock lock(device_mutex);
    if (event.recording == nullptr) {
        if (stream.recording != nullptr) {
            return bad_call(stream,
                            "a stream that records cannot wait for an event outside the recording");
        }
        // One that was never recorded is nothing to wait for.
        return event.mark == nullptr ? state : put(stream, {nullptr, nullptr, event.mark});
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
    return state;
}

Outcome elapsed(const Event& from, const Event& to, float& milliseconds) {
    const Lock lock(device_mutex);
    if (from.mark == nullptr || to.mark == nullptr) {
        return {CARAVAN_INVALID_ARGUMENT, "the event was never recorded outside a graph"};
    }
    const Outcome outcome = advance_until([&] { return from.mark->happened && to.mark->happened; });
    milliseconds =
        std::chrono::duration<float, std::milli>(to.mark->time - from.mark->time).count();
    return outcome;
}

Outcome begin_recording(Stream& stream) {
    const Lock lock(device_mutex);
    if (stream.recording != nullptr) return bad_call(stream, "the stream records already");
    if (state.status != CARAVAN_OK) return state;
    stream.recording = std::make_shared<Recording>();
    stream.recording->origin = &stream;
    ++recordings_here;
    return {};
}

Outcome end_recording(Stream& stream, std::unique_ptr<Graph>& graph) {
    const Lock lock(device_mutex);
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
    const Lock lock(device_mutex);
    if (stream.recording != nullptr) {
        return bad_call(stream, "a graph cannot be part of a recording here");
    }
    for (const Op& op : graph.ops) {
        const Outcome outcome = enqueue_locked(stream, op);
        if (outcome.status != CARAVAN_OK) return outcome;
    }
    return state;
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
