// What tile wrappers ask of the machine about memory.
#include "simt/check.h"
#include "simt/report.h"
#include "simt/run.h"
#include "simt/state.h"

namespace simt {
namespace {

// Of the running thread, or of another lane of its warp.
void check(const void* address, size_t bytes, size_t alignment, Kind kind, const char* what,
           int lane, const void* caller) {
    auto* thread = static_cast<Thread*>(running);
    if (thread == nullptr) return;  // host code
    // In a collective, the place is that of the instruction.
    if (lane != kOwnLane) {
        caller = thread->caller;
        thread = thread->own_warp->lanes + lane;
    }
    check_access(*thread, address, bytes, alignment, kind, what, caller);
}

constexpr int kRankShift = 24;
constexpr uint32_t kFirstOffset = 1024;  // as on sm_90, where the system keeps what is below

}  // namespace

void check_read(const void* address, size_t bytes, size_t alignment, const char* what, int lane) {
    check(address, bytes, alignment, Kind::kRead, what, lane, __builtin_return_address(0));
}

void check_write(const void* address, size_t bytes, size_t alignment, const char* what, int lane) {
    check(address, bytes, alignment, Kind::kWrite, what, lane, __builtin_return_address(0));
}

void check_atomic(const void* address, size_t bytes, const char* what) {
    check(address, bytes, bytes, Kind::kAtomic, what, kOwnLane, __builtin_return_address(0));
}

void check_reduction(const void* address, size_t bytes, size_t alignment, const char* what) {
    check(address, bytes, alignment, Kind::kReduce, what, kOwnLane, __builtin_return_address(0));
}

Trusted::Trusted() {
    if (running != nullptr) ++static_cast<Thread*>(running)->trusted;
}

Trusted::~Trusted() {
    if (running != nullptr) --static_cast<Thread*>(running)->trusted;
}

uint32_t shared_address(const void* pointer) {
    int rank = 0;
    size_t offset = 0;
    if (!in_shared(pointer, rank, offset)) {
        raise_fault(&running_thread("shared_address"), __builtin_return_address(0),
                    "shared_address: %p is not in shared memory", pointer);
    }
    return static_cast<uint32_t>(rank) << kRankShift |
           (static_cast<uint32_t>(offset) + kFirstOffset);
}

void* shared_pointer(uint32_t address, const char* what) {
    const uint32_t rank = address >> kRankShift, offset = address & ((1u << kRankShift) - 1);
    if (rank >= static_cast<uint32_t>(cluster.blocks) || offset < kFirstOffset ||
        offset - kFirstOffset > cluster.shared_bytes) {
        raise_fault(&running_thread(what), __builtin_return_address(0),
                    "out of bounds: %s at shared address %#x", what, address);
    }
    return cluster.windows + rank * kWindowBytes + (offset - kFirstOffset);
}

void* map_shared_rank(const void* pointer, unsigned rank) {
    const void* const caller = __builtin_return_address(0);
    Thread& thread = running_thread("map_shared_rank");
    int own = 0;
    size_t offset = 0;
    if (!in_shared(pointer, own, offset)) {
        raise_fault(&thread, caller, "map_shared_rank: %p is not in shared memory", pointer);
    }
    if (rank >= static_cast<unsigned>(thread.cluster_size)) {
        raise_fault(&thread, caller, "map_shared_rank: block %u of a cluster of %d", rank,
                    thread.cluster_size);
    }
    if (thread.cluster_size == 1) rank = static_cast<unsigned>(thread.block->rank);
    return cluster.windows + rank * kWindowBytes + offset;
}

}  // namespace simt
