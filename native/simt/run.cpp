#include "simt/run.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <numeric>

#include "simt/async.h"
#include "simt/report.h"
#include "simt/state.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace simt {

thread_local Self* running = nullptr;
Cluster cluster;

namespace {

constexpr int kMostBlockThreads = 1024;
constexpr int kMostClusterBlocks = 8;  // that every device with clusters can hold
constexpr int kMostSpins = 1 << 22;    // turns that threads give up in a row while none gets on

int64_t number_from(const char* variable, int64_t otherwise) {
    const char* const text = std::getenv(variable);
    return text != nullptr && *text != '\0' ? std::strtoll(text, nullptr, 10) : otherwise;
}

bool equals(const char* variable, const char* value) {
    const char* const text = std::getenv(variable);
    return text != nullptr && std::strcmp(text, value) == 0;
}

struct FaultRaised {};  // thrown on the machine's own stack; a fiber is left instead

class Machine {
  public:
    std::string run(const Launch& launch, bool& lost);
    uint32_t random_below(uint32_t bound);
    uint64_t launches() const { return launches_; }
    void suspend(Thread& thread);
    void make_ready(Thread& thread);
    void give_way(Thread& thread);
    void end(Thread& thread);
    void add_pending(const PendingWork& work) { pending_.push_back(work); }
    [[noreturn]] void leave(std::string message, const void* caller);
    Clock tick();
    Block& block(int rank) { return blocks_[static_cast<size_t>(rank)]; }
    const Launch& launch() const { return *launch_; }
    std::vector<Thread*>& predicates() { return predicates_; }

  private:
    static std::string refusal(const Launch& launch);
    bool set_up(const Launch& launch, int alive);
    void run_blocks(const uint32_t* numbers, int count);
    void set_up_block(Block& block, uint64_t number);
    void drive();
    void go_on(Thread& from, bool last);
    Thread* pick();
    bool land_one(bool must);
    bool ask_predicates();

    std::mutex mutex_;
    StackPool stacks_;
    std::vector<Thread> threads_;
    std::vector<Block> blocks_;
    unsigned char* windows_ = nullptr;
    const Launch* launch_ = nullptr;
    Fiber host_;
    std::vector<Thread*> ready_;  // a ring in order, a bag otherwise
    size_t ready_first_ = 0, ready_count_ = 0;
    std::vector<PendingWork> pending_;
    std::vector<Thread*> predicates_;  // that wait until something holds
    int live_ = 0;
    int spins_ = 0;
    Clock time_ = 1;
    uint64_t random_ = 0;
    uint64_t launches_ = 0;
    bool faulted_ = false;
    std::string message_;
    const void* caller_ =
        nullptr;  // where the fault was; its name is looked up on the host's stack
};

Machine& machine() {
    static Machine* const made =
        new Machine;  // lives as long as the process: threads may outlive main
    return *made;
}

void thread_main() {
    auto& thread = static_cast<Thread&>(*running);
    started(thread.fiber);
    const Launch& launch = machine().launch();
    launch.call(launch.closure.get());
    machine().end(thread);
}

// xorshift64*: fast, and good enough to shuffle.
uint32_t Machine::random_below(uint32_t bound) {
    if (settings().in_order || bound <= 1) return 0;
    random_ ^= random_ >> 12;
    random_ ^= random_ << 25;
    random_ ^= random_ >> 27;
    const uint64_t bits = (random_ * 0x2545f4914f6cdd1dull) >> 32;
    return static_cast<uint32_t>(bits * bound >> 32);
}

std::string Machine::refusal(const Launch& launch) {
    const dim3 &grid = launch.grid, &block = launch.block;
    const uint64_t block_threads = uint64_t{block.x} * block.y * block.z;
    if (block_threads == 0 || block_threads > kMostBlockThreads || block.z > 64) {
        return text_of("a block of %ux%ux%u threads; 1 to %d are allowed, 64 at most along z",
                       block.x, block.y, block.z, kMostBlockThreads);
    }
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 ||
        grid.z > 65535) {
        return text_of("a grid of %ux%ux%u blocks; at most 2147483647x65535x65535", grid.x, grid.y,
                       grid.z);
    }
    const int32_t capability = settings().capability;
    if (launch.shared_bytes < 0 || launch.shared_bytes > shared_limit(capability)) {
        return text_of("%lld bytes of shared memory a block; sm_%d has %lld",
                       static_cast<long long>(launch.shared_bytes), capability,
                       static_cast<long long>(shared_limit(capability)));
    }
    if (launch.cluster < 1 || launch.cluster > kMostClusterBlocks ||
        grid.x % static_cast<unsigned>(launch.cluster) != 0) {
        return text_of("clusters of %d blocks in a grid of %u; 1 to %d, dividing the grid",
                       launch.cluster, grid.x, kMostClusterBlocks);
    }
    if (launch.cluster > 1 && capability < 90)
        return text_of("a cluster; sm_%d has none", capability);
    if (block_threads * static_cast<unsigned>(launch.cluster) > kMostThreads) {
        return text_of(
            "a cluster of %llu threads; the emulation has %d at most",
            static_cast<unsigned long long>(block_threads) * static_cast<unsigned>(launch.cluster),
            kMostThreads);
    }
    return "";
}

