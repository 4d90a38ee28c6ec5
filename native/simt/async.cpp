// Asynchronous work: groups of it, and mbarriers on which it completes.
#include "simt/async.h"

#include <algorithm>
#include <utility>

#include "simt/check.h"
#include "simt/report.h"
#include "simt/run.h"
#include "simt/state.h"

namespace simt {
namespace {

constexpr uint32_t kMostArrivals = (1u << 20) - 1;  // PTX ISA, "mbarrier object": valid ranges
constexpr int64_t kMostTransactions = (1 << 20) - 1;

Groups& groups_of(Thread& thread, Group kind) {
    if (kind == Group::kCopy) return thread.copies;
    return kind == Group::kBulk ? thread.bulk : thread.own_warp->products;
}

// Marks what the work touches.
PendingWork begin(Thread& thread, Work&& work, const void* caller) {
    for (const Range& range : work.reads) {
        if (range.bytes == 0) continue;
        begin_flight(thread, range, false, work.async_proxy, work.what, caller);
    }
    for (const Range& range : work.writes) {
        if (range.bytes == 0) continue;
        begin_flight(thread, range, true, work.async_proxy, work.what, caller);
    }
    auto pending = std::make_shared<Pending>();
    pending->work = std::move(work);
    pending->owner = &thread;
    return pending;
}

void run_work(Pending& pending) {
    if (pending.ran) return;
    pending.ran = true;
    const Trusted trusted;
    if (pending.work.fetch && !pending.read) pending.work.fetch();
    if (pending.work.run) pending.work.run();
    pending.work.fetch = pending.work.run = nullptr;  // freed here, where memory is not checked
}

// Reads the sources, and no more of work that can tell the two apart.
void fetch(Pending& pending) {
    if (pending.ran || pending.read) return;
    if (!pending.work.fetch) return run_work(pending);
    const Trusted trusted;
    pending.work.fetch();
}

void end_reads(Pending& pending, int thread, Clock clock) {
    if (pending.read) return;
    pending.read = true;
    for (const Range& range : pending.work.reads) {
        if (range.bytes != 0) end_flight(range, false, thread, clock);
    }
}

void end_writes(Pending& pending, int thread, Clock clock) {
    for (const Range& range : pending.work.writes) {
        if (range.bytes != 0) end_flight(range, true, thread, clock);
    }
}

MBarrier& barrier_at(const Thread& thread, const void* address, const char* what,
                     const void* caller) {
    int rank = 0;
    size_t offset = 0;
    if (!in_shared(address, rank, offset)) {
        raise_fault(&thread, caller, "%s: the mbarrier is not in shared memory", what);
    }
    if (rank != thread.block->rank && cluster.barrier.phase == 0) {
        raise_fault(&thread, caller, "%s: an mbarrier of another block before a cluster barrier",
                    what);
    }
    auto& barriers = cluster_block(rank).mbarriers;
    const auto found = barriers.find(offset);
    if (found == barriers.end()) {
        raise_fault(&thread, caller, "%s: no mbarrier was initialised at byte %zu of shared memory",
                    what, offset);
    }
    // The initialisation is a write that the user must know of.
    const Access made = cluster_block(rank).shadow.writes[offset / 2];
    if (!made.none() && made.thread() != kAsyncThread &&
        !knows_of(thread, made.thread(), made.clock())) {
        raise_fault(&thread, caller,
                    "race: %s on an mbarrier whose initialisation at %s no barrier orders "
                    "before it",
                    what, place_of_number(made.place()).c_str());
    }
    return found->second;
}

void complete_if_due(MBarrier& barrier) {
    if (barrier.pending != 0 || barrier.transactions != 0) return;
    ++barrier.phase;
    barrier.pending = barrier.count;
    barrier.completed = barrier.released.snapshot();
    for (Thread* const thread : barrier.waiting) {
        acquire(*thread, barrier.completed);
        make_ready(*thread);
    }
    barrier.waiting.clear();
}

}  // namespace

void land(Pending& pending) {
    run_work(pending);
    if (pending.barrier == nullptr) return;  // until it is waited for, it is in flight
    const Clock now = tick();
    end_reads(pending, kAsyncThread, now);
    end_writes(pending, kAsyncThread, now);
    int rank = 0;
    size_t offset = 0;
    in_shared(pending.barrier, rank, offset);
    auto& barriers = cluster_block(rank).mbarriers;
    const auto found = barriers.find(offset);
    if (found == barriers.end()) {
        raise_fault(pending.owner, nullptr, "%s: its mbarrier was invalidated before it completed",
                    pending.work.what);
    }
    MBarrier& barrier = found->second;
    barrier.released.add_async(now + 1);
    if (pending.bytes == 0) {
        --barrier.pending;  // an arrival
    } else {
        barrier.transactions -= pending.bytes;
    }
    complete_if_due(barrier);
}

void check_end(Thread& thread) {
    Block& block = *thread.block;
    for (const Meeting& meeting : thread.own_warp->meetings) {
        if (meeting.arrived != 0 && (meeting.mask >> thread.lane & 1) != 0) {
            raise_fault(&thread, nullptr,
                        "warp function not reached by all: the thread ends while lanes %#x "
                        "wait for it in %s (%s)",
                        meeting.arrived, meeting.what, site_name(meeting.site).c_str());
        }
    }
    const Barrier& all = block.barriers[0];
    if (all.arrived > 0 && all.expected == block.count) {
        raise_fault(&thread, nullptr,
                    "barrier not reached by all: the thread ends, but others wait: %s",
                    describe_waiting().c_str());
    }
    for (const Group kind : {Group::kCopy, Group::kBulk}) {
        Groups& groups = groups_of(thread, kind);
        bool left = false;
        for (const auto& pending : groups.open)
            left = left || kind == Group::kCopy || !pending->read;
        for (const auto& group : groups.committed) {
            for (const auto& pending : group) left = left || kind == Group::kCopy || !pending->read;
        }
        if (left) {
            raise_fault(&thread, nullptr,
                        "the thread ends with asynchronous copies that it has not waited for");
        }
    }
    if (!thread.own_warp->products.empty()) {
        raise_fault(&thread, nullptr,
                    "the thread ends with warpgroup products that it has not waited for");
    }
    if (block.ended < block.count) return;
    for (const auto& [offset, barrier] : block.mbarriers) {
        if (barrier.transactions == 0) continue;
        raise_fault(&thread, nullptr,
                    "the block ends while the mbarrier at byte %zu waits for %lld bytes", offset,
                    static_cast<long long>(barrier.transactions));
    }
}

// ---------------------------------------------------------------- groups

void async_start(Group kind, Work work) {
    Thread& thread = running_thread(work.what);
    PendingWork pending = begin(thread, std::move(work), __builtin_return_address(0));
    groups_of(thread, kind).open.push_back(pending);
    // Products of a warp follow one another, so they are done when they are waited for.
    if (kind != Group::kWgmma) add_pending(pending);
}

void async_commit(Group kind) {
    Groups& groups = groups_of(running_thread("commit_group"), kind);
    groups.committed.emplace_back(std::move(groups.open));
    groups.open.clear();
}

void async_wait(Group kind, int pending) {
    Thread& thread = running_thread("wait_group");
    Groups& groups = groups_of(thread, kind);
    while (groups.committed.size() > static_cast<size_t>(pending)) {
        for (const PendingWork& work : groups.committed.front()) {
            run_work(*work);
            end_reads(*work, thread.number, thread.clock);
            end_writes(*work, thread.number, thread.clock);
        }
        groups.committed.pop_front();
    }
}

void async_wait_read(Group kind, int pending) {
    Thread& thread = running_thread("wait_group.read");
    Groups& groups = groups_of(thread, kind);
    const size_t done =
        groups.committed.size() - std::min(groups.committed.size(), static_cast<size_t>(pending));
    for (size_t i = 0; i < done; ++i) {
        for (const PendingWork& work : groups.committed[i]) {
            fetch(*work);
            end_reads(*work, thread.number, thread.clock);
        }
    }
}

void fence_proxy_async() {
    Thread& thread = running_thread("fence.proxy.async");
    thread.clock = thread.proxy_fence = tick();
}

// ---------------------------------------------------------------- mbarrier

void mbarrier_init(void* address, uint32_t count) {
    const void* const caller = __builtin_return_address(0);
    Thread& thread = running_thread("mbarrier.init");
    if (count < 1 || count > kMostArrivals) {
        raise_fault(&thread, caller, "mbarrier.init: a count of %u; needs 1 to %u", count,
                    kMostArrivals);
    }
    int rank = 0;
    size_t offset = 0;
    if (!in_shared(address, rank, offset) || rank != thread.block->rank) {
        raise_fault(&thread, caller, "mbarrier.init: not in the block's own shared memory");
    }
    if (thread.block->mbarriers.count(offset) != 0) {
        raise_fault(&thread, caller, "mbarrier.init: there is one already at byte %zu", offset);
    }
    check_access(thread, address, 8, 8, Kind::kWrite, "mbarrier.init", caller);
    for (size_t i = 0; i < 8; ++i) thread.block->shadow.bytes[offset + i] = kBarrier;
    MBarrier& barrier = thread.block->mbarriers[offset];
    barrier.count = barrier.pending = count;
}

void mbarrier_invalidate(void* address) {
    const void* const caller = __builtin_return_address(0);
    Thread& thread = running_thread("mbarrier.inval");
    const MBarrier& barrier = barrier_at(thread, address, "mbarrier.inval", caller);
    if (!barrier.waiting.empty() || barrier.transactions != 0) {
        raise_fault(&thread, caller,
                    "mbarrier.inval: %zu threads wait on it and it lacks %lld bytes",
                    barrier.waiting.size(), static_cast<long long>(barrier.transactions));
    }
    int rank = 0;
    size_t offset = 0;
    in_shared(address, rank, offset);
    cluster_block(rank).mbarriers.erase(offset);
    for (size_t i = 0; i < 8; ++i) cluster_block(rank).shadow.bytes[offset + i] = kUnwritten;
}

void mbarrier_expect(void* address, uint32_t bytes) {
    const void* const caller = __builtin_return_address(0);
    Thread& thread = running_thread("mbarrier.expect_tx");
    MBarrier& barrier = barrier_at(thread, address, "mbarrier.expect_tx", caller);
    barrier.transactions += bytes;
    if (barrier.transactions > kMostTransactions) {
        raise_fault(&thread, caller, "mbarrier.expect_tx: %lld bytes pending; at most %lld",
                    static_cast<long long>(barrier.transactions),
                    static_cast<long long>(kMostTransactions));
    }
}

uint64_t mbarrier_arrive(void* address, uint32_t count) {
    const void* const caller = __builtin_return_address(0);
    Thread& thread = running_thread("mbarrier.arrive");
    MBarrier& barrier = barrier_at(thread, address, "mbarrier.arrive", caller);
    if (count < 1 || count > barrier.pending) {
        raise_fault(&thread, caller, "mbarrier.arrive: %u arrivals, the phase lacks %u of %u",
                    count, barrier.pending, barrier.count);
    }
    const uint64_t phase = barrier.phase;
    barrier.released.add(thread);
    barrier.pending -= count;
    complete_if_due(barrier);
    return phase;
}

// Parity p is that of the current phase or of the one before it; only the latter has completed.
bool mbarrier_test(void* address, uint32_t parity) {
    const void* const caller = __builtin_return_address(0);
    Thread& thread = running_thread("mbarrier.test_wait");
    const MBarrier& barrier = barrier_at(thread, address, "mbarrier.test_wait", caller);
    if (barrier.phase % 2 == parity % 2) {
        yield();
        return false;
    }
    acquire(thread, barrier.completed);
    return true;
}

void mbarrier_wait(void* address, uint32_t parity, Site site) {
    const void* const caller = __builtin_return_address(0);
    Thread& thread = running_thread("mbarrier.try_wait");
    MBarrier& barrier = barrier_at(thread, address, "mbarrier.try_wait", caller);
    if (barrier.phase % 2 != parity % 2) {
        acquire(thread, barrier.completed);
        return;
    }
    barrier.waiting.push_back(&thread);
    suspend(thread, "mbarrier.try_wait", site, caller);
}

void async_start(void* address, uint32_t bytes, Work work) {
    const void* const caller = __builtin_return_address(0);
    Thread& thread = running_thread(work.what);
    MBarrier& barrier = barrier_at(thread, address, work.what, caller);
    if (work.releases) barrier.released.add(thread);
    PendingWork pending = begin(thread, std::move(work), caller);
    pending->barrier = address;
    pending->bytes = bytes;
    add_pending(pending);
}

void async_arrive(void* address, bool counted_at_init) {
    const void* const caller = __builtin_return_address(0);
    Thread& thread = running_thread("cp.async.mbarrier.arrive");
    MBarrier& barrier = barrier_at(thread, address, "cp.async.mbarrier.arrive", caller);
    if (!counted_at_init) ++barrier.pending;
    // The arrival takes the copies over: it is they that must have landed.
    std::vector<PendingWork> copies = std::move(thread.copies.open);
    for (auto& group : thread.copies.committed)
        copies.insert(copies.end(), group.begin(), group.end());
    thread.copies = Groups();
    auto arrival = std::make_shared<Pending>();
    arrival->owner = &thread;
    arrival->barrier = address;
    arrival->work.what = "cp.async.mbarrier.arrive";
    arrival->work.run = [copies = std::move(copies)] {
        const Clock now = tick();
        for (const PendingWork& copy : copies) {
            run_work(*copy);
            end_reads(*copy, kAsyncThread, now);
            end_writes(*copy, kAsyncThread, now);
        }
    };
    add_pending(arrival);
}

}  // namespace simt
