// A stand-in for NCCL between the threads of one process, on the emulated device: libnccl.so.2 for
// the preset's binding, so that training on several GPUs runs where there is none. Exchanges are
// work of streams, recorded and replayed like kernels; one is done when all ranks' streams have
// come to it. From NCCL's API reference, which this follows: "Communicator Creation", "Collective
// Communication Functions", "Group Calls", "Point To Point Communication Functions".
#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda/tile/types.cuh"
#include "simt/exchange.h"

namespace tile = caravan::tile;

namespace {

constexpr int kSuccess = 0;
constexpr int kInvalidArgument = 4;
constexpr int kVersion = 22800;  // 2.28

enum Type { kInt8 = 0, kFloat32 = 7, kBfloat16 = 9 };
enum class Kind { kAllReduce, kReduceScatter, kAllGather, kBroadcast, kSend, kReceive };

// What one rank gives. `count` is of the argument that the function's reference names.
struct Call {
    Kind kind;
    const char* send;
    char* receive;
    size_t count;
    int type;
    int peer;  // of a send or receive; the root of a broadcast
};

using Calls = std::vector<Call>;

struct Group {
    std::mutex mutex;
    std::condition_variable changed;
    int joined = 0;
    bool aborted = false;
    // Of the exchange that the ranks are at, touched by work of streams alone, one at a time.
    std::vector<const Calls*> given;
    uint64_t done = 0;
};

}  // namespace

// As the reference calls it: one rank's end.
struct ncclComm {
    std::shared_ptr<Group> group;
    int rank;
    uint64_t exchanges = 0;  // that this rank's stream has passed
};