// Blocks that are alive together: a cluster, or as many of their own as the settings ask for.
int blocks_alive(const Launch& launch) {
    if (launch.cluster > 1) return launch.cluster;
    const unsigned threads = launch.block.x * launch.block.y * launch.block.z;
    const int most = std::min(kMostClusterBlocks, kMostThreads / static_cast<int>(threads));
    return std::clamp(settings().resident, 1, most);
}

// What stays the same for all blocks of a launch, of which `alive` live together.
bool Machine::set_up(const Launch& launch, int alive) {
    const int block_threads = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
    const auto total = static_cast<size_t>(block_threads * alive);
    const auto shared = static_cast<size_t>(launch.shared_bytes);
    if (!stacks_.reserve(total)) return false;
    if (windows_ == nullptr) {
        void* const mapped =
            mmap(nullptr, kWindowBytes * (kMostClusterBlocks + 1), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapped == MAP_FAILED) return false;
        const auto start = reinterpret_cast<uintptr_t>(mapped);
        windows_ = reinterpret_cast<unsigned char*>((start + kWindowBytes - 1) / kWindowBytes *
                                                    kWindowBytes);
    }
    if (threads_.size() < total) threads_.resize(total);
    blocks_.resize(static_cast<size_t>(alive));
    for (int rank = 0; rank < alive; ++rank) {
        Block& block = blocks_[static_cast<size_t>(rank)];
        block.rank = rank;
        block.threads = &threads_[static_cast<size_t>(rank * block_threads)];
        block.count = block_threads;
        block.warps.resize(static_cast<size_t>((block_threads + 31) / 32));
        for (int i = 0; i < block_threads; ++i) {
            Thread& thread = block.threads[i];
            thread.thread = i;
            thread.threads = block_threads;
            thread.lane = i % 32;
            thread.warp = i / 32;
            const auto at = static_cast<unsigned>(i);
            thread.thread_index = {at % launch.block.x, at / launch.block.x % launch.block.y,
                                   at / launch.block.x / launch.block.y};
            thread.block_dim = launch.block;
            thread.grid_dim = launch.grid;
            thread.block_rank = launch.cluster > 1 ? rank : 0;
            thread.cluster_size = launch.cluster;
            thread.shared = windows_ + static_cast<size_t>(rank) * kWindowBytes;
            thread.shared_bytes = shared;
            thread.number = rank * block_threads + i;
            thread.stack = stacks_[static_cast<size_t>(thread.number)];
            thread.block = &block;
            thread.own_warp = &block.warps[static_cast<size_t>(i / 32)];
            if (i % 32 == 0) {
                thread.own_warp->lanes = &thread;
                thread.own_warp->count = std::min(32, block_threads - i);
            }
        }
    }
    cluster = Cluster();
    cluster.windows = windows_;
    cluster.shared_bytes = shared;
    cluster.closure = static_cast<const char*>(launch.closure.get());
    cluster.closure_bytes = launch.closure_bytes;
    cluster.stacks = &stacks_;
    cluster.memory = &device_memory();
    cluster.image = image_of(launch.kernel);
    cluster.checks = settings().checks;
    ready_.resize(total);
#ifdef __SANITIZE_ADDRESS__
    pthread_attr_t attributes;
    void* low = nullptr;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &low, &host_.bytes);
        pthread_attr_destroy(&attributes);
    }
    host_.low = low;
