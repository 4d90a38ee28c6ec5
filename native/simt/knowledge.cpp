#include "simt/knowledge.h"

#include <algorithm>

#include "simt/run.h"
#include "simt/state.h"

namespace simt {
namespace {

void raise_to(std::vector<Clock>& clocks, const std::vector<Clock>& least) {
    for (size_t i = 0; i < clocks.size(); ++i) clocks[i] = std::max(clocks[i], least[i]);
}

void raise_to(std::vector<Clock>& clocks, int first, int count, Clock least) {
    for (int i = first; i < first + count; ++i) {
        clocks[static_cast<size_t>(i)] = std::max(clocks[static_cast<size_t>(i)], least);
    }
}

// The elementwise later of two; either may be null. Threads that met before mostly join the same
// two.
Clocks join(const Clocks& a, const Clocks& b) {
    if (a == nullptr || a == b) return b;
    if (b == nullptr) return a;
    static thread_local Clocks last_a, last_b, last;
    if (a != last_a || b != last_b) {
        auto joined = std::make_shared<std::vector<Clock>>(*a);
        raise_to(*joined, *b);
        last_a = a;
        last_b = b;
        last = std::move(joined);
    }
    return last;
}

}  // namespace

void Released::add(Thread& thread) {
    const Knowledge& knows = thread.knows;
    if (clocks_.empty()) clocks_.assign(static_cast<size_t>(cluster_threads()), 0);
    const bool same = last_warp_ == thread.own_warp && last_.warp == knows.warp &&
                      last_.block == knows.block && last_.others == knows.others;
    if (!same) {
        raise_to(clocks_, thread.own_warp->lanes->number, thread.own_warp->count, knows.warp);
        raise_to(clocks_, thread.block->threads->number, thread.block->count, knows.block);
        if (knows.others != nullptr) raise_to(clocks_, *knows.others);
        last_ = knows;
        last_warp_ = thread.own_warp;
    }
    add_async(knows.async);
    thread.clock = tick();
    clocks_[static_cast<size_t>(thread.number)] = thread.clock;
}

Knowledge Released::snapshot() const {
    Knowledge all;
    all.async = async_;
    if (!clocks_.empty()) all.others = std::make_shared<const std::vector<Clock>>(clocks_);
    return all;
}

void acquire(Thread& thread, const Knowledge& from) {
    thread.knows.async = std::max(thread.knows.async, from.async);
    thread.knows.others = join(thread.knows.others, from.others);
}

void order_block(Block& block) {
    const Clock now = tick();
    const bool alone = block.count == cluster_threads();
    Knowledge all;
    for (int i = 0; i < block.count; ++i) {
        all.async = std::max(all.async, block.threads[i].knows.async);
        if (!alone) all.others = join(all.others, block.threads[i].knows.others);
    }
    for (int i = 0; i < block.count; ++i) {
        Thread& thread = block.threads[i];
        thread.clock = thread.knows.block = now;
        thread.knows.async = all.async;
        thread.knows.others = all.others;
    }
}

void order_lanes(Thread* lanes, uint32_t mask, bool all) {
    if (!all) {
        Released released;
        for (int i = 0; i < 32; ++i) {
            if ((mask >> i & 1) != 0) released.add(lanes[i]);
        }
        const Knowledge known = released.snapshot();
        for (int i = 0; i < 32; ++i) {
            if ((mask >> i & 1) != 0) acquire(lanes[i], known);
        }
        return;
    }
    const Clock now = tick();
    const int count = lanes->own_warp->count;
    Knowledge known;
    for (int i = 0; i < count; ++i) {
        known.async = std::max(known.async, lanes[i].knows.async);
        known.block = std::max(known.block, lanes[i].knows.block);
        known.others = join(known.others, lanes[i].knows.others);
    }
    for (int i = 0; i < count; ++i) {
        lanes[i].clock = now;
        lanes[i].knows = known;
        lanes[i].knows.warp = now;
    }
}

bool knows_of(const Thread& thread, int number, Clock clock) {
    const Knowledge& knows = thread.knows;
    if (number == thread.number) return true;
    if (number == kAsyncThread) return clock < knows.async;
    const int in_block = number - thread.block->threads->number;
    if (in_block >= 0 && in_block < thread.block->count) {
        if (clock < knows.block) return true;
        if (in_block / 32 == thread.warp && clock < knows.warp) return true;
    }
    return knows.others != nullptr && clock < (*knows.others)[static_cast<size_t>(number)];
}

}  // namespace simt
