// Where threads wait for each other: lanes of a warp, barriers of a block, the barrier of a
// cluster.
#include <algorithm>
#include <string_view>

#include "simt/report.h"
#include "simt/run.h"
#include "simt/state.h"

namespace simt {
namespace {

bool same_place(Site a, Site b) {
    return a.line == b.line && (a.file == b.file || std::string_view(a.file) == b.file);
}

std::string text(Site site) { return site_name(site); }

// Every lane of a mask must exist and not have ended: nothing else will come.
void check_mask(const Thread& thread, const char* what, uint32_t mask, const void* caller) {
    const Warp& warp = *thread.own_warp;
    if ((mask >> thread.lane & 1) == 0) {
        raise_fault(&thread, caller, "%s: lane %d is not in its own mask %#x", what, thread.lane,
                    mask);
    }
    const uint32_t exist = warp.count == 32 ? ~0u : (1u << warp.count) - 1;
    if ((mask & ~exist) != 0) {
        raise_fault(&thread, caller, "%s: mask %#x names lanes that do not exist: the warp has %d",
                    what, mask, warp.count);
    }
    if ((mask & warp.ended) != 0) {
        raise_fault(&thread, caller, "%s: mask %#x names lanes that have ended (%#x)", what, mask,
                    mask & warp.ended);
    }
}

Meeting& find_meeting(Warp& warp, const Thread& thread, const char* what, uint32_t mask, Site site,
                      bool aligned, const void* caller) {
    for (Meeting& meeting : warp.meetings) {
        if (meeting.mask != mask || meeting.arrived == 0) continue;
        if (std::string_view(meeting.what) != what) {
            raise_fault(
                &thread, caller, "divergent warp: lane %d comes to %s, lanes %#x wait in %s (%s)",
                thread.lane, what, meeting.arrived, meeting.what, text(meeting.site).c_str());
        }
        if (aligned && !same_place(meeting.site, site)) {
            raise_fault(&thread, caller,
                        "divergent warp: lane %d comes to %s at %s, lanes %#x wait in that at %s",
                        thread.lane, what, text(site).c_str(), meeting.arrived,
                        text(meeting.site).c_str());
        }
        return meeting;
    }
    for (Meeting& meeting : warp.meetings) {
        if (meeting.arrived == 0) return meeting;
    }
    warp.meetings.reserve(32);  // of disjoint masks there are no more, and references stay
    warp.meetings.emplace_back();
    return warp.meetings.back();
}

void wake(std::vector<Thread*>& waiting) {
    for (Thread* const thread : waiting) make_ready(*thread);
    waiting.clear();
}

// What all of a hardware barrier's users must agree on; the first one says it.
Barrier& enter(Thread& thread, int id, const char* what, int expected, Site site,
               const void* caller) {
    Barrier& barrier = thread.block->barriers[static_cast<size_t>(id)];
    if (barrier.arrived == 0) {
        barrier.what = what;
        barrier.site = site;
        barrier.expected = expected;
        barrier.count = 0;
    }
    if (barrier.expected != expected) {
        raise_fault(&thread, caller,
                    "barrier %d: %d threads expected here, %d by those who came first (%s)", id,
                    expected, barrier.expected, text(barrier.site).c_str());
    }
    ++barrier.arrived;
    return barrier;
}

void check_id(const Thread& thread, int id, int threads, const void* caller) {
    if (id < 0 || id > 15) raise_fault(&thread, caller, "barrier %d: there are 0 to 15", id);
    if (threads < 32 || threads % 32 != 0 || threads > thread.threads) {
        raise_fault(&thread, caller,
                    "barrier %d: %d threads; needs a multiple of 32 up to the block's %d", id,
                    threads, thread.threads);
    }
}

}  // namespace

void warp_meet(const char* what, uint32_t mask, const void* payload, Collective body, void* context,
               Order order, Site site, bool aligned) {
    const void* const caller = __builtin_return_address(0);
    Thread& thread = running_thread(what);
    Warp& warp = *thread.own_warp;
    check_mask(thread, what, mask, caller);
    Meeting& meeting = find_meeting(warp, thread, what, mask, site, aligned, caller);
    if (meeting.arrived == 0) {
        meeting.what = what;
        meeting.site = site;
        meeting.mask = mask;
        meeting.payloads.fill(nullptr);
    }
    meeting.payloads[static_cast<size_t>(thread.lane)] = const_cast<void*>(payload);
    meeting.arrived |= 1u << thread.lane;
    if (meeting.arrived != mask) {
        suspend(thread, what, site, caller);
        return;
    }
    if (body != nullptr) {
        const Trusted trusted;
        thread.caller = caller;
        body(context, meeting.payloads.data());
    }
    if (order == Order::kMemory) {
        const uint32_t exist = warp.count == 32 ? ~0u : (1u << warp.count) - 1;
        order_lanes(warp.lanes, mask, mask == exist);
    }
    meeting.arrived = 0;
    for (int i = 0; i < warp.count; ++i) {
        if ((mask >> i & 1) != 0 && i != thread.lane) make_ready(warp.lanes[i]);
    }
}

int block_barrier(const char* what, int predicate, Site site) {
    const void* const caller = __builtin_return_address(0);
    Thread& thread = running_thread(what);
    Block& block = *thread.block;
    if (block.ended > 0) {
        raise_fault(&thread, caller,
                    "barrier not reached by all: %s, but %d of the block's %d threads have "
                    "ended: %s",
                    what, block.ended, block.count, describe_waiting().c_str());
    }
    Barrier& barrier = enter(thread, 0, what, block.count, site, caller);
    if (std::string_view(barrier.what) != what || !same_place(barrier.site, site)) {
        raise_fault(&thread, caller, "divergent barrier: %s at %s, others are in %s at %s", what,
                    text(site).c_str(), barrier.what, text(barrier.site).c_str());
    }
    barrier.count += predicate != 0;
    if (barrier.arrived < block.count) {
        barrier.waiting.push_back(&thread);
        suspend(thread, what, site, caller);
        return barrier.result;
    }
    order_block(block);
    barrier.arrived = 0;
    barrier.result = barrier.count;
    wake(barrier.waiting);
    return barrier.result;
}

void named_barrier_sync(int id, int threads, Site site) {
    const void* const caller = __builtin_return_address(0);
    Thread& thread = running_thread("barrier.sync");
    check_id(thread, id, threads, caller);
    Barrier& barrier = enter(thread, id, "barrier.sync", threads, site, caller);
    barrier.released.add(thread);
    if (barrier.arrived < threads) {
        barrier.waiting.push_back(&thread);
        suspend(thread, "barrier.sync", site, caller);
        return;
    }
    const Knowledge known = barrier.released.snapshot();
    for (Thread* const other : barrier.waiting) acquire(*other, known);
    acquire(thread, known);
    barrier.released.clear();
    barrier.arrived = 0;
    wake(barrier.waiting);
}

void named_barrier_arrive(int id, int threads, Site site) {
    const void* const caller = __builtin_return_address(0);
    Thread& thread = running_thread("barrier.arrive");
    check_id(thread, id, threads, caller);
    Barrier& barrier = enter(thread, id, "barrier.arrive", threads, site, caller);
    barrier.released.add(thread);
    if (barrier.arrived < threads) return;
    const Knowledge known = barrier.released.snapshot();
    for (Thread* const other : barrier.waiting) acquire(*other, known);
    barrier.released.clear();
    barrier.arrived = 0;
    wake(barrier.waiting);
}

namespace {

ClusterBarrier& cluster_barrier_of(const Thread& thread) {
    return thread.cluster_size > 1 ? cluster.barrier : thread.block->alone;
}

}  // namespace

void cluster_arrive(Site) {
    const void* const caller = __builtin_return_address(0);
    Thread& thread = running_thread("barrier.cluster.arrive");
    ClusterBarrier& barrier = cluster_barrier_of(thread);
    if (barrier.phases.empty()) barrier.phases.assign(static_cast<size_t>(cluster.threads), 0);
    uint64_t& arrivals = barrier.phases[static_cast<size_t>(thread.number)];
    if (arrivals != barrier.phase) {
        raise_fault(&thread, caller, "barrier.cluster.arrive twice without a wait between");
    }
    ++arrivals;
    barrier.released.add(thread);
    if (++barrier.arrived < thread.block->count * thread.cluster_size) return;
    barrier.arrived = 0;
    ++barrier.phase;
    barrier.completed = barrier.released.snapshot();
    barrier.released.clear();
    for (Thread* const other : barrier.waiting) acquire(*other, barrier.completed);
    wake(barrier.waiting);
}

void cluster_wait(Site site) {
    const void* const caller = __builtin_return_address(0);
    Thread& thread = running_thread("barrier.cluster.wait");
    ClusterBarrier& barrier = cluster_barrier_of(thread);
    const uint64_t arrivals =
        barrier.phases.empty() ? 0 : barrier.phases[static_cast<size_t>(thread.number)];
    if (arrivals == 0)
        raise_fault(&thread, caller, "barrier.cluster.wait without an arrive before");
    if (barrier.phase >= arrivals) {
        acquire(thread, barrier.completed);
        return;
    }
    barrier.waiting.push_back(&thread);
    suspend(thread, "barrier.cluster.wait", site, caller);
}

}  // namespace simt