#endif
    return true;
}

std::string Machine::run(const Launch& launch, bool& lost) {
    const std::lock_guard<std::mutex> lock(mutex_);
    lost = false;
    std::string wrong = refusal(launch);
    const int alive = wrong.empty() ? blocks_alive(launch) : 1;
    if (wrong.empty() && !set_up(launch, alive)) wrong = "no memory for the threads of a block";
    if (!wrong.empty()) return kernel_name(launch.kernel) + ": " + wrong;

    if (static_cast<int64_t>(++launches_) == settings().lost_at) {
        lost = true;
        return kernel_name(launch.kernel) + ": the device failed, as CARAVAN_SIMT_LOST_AT asks";
    }
    launch_ = &launch;
    faulted_ = false;
    random_ = (settings().seed * 0x9e3779b97f4a7c15ull + launches_) | 1;
    for (int i = 0; i < 4; ++i) random_below(2);
    const uint64_t clusters = uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z /
                              static_cast<unsigned>(launch.cluster);
    std::vector<uint32_t> order(clusters);
    std::iota(order.begin(), order.end(), 0u);
    if (!settings().in_order) {
        for (size_t i = order.size(); i > 1; --i) {
            std::swap(order[i - 1], order[random_below(static_cast<uint32_t>(i))]);
        }
    }
    cluster.first_owner = device_memory().begin_launch(static_cast<uint32_t>(clusters));
    const size_t step = launch.cluster > 1 ? 1 : static_cast<size_t>(alive);
    for (size_t i = 0; i < order.size() && !faulted_; i += step) {
        run_blocks(&order[i], static_cast<int>(std::min(step, order.size() - i)));
    }
    pending_.clear();
    launch_ = nullptr;
    lost = faulted_;
    if (!faulted_) return "";
    const std::string place = place_of(caller_);
    if (!place.empty()) message_ += ", at " + place;
    return kernel_name(launch.kernel) + ": " + message_ +
           text_of(" (seed %llu, launch %llu)", static_cast<unsigned long long>(settings().seed),
                   static_cast<unsigned long long>(launches_));
}

void Machine::set_up_block(Block& block, uint64_t number) {
    const auto size = static_cast<unsigned>(launch_->cluster);
    const uint64_t per_row = launch_->grid.x / size, row = number / per_row;
    block.index = {
        static_cast<unsigned>(number % per_row) * size + static_cast<unsigned>(block.threads->block_rank),
        static_cast<unsigned>(row % launch_->grid.y), static_cast<unsigned>(row / launch_->grid.y)};
    block.owner = cluster.first_owner + static_cast<Owner>(number);
    block.alone = ClusterBarrier();
    block.ended = 0;
    for (Warp& warp : block.warps) {
        warp.ended = 0;
        warp.meetings.clear();
        warp.products = Groups();
    }
    for (Barrier& barrier : block.barriers) {
        if (barrier.what != nullptr) barrier = Barrier();
    }
    block.mbarriers.clear();
    const size_t shared = cluster.shared_bytes;
    block.shadow.reset(shared, cluster.checks);
    unsigned char* const window = block.threads->shared;
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(window, kWindowBytes);
    __asan_poison_memory_region(window + shared, kWindowBytes - shared);
#endif
    std::memset(window, 0xff, shared);  // NaN
}

// Runs a cluster, or `count` blocks of their own, to the end.
void Machine::run_blocks(const uint32_t* numbers, int count) {
    const bool one = launch_->cluster > 1;
    cluster.blocks = one ? launch_->cluster : count;
    cluster.threads = cluster.blocks * blocks_[0].count;
    time_ = 1;
    spins_ = 0;
    pending_.clear();
    predicates_.clear();
    cluster.barrier = ClusterBarrier();
    for (int rank = 0; rank < cluster.blocks; ++rank) {
        set_up_block(blocks_[static_cast<size_t>(rank)], numbers[one ? 0 : rank]);
    }
    ready_first_ = ready_count_ = 0;
    live_ = cluster.threads;
    for (int i = 0; i < cluster.threads; ++i) {
        Thread& thread = threads_[static_cast<size_t>(i)];
        thread.block_index = thread.block->index;
        thread.trusted = 0;
        thread.predicate = nullptr;
        thread.knows = Knowledge();
        thread.clock = 1;
        thread.proxy_fence = 0;
        if (!thread.copies.empty()) thread.copies = Groups();
        if (!thread.bulk.empty()) thread.bulk = Groups();
        prepare(thread.fiber, thread.stack, thread_main, static_cast<unsigned>(i));
        make_ready(thread);
    }
    try {
        drive();
    } catch (const FaultRaised&) {
    }
    running = nullptr;
}

