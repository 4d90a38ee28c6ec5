#include "core/pool.h"

#include <immintrin.h>

#include <cstdlib>
#include <new>

#include "core/float_mode.h"
#include "core/status.h"

namespace caravan {
namespace {

// Rounds of waiting by spinning before a worker sleeps. Ops of a step follow one another within
// microseconds, and a sleeping worker takes tens of them to wake; longer would steal cores from others.
constexpr int kSpins = 4000;

}  // namespace

Pool::Pool(int threads) {
    if (threads < 1 || threads > 1024) {
        fail(CARAVAN_INVALID_ARGUMENT, "stream: got %d threads, needs 1 to 1024", threads);
    }
    scratch_.reserve(static_cast<size_t>(threads));
    for (int i = 0; i < threads; ++i) {
        void* memory = std::aligned_alloc(64, CARAVAN_CPU_SCRATCH_BYTES);
        if (memory == nullptr) {
            for (void* earlier : scratch_) std::free(earlier);
            throw std::bad_alloc();
        }
        scratch_.push_back(memory);
    }
    workers_.reserve(static_cast<size_t>(threads - 1));
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

Pool::~Pool() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        stop_.store(true);
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    for (void* memory : scratch_) std::free(memory);
}

void Pool::run_erased(int64_t tasks, Task task, void* context) {
    task_ = task;
    context_ = context;
    tasks_ = tasks;
    error_ = nullptr;
    next_.store(0, std::memory_order_relaxed);
    busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    {
        // The lock orders this round against a worker that is about to sleep, so no wake-up is lost.
        std::lock_guard<std::mutex> lock(mutex_);
        round_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    take_tasks(0);
    int spins = 0;
    while (busy_.load(std::memory_order_acquire) != 0) {
        if (++spins < kSpins) {
            _mm_pause();
        } else {
            std::this_thread::yield();
        }
    }
    if (error_) std::rethrow_exception(error_);
}

void Pool::take_tasks(int thread) noexcept {
    for (;;) {
        const int64_t task = next_.fetch_add(1, std::memory_order_relaxed);
        if (task >= tasks_) return;
        try {
            task_(context_, task, thread);
        } catch (...) {
            std::lock_guard<std::mutex> lock(mutex_);
            if (!error_) error_ = std::current_exception();
        }
    }
}

void Pool::work(int thread) {
    const FlushSubnormals mode;  // as the thread that calls `run` has it (api/dispatch.h)
    uint64_t seen = 0;
    for (;;) {
        int spins = 0;
        while (round_.load(std::memory_order_acquire) == seen && !stop_.load()) {
            if (++spins < kSpins) {
                _mm_pause();
                continue;
            }
            std::unique_lock<std::mutex> lock(mutex_);
            wake_.wait(lock, [&] { return round_.load() != seen || stop_.load(); });
        }
        if (stop_.load()) return;
        seen = round_.load(std::memory_order_acquire);
        take_tasks(thread);
        busy_.fetch_sub(1, std::memory_order_release);
    }
}

}  // namespace caravan