namespace {

size_t size_of(int type) { return type == kFloat32 ? 4 : type == kBfloat16 ? 2 : 1; }

float value(const char* data, int type, size_t i) {
    if (type == kFloat32) {
        float number;
        std::memcpy(&number, data + 4 * i, 4);
        return number;
    }
    tile::bf16 number;
    std::memcpy(&number, data + 2 * i, 2);
    return tile::to_float(number);
}

void put(char* data, int type, size_t i, float number) {
    if (type == kFloat32) {
        std::memcpy(data + 4 * i, &number, 4);
    } else {
        const tile::bf16 rounded = tile::from_float<tile::bf16>(number);
        std::memcpy(data + 2 * i, &rounded, 2);
    }
}

std::string refusal(const char* name, const void* data, size_t bytes) {
    const std::string problem = caravan_simt_exchange.refusal(data, bytes);
    return problem.empty() ? "" : std::string("nccl: ") + name + ": " + problem;
}

std::string check(const Call& call, size_t ranks) {
    const size_t bytes = call.count * size_of(call.type);
    const size_t sent = call.kind == Kind::kReduceScatter ? bytes * ranks : bytes;
    const size_t received = call.kind == Kind::kAllGather ? bytes * ranks : bytes;
    std::string problem;
    if (call.send != nullptr) problem = refusal("send", call.send, sent);
    if (problem.empty() && call.receive != nullptr) {
        problem = refusal("receive", call.receive, received);
    }
    return problem;
}

// The sum over ranks of `count` elements from element `first` on, in the order of the ranks.
std::vector<float> sum(const std::vector<const Calls*>& given, size_t call, size_t first,
                       size_t count) {
    std::vector<float> total(count);
    for (const Calls* const calls : given) {
        const Call& its = (*calls)[call];
        for (size_t i = 0; i < count; ++i) total[i] += value(its.send, its.type, first + i);
    }
    return total;
}

// The receive of a peer that belongs to a rank's n-th send to it.
const Call* receive_of(const Calls& calls, int from, size_t n) {
    for (const Call& call : calls) {
        if (call.kind == Kind::kReceive && call.peer == from && n-- == 0) return &call;
    }
    return nullptr;
}

std::string deliver(const std::vector<const Calls*>& given, const Call& send, size_t rank,
                    size_t n) {
    const Call* const into =
        receive_of(*given[static_cast<size_t>(send.peer)], static_cast<int>(rank), n);
    if (into == nullptr || into->count != send.count || into->type != send.type) {
        return "nccl: rank " + std::to_string(rank) + " sends what rank " +
               std::to_string(send.peer) + " does not receive";
    }
    std::memcpy(into->receive, send.send, send.count * size_of(send.type));
    return "";
}

// Does one call of all ranks, each by itself first, since send and receive may be the same bytes.
std::string exchange(const std::vector<const Calls*>& given, size_t c) {
    const Call& first = (*given[0])[c];
    const size_t ranks = given.size();
    const size_t bytes = first.count * size_of(first.type);
    for (const Calls* const calls : given) {
        const Call& its = (*calls)[c];
        const bool alike = its.kind == first.kind && its.count == first.count &&
                           its.type == first.type && its.peer == first.peer;
        if (!alike) return "nccl: the ranks give different exchanges";
    }
    if (first.kind == Kind::kAllReduce || first.kind == Kind::kReduceScatter) {
        const bool whole = first.kind == Kind::kAllReduce;
        const std::vector<float> total =
            sum(given, c, 0, whole ? first.count : first.count * ranks);
        for (size_t rank = 0; rank < ranks; ++rank) {
            const Call& its = (*given[rank])[c];
            const size_t from = whole ? 0 : rank * first.count;
            for (size_t i = 0; i < first.count; ++i) put(its.receive, its.type, i, total[from + i]);
        }
        return "";
    }
    std::vector<char> all;
    for (const Calls* const calls : given) {
        all.insert(all.end(), (*calls)[c].send, (*calls)[c].send + bytes);
    }
    const bool gather = first.kind == Kind::kAllGather;
    const char* const from =
        gather ? all.data() : all.data() + bytes * static_cast<size_t>(first.peer);
    for (const Calls* const calls : given) {
        std::memcpy((*calls)[c].receive, from, gather ? all.size() : bytes);
    }
    return "";
}

// Does what all ranks have given.
std::string exchange_all(const std::vector<const Calls*>& given) {
    for (const Calls* const calls : given) {
        for (const Call& call : *calls) {
            const std::string problem = check(call, given.size());
            if (!problem.empty()) return problem;
        }
        if (calls->size() != given[0]->size()) return "nccl: the ranks give different exchanges";
    }
    std::string problem;
    for (size_t c = 0; c < given[0]->size() && problem.empty(); ++c) {
        const Kind kind = (*given[0])[c].kind;
        if (kind != Kind::kSend && kind != Kind::kReceive) problem = exchange(given, c);
    }
    for (size_t rank = 0; rank < given.size(); ++rank) {
        std::map<int, size_t> sent;
        for (const Call& call : *given[rank]) {
            if (call.kind != Kind::kSend || !problem.empty()) continue;
            problem = deliver(given, call, rank, sent[call.peer]++);
        }
    }
    return problem;
}

// One rank's part of an exchange, whenever its stream comes to it, be it again from a graph.
simt::Outcome take_part(ncclComm& comm, const Calls& calls) {
    Group& group = *comm.group;
    {
        const std::lock_guard<std::mutex> lock(group.mutex);
        if (group.aborted) return {};
    }
    const auto rank = static_cast<size_t>(comm.rank);
    if (group.done == comm.exchanges) {
        group.given[rank] = &calls;
        const bool all =
            std::find(group.given.begin(), group.given.end(), nullptr) == group.given.end();
        if (!all) return {CARAVAN_OK, "", true};
        const std::string problem = exchange_all(group.given);
        std::fill(group.given.begin(), group.given.end(), nullptr);
        ++group.done;
        if (!problem.empty()) return {CARAVAN_DEVICE_LOST, problem};
    }
    ++comm.exchanges;
    return {};
}

// Calls between ncclGroupStart and ncclGroupEnd, which are launched as one.
struct Together {
    int depth = 0;
    ncclComm* comm = nullptr;
    void* stream = nullptr;
    Calls calls;
};
thread_local Together* together = nullptr;
thread_local std::string message;

int launch(ncclComm& comm, void* stream, Calls calls) {
    const auto kept = std::make_shared<const Calls>(std::move(calls));
    const simt::Outcome outcome = caravan_simt_exchange.enqueue(
        *static_cast<simt::Stream*>(stream), [&comm, kept] { return take_part(comm, *kept); });
    message = outcome.message;
    return outcome.status == CARAVAN_OK ? kSuccess : 1;
}

int give(ncclComm* comm, void* stream, const Call& call) {
    if (comm == nullptr || stream == nullptr || call.peer < 0 ||
        static_cast<size_t>(call.peer) >= comm->group->given.size()) {
        message = "an argument is out of range";
        return kInvalidArgument;
    }
    if (together == nullptr || together->depth == 0) return launch(*comm, stream, {call});
    together->comm = comm;
    together->stream = stream;
    together->calls.push_back(call);
    return kSuccess;
}

std::mutex groups_mutex;
std::map<std::string, std::shared_ptr<Group>> groups;
int ids = 0;

}  // namespace

