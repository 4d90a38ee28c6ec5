// The one thread pool of the library: a CPU stream owns one. Work is cut into tasks whose number
// and borders depend on the shapes alone, never on the number of threads, so that results do not
// either.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace caravan {

class Pool {
  public:
    // threads >= 1; the thread that calls `run` is one of them.
    explicit Pool(int threads);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int threads() const { return static_cast<int>(scratch_.size()); }

    // CARAVAN_CPU_SCRATCH_BYTES of 64-byte aligned memory for the thread `thread` of a running
    // task.
    void* scratch(int thread) const { return scratch_[static_cast<size_t>(thread)]; }

    // Calls body(task, thread) once for every task in 0 .. tasks-1 and returns when all are done.
    // Tasks are taken in ascending order by whichever thread is free. The first exception is
    // rethrown.
    template <typename Body>
    void run(int64_t tasks, Body&& body) {
        using Callable = std::remove_reference_t<Body>;
        if (tasks <= 0) return;
        if (tasks == 1 || threads() == 1) {
            for (int64_t task = 0; task < tasks; ++task) body(task, 0);
            return;
        }
        run_erased(
            tasks,
            [](void* context, int64_t task, int thread) {
                (*static_cast<Callable*>(context))(task, thread);
            },
            const_cast<void*>(static_cast<const void*>(&body)));
    }

  private:
    using Task = void (*)(void* context, int64_t task, int thread);

    void run_erased(int64_t tasks, Task task, void* context);
    void work(int thread);
    void take_tasks(int thread) noexcept;

    std::vector<void*> scratch_;
    std::vector<std::thread> workers_;

    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<uint64_t> round_{0};
    std::atomic<int> busy_{0};
    std::atomic<bool> stop_{false};

    Task task_ = nullptr;
    void* context_ = nullptr;
    int64_t tasks_ = 0;
    std::atomic<int64_t> next_{0};
    std::exception_ptr error_;
};

}  // namespace caravan
