// Who knows of whose accesses: the happens-before relation of the device threads of a cluster, as
// vector clocks that are written out only where threads do not meet as whole warps or blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace simt {

struct Block;
struct Thread;

// One clock for a cluster. It is moved on by every event that orders anything, so that "before"
// among the accesses of one thread is "less". Clock 0 is before everything.
using Clock = uint32_t;
constexpr int kClockBits = 22;
constexpr Clock kLastClock = (Clock{1} << kClockBits) - 1;

// Threads of a cluster by number; the last number stands for asynchronous engines.
constexpr int kThreadBits = 13;
constexpr int kAsyncThread = (1 << kThreadBits) - 1;
constexpr int kMostThreads = kAsyncThread;  // of a cluster

// For each thread of the cluster: its accesses with a smaller clock are known. Never changed once
// shared.
using Clocks = std::shared_ptr<const std::vector<Clock>>;

// What one thread knows: the accesses of all threads of its warp, block or cluster, and of
// asynchronous engines, before these clocks, and what `others` says of each thread.
struct Knowledge {
    Clock warp = 0, block = 0, async = 0;
    Clocks others;
};

// What threads have released to a barrier, to be acquired by those who see it complete.
class Released {
  public:
    // All that the thread knows, its own accesses so far included. Its next ones are later.
    void add(Thread& thread);
    // What an asynchronous engine did before a clock.
    void add_async(Clock before) { async_ = async_ < before ? before : async_; }
    // Of now: what is added later does not change it.
    Knowledge snapshot() const;
    void clear() { *this = Released(); }

  private:
    std::vector<Clock> clocks_;
    Clock async_ = 0;
    Knowledge last_;  // of the thread that was added last: its warp mates mostly know the same
    const void* last_warp_ = nullptr;
};

void acquire(Thread& thread, const Knowledge& from);

// All threads of a block have met, or all lanes of a mask.
void order_block(Block& block);
void order_lanes(Thread* lanes, uint32_t mask, bool all);

// Whether the thread knows of accesses of thread `number` at a clock.
bool knows_of(const Thread& thread, int number, Clock clock);

}  // namespace simt