// The reference's own names and types, as far as the preset's binding passes them.
struct ncclUniqueId {
    char internal[128];
};

extern "C" {

CARAVAN_API int ncclGetVersion(int* version) {
    *version = kVersion;
    return kSuccess;
}

CARAVAN_API int ncclGetUniqueId(ncclUniqueId* id) {
    const std::lock_guard<std::mutex> lock(groups_mutex);
    std::memset(id->internal, 0, sizeof id->internal);
    const std::string name = "emulated group " + std::to_string(++ids);
    std::memcpy(id->internal, name.data(), name.size());
    return kSuccess;
}

CARAVAN_API int ncclCommInitRank(ncclComm** comm, int ranks, ncclUniqueId id, int rank) {
    if (ranks < 1 || rank < 0 || rank >= ranks) return kInvalidArgument;
    std::shared_ptr<Group> group;
    {
        const std::lock_guard<std::mutex> lock(groups_mutex);
        std::shared_ptr<Group>& known = groups[id.internal];
        if (known == nullptr) known = std::make_shared<Group>();
        group = known;
    }
    std::unique_lock<std::mutex> lock(group->mutex);
    group->given.resize(static_cast<size_t>(ranks));
    ++group->joined;
    group->changed.notify_all();
    group->changed.wait(lock, [&] { return group->joined >= ranks; });
    *comm = new ncclComm{group, rank};
    return kSuccess;
}

CARAVAN_API int ncclCommDestroy(ncclComm* comm) {
    delete comm;
    return kSuccess;
}

CARAVAN_API int ncclCommAbort(ncclComm* comm) {
    const std::lock_guard<std::mutex> lock(comm->group->mutex);
    comm->group->aborted = true;
    return kSuccess;  // work that streams still hold refers to it
}

CARAVAN_API int ncclCommGetAsyncError(ncclComm*, int* error) {
    *error = kSuccess;
    return kSuccess;
}

CARAVAN_API const char* ncclGetErrorString(int error) {
    return error == kSuccess           ? "no error"
           : error == kInvalidArgument ? "invalid argument"
                                       : "unhandled cuda error";
}

CARAVAN_API const char* ncclGetLastError(ncclComm*) { return message.c_str(); }

CARAVAN_API int ncclGroupStart() {
    static thread_local Together calls;
    together = &calls;
    ++calls.depth;
    return kSuccess;
}

CARAVAN_API int ncclGroupEnd() {
    if (--together->depth > 0 || together->calls.empty()) return kSuccess;
    Calls calls;
    calls.swap(together->calls);
    return launch(*together->comm, together->stream, std::move(calls));
}

CARAVAN_API int ncclAllReduce(const void* send, void* receive, size_t count, int type, int,
                              ncclComm* comm, void* stream) {
    return give(comm, stream,
                {Kind::kAllReduce, static_cast<const char*>(send), static_cast<char*>(receive),
                 count, type, 0});
}

CARAVAN_API int ncclReduceScatter(const void* send, void* receive, size_t count, int type, int,
                                  ncclComm* comm, void* stream) {
    return give(comm, stream,
                {Kind::kReduceScatter, static_cast<const char*>(send), static_cast<char*>(receive),
                 count, type, 0});
}

CARAVAN_API int ncclAllGather(const void* send, void* receive, size_t count, int type,
                              ncclComm* comm, void* stream) {
    return give(comm, stream,
                {Kind::kAllGather, static_cast<const char*>(send), static_cast<char*>(receive),
                 count, type, 0});
}

CARAVAN_API int ncclBroadcast(const void* send, void* receive, size_t count, int type, int root,
                              ncclComm* comm, void* stream) {
    return give(comm, stream,
                {Kind::kBroadcast, static_cast<const char*>(send), static_cast<char*>(receive),
                 count, type, root});
}

CARAVAN_API int ncclSend(const void* send, size_t count, int type, int peer, ncclComm* comm,
                         void* stream) {
    return give(comm, stream,
                {Kind::kSend, static_cast<const char*>(send), nullptr, count, type, peer});
}

CARAVAN_API int ncclRecv(void* receive, size_t count, int type, int peer, ncclComm* comm,
                         void* stream) {
    return give(comm, stream,
                {Kind::kReceive, nullptr, static_cast<char*>(receive), count, type, peer});
}

}  // extern "C"