// Runs on the machine's own stack: does what is pending, and switches to threads while there are
// any.
void Machine::drive() {
    while (live_ > 0 && !faulted_) {
        running = nullptr;
        // In order, work is done as late as it may be.
        while (!pending_.empty() && random_below(2) == 1) land_one(false);
        if (!predicates_.empty()) ask_predicates();
        Thread* const next = pick();
        if (next == nullptr) {
            if (land_one(true) || ask_predicates()) continue;
            raise_fault(nullptr, nullptr, "deadlock: %s", describe_waiting().c_str());
        }
        running = next;
        switch_to(host_, next->fiber);
    }
    running = nullptr;
    while (!faulted_ && land_one(true)) {
    }
}

// Does a piece of pending work that was chosen at random. What only has to be written is often left
// for later: threads that take it for done, as its sources are free, then come before it.
bool Machine::land_one(bool must) {
    constexpr uint32_t kLate = 1024;
    while (!pending_.empty()) {
        const size_t i = random_below(static_cast<uint32_t>(pending_.size()));
        const PendingWork chosen = pending_[i];
        if (!must && chosen->read && !chosen->ran && random_below(kLate) != 0) return false;
        pending_[i] = pending_.back();
        pending_.pop_back();
        if (chosen->ran) continue;  // it was waited for
        land(*chosen);
        return true;
    }
    return false;
}

bool Machine::ask_predicates() {
    bool any = false;
    for (size_t i = 0; i < predicates_.size();) {
        Thread& thread = *predicates_[i];
        running = &thread;
        ++thread.trusted;
        const bool holds = (*thread.predicate)();
        --thread.trusted;
        running = nullptr;
        if (!holds) {
            ++i;
            continue;
        }
        predicates_[i] = predicates_.back();
        predicates_.pop_back();
        make_ready(thread);
        any = true;
    }
    return any;
}

Thread* Machine::pick() {
    if (ready_count_ == 0) return nullptr;
    --ready_count_;
    if (settings().in_order) {
        Thread* const next = ready_[ready_first_];
        if (++ready_first_ == ready_.size()) ready_first_ = 0;
        return next;
    }
    const size_t i = random_below(static_cast<uint32_t>(ready_count_ + 1));
    Thread* const next = ready_[i];
    ready_[i] = ready_[ready_count_];
    return next;
}

void Machine::make_ready(Thread& thread) {
    thread.life = Life::kReady;
    size_t at = ready_count_;
    if (settings().in_order) at = (ready_first_ + ready_count_) % ready_.size();
    ready_[at] = &thread;
    ++ready_count_;
}

// Leaves a thread for another one, or for the machine when there is other work to do.
void Machine::go_on(Thread& from, bool last) {
    const bool visit = !pending_.empty() || !predicates_.empty();
    Thread* const next = visit && random_below(4) == 0 ? nullptr : pick();
    if (next == &from) {
        from.life = Life::kReady;
        return;
    }
    running = next;
    switch_to(from.fiber, next != nullptr ? next->fiber : host_, last);
}

void Machine::suspend(Thread& thread) {
    spins_ = 0;
    thread.life = Life::kWaiting;
    go_on(thread, false);
}

void Machine::give_way(Thread& thread) {
    if (++spins_ > kMostSpins) {
        raise_fault(&thread, thread.caller, "livelock: threads spin and none gets on: %s",
                    describe_waiting().c_str());
    }
    make_ready(thread);
    go_on(thread, false);
}

void Machine::end(Thread& thread) {
    spins_ = 0;
    thread.life = Life::kEnded;
    --live_;
    ++thread.block->ended;
    thread.own_warp->ended |= 1u << thread.lane;
    check_end(thread);
    go_on(thread, true);
}

