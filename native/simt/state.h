// The state of a launch: threads, warps, blocks and the cluster that runs, and the machine that
// runs them.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "simt/fiber.h"
#include "simt/knowledge.h"
#include "simt/machine.h"
#include "simt/memory.h"
#include "simt/shadow.h"

namespace simt {

struct Block;
struct Thread;
struct Warp;

// Work that was started and has not been waited for.
struct Pending {
    Work work;
    Thread* owner = nullptr;
    void* barrier = nullptr;  // on which it completes; else its group is waited for
    uint32_t bytes = 0;       // transactions that it counts there
    bool ran = false;
    bool read = false;  // and its sources may be overwritten
};
using PendingWork = std::shared_ptr<Pending>;

// The open group and those that were committed, oldest first.
struct Groups {
    std::vector<PendingWork> open;
    std::deque<std::vector<PendingWork>> committed;
    bool empty() const { return open.empty() && committed.empty(); }
};

enum class Life : uint8_t { kReady, kWaiting, kEnded };

struct Thread : Self {
    Fiber fiber;
    Stack stack;
    int number = 0;  // in the cluster
    Block* block = nullptr;
    Warp* own_warp = nullptr;
    Life life = Life::kReady;
    int trusted = 0;

    // What it waits for, for reports.
    const char* waits_for = "";
    Site site = {"", 0};
    const void* caller = nullptr;
    const std::function<bool()>* predicate = nullptr;

    Knowledge knows;
    Clock clock = 1;        // of its accesses from now on
    Clock proxy_fence = 0;  // its accesses before are visible to the asynchronous proxy
    Groups copies, bulk;
};

// Lanes that meet.
struct Meeting {
    const char* what = nullptr;
    Site site = {"", 0};
    uint32_t mask = 0, arrived = 0;
    std::array<void*, 32> payloads;
};

struct Warp {
    Thread* lanes = nullptr;  // of its first lane; the others follow
    int count = 0;            // lanes that exist
    uint32_t ended = 0;
    std::vector<Meeting> meetings;
    Groups products;  // wgmma
};

// One of a block's hardware barriers.
struct Barrier {
    const char* what = nullptr;
    Site site = {"", 0};
    int expected = 0, arrived = 0;
    int count = 0, result = 0;  // of predicates that hold
    std::vector<Thread*> waiting;
    Released released;
};

// Its phases: all threads arrive, then all that wait go on.
struct ClusterBarrier {
    int arrived = 0;
    uint64_t phase = 0;
    std::vector<uint64_t> phases;  // of each thread: how often it arrived
    std::vector<Thread*> waiting;
    Released released;
    Knowledge completed;
};

struct MBarrier {
    uint32_t count = 0;        // arrivals of a phase
    uint32_t pending = 0;      // arrivals that the current phase still lacks
    int64_t transactions = 0;  // bytes that it still lacks
    uint64_t phase = 0;
    Released released;
    Knowledge completed;  // what was released when the last phase completed
    std::vector<Thread*> waiting;
};

struct Block {
    uint3 index = {0, 0, 0};
    int rank = 0;     // among those that are alive, which are a cluster or blocks of their own
    Owner owner = 0;  // of its cluster
    Thread* threads = nullptr;
    int count = 0, ended = 0;
    std::vector<Warp> warps;
    Shadow shadow;  // of its shared memory
    std::array<Barrier, 16> barriers;
    std::unordered_map<size_t, MBarrier> mbarriers;  // by offset
    ClusterBarrier alone;                            // of a cluster of one
};

// The cluster that runs, or clusters of one block that run beside each other, and what checks need
// of its launch.
struct Cluster {
    int blocks = 0, threads = 0;
    unsigned char* windows = nullptr;  // the shared memory of block `rank` is window `rank`
    size_t shared_bytes = 0;
    const char* closure = nullptr;  // the kernel's arguments
    size_t closure_bytes = 0;
    const StackPool* stacks = nullptr;
    DeviceMemory* memory = nullptr;
    Owner first_owner = 0;
    uintptr_t image = 0;  // where the kernel's library begins
    bool checks = true;
    ClusterBarrier barrier;
};
constexpr size_t kWindowBytes = size_t{512} << 10;
extern Cluster cluster;

}  // namespace simt