void Machine::leave(std::string message, const void* caller) {
    message_ = std::move(message);
    caller_ = caller;
    faulted_ = true;
    auto* const thread = static_cast<Thread*>(running);
    running = nullptr;
    // Predicates are asked on the machine's own stack, where `running` stands for another thread.
    const char* const here = static_cast<const char*>(__builtin_frame_address(0));
    const bool on_fiber =
        thread != nullptr && here >= thread->stack.low && here < thread->stack.high;
    if (!on_fiber) throw FaultRaised();
    switch_to(thread->fiber, host_, true);
    __builtin_unreachable();
}

// At the last clock all accesses are forgotten: a race across that moment goes unseen.
Clock Machine::tick() {
    if (time_ == kLastClock) {
        for (Block& block : blocks_) {
            block.shadow.forget_accesses();
            for (int i = 0; i < block.count; ++i) {
                block.threads[i].clock = 1;
                block.threads[i].proxy_fence = 0;
                block.threads[i].knows = Knowledge();
            }
        }
        time_ = 1;
    }
    return ++time_;
}

}  // namespace

Settings& settings() {
    static Settings made = {
        static_cast<uint64_t>(number_from("CARAVAN_SIMT_SEED", 1)),
        equals("CARAVAN_SIMT_ORDER", "in-order"),
        kInstrumented && !equals("CARAVAN_SIMT_CHECKS", "0"),
        equals("CARAVAN_SIMT_STREAMS", "late"),
        static_cast<int32_t>(number_from("CARAVAN_SIMT_CAPABILITY", 90)),
        number_from("CARAVAN_SIMT_MEMORY_BYTES", int64_t{8} << 30),
        equals("CARAVAN_SIMT_PRODUCTS", "kernel"),
        number_from("CARAVAN_SIMT_LOST_AT", 0),
        number_from("CARAVAN_SIMT_HELD_BYTES", 0),
        number_from("CARAVAN_SIMT_HELD_FROM", 0),
        static_cast<int32_t>(number_from("CARAVAN_SIMT_DEVICES", 1)),
        static_cast<int32_t>(number_from("CARAVAN_SIMT_DRIVER", 13000)),
        static_cast<int32_t>(number_from("CARAVAN_SIMT_RESIDENT", 1)),
    };
    return made;
}

int64_t shared_limit(int32_t capability) {
    switch (capability) {
        case 80:
            return 163 << 10;
        case 90:
            return 227 << 10;
        case 86:
        case 89:
        case 120:
            return 99 << 10;
        default:
            return 0;
    }
}

DeviceMemory& device_memory() {
    static auto* const made = new DeviceMemory(static_cast<size_t>(settings().memory_bytes));
    return *made;
}

std::string run(const Launch& launch, bool& lost) { return machine().run(launch, lost); }

uint64_t launch_number() { return machine().launches(); }
int cluster_threads() { return cluster.threads; }
Block& cluster_block(int rank) { return machine().block(rank); }
Clock tick() { return machine().tick(); }
uint32_t random_below(uint32_t bound) { return machine().random_below(bound); }

Thread& running_thread(const char* what) {
    if (running == nullptr) {
        // Host code of a launcher: there is no launch to leave, so this is the only answer.
        std::fprintf(stderr, "%s was called outside a kernel\n", what);
        std::abort();
    }
    return static_cast<Thread&>(*running);
}

void suspend(Thread& thread, const char* waits_for, Site site, const void* caller) {
    thread.waits_for = waits_for;
    thread.site = site;
    thread.caller = caller;
    machine().suspend(thread);
}

void make_ready(Thread& thread) { machine().make_ready(thread); }
void add_pending(const std::shared_ptr<Pending>& pending) { machine().add_pending(pending); }
void leave_launch(std::string message, const void* caller) {
    machine().leave(std::move(message), caller);
}

void yield() {
    Thread& thread = running_thread("yield");
    thread.waits_for = "a turn";
    machine().give_way(thread);
}

void wait_until(const std::function<bool()>& predicate, const char* what, Site site) {
    Thread& thread = running_thread(what);
    if (predicate()) return;
    thread.predicate = &predicate;
    machine().predicates().push_back(&thread);
    suspend(thread, what, site, __builtin_return_address(0));
    thread.predicate = nullptr;
}

}  // namespace simt
