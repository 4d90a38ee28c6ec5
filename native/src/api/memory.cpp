// Memory on a device. Every block is on record, so that a wrong address is refused rather than freed.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <unordered_map>

#include "api/dispatch.h"

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr int64_t kLargest = int64_t{1} << 46;  // half of what a process can address

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Pages from the kernel, which are zero, on a border of huge pages: a model's buffers are read from end
// to end every step, and small pages would cost a page-table walk every 4 KiB.
void* map_large(size_t bytes) {
    const size_t reserved = bytes + kHugePage;
    void* const start =
        mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) return nullptr;
    const auto address = reinterpret_cast<uintptr_t>(start);
    const size_t before = round_up(address, kHugePage) - address;
    char* const data = static_cast<char*>(start) + before;
    if (before > 0) munmap(start, before);
    if (reserved > before + bytes) munmap(data + bytes, reserved - before - bytes);
    madvise(data, bytes, MADV_HUGEPAGE);  // a wish: the kernel may have none to give
    return data;
}

void* allocate_small(size_t bytes) {
    void* const data = std::aligned_alloc(kAlignment, bytes);
    if (data != nullptr) std::memset(data, 0, bytes);
    return data;
}

// The blocks that are out, and the counters of caravan_memory_stats.
class Ledger {
  public:
    void* allocate(int64_t requested) {
        const bool large = requested >= static_cast<int64_t>(kHugePage);
        const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        const size_t bytes =
            round_up(static_cast<size_t>(requested > 0 ? requested : 1), large ? page : kAlignment);
        std::lock_guard<std::mutex> lock(mutex_);
        void* const data = large ? map_large(bytes) : allocate_small(bytes);
        if (data == nullptr) return nullptr;
        try {
            blocks_.emplace(data, Block{requested, bytes, large});
        } catch (...) {
            release(data, bytes, large);
            throw;
        }
        ++allocations_;
        live_bytes_ += requested;
        return data;
    }

    bool free(void* data) {
        std::lock_guard<std::mutex> lock(mutex_);
        const auto found = blocks_.find(data);
        if (found == blocks_.end()) return false;
        live_bytes_ -= found->second.requested;
        release(data, found->second.bytes, found->second.large);
        blocks_.erase(found);
        return true;
    }

    void stats(int64_t& allocations, int64_t& live_bytes) {
        std::lock_guard<std::mutex> lock(mutex_);
        allocations = allocations_;
        live_bytes = live_bytes_;
    }

  private:
    struct Block {
        int64_t requested;
        size_t bytes;
        bool large;
    };

    static void release(void* data, size_t bytes, bool large) {
        if (large) {
            munmap(data, bytes);
        } else {
            std::free(data);
        }
    }

    std::mutex mutex_;
    std::unordered_map<void*, Block> blocks_;
    int64_t allocations_ = 0;
    int64_t live_bytes_ = 0;
};

// Never destroyed: another thread may free its memory while the process ends.
Ledger& ledger() {
    static Ledger& instance = *new Ledger;
    return instance;
}

}  // namespace

caravan_status caravan_malloc(int32_t kind, int32_t index, int64_t bytes, void** data) {
    constexpr const char* op = "malloc";
    return caravan::guarded([&] {
        void*& out = caravan::result(op, "data", data);
        out = nullptr;
        caravan::check_device(op, kind, index);
        caravan::Check(op).that(bytes >= 0, "bytes: got %lld, needs at least 0",
                                static_cast<long long>(bytes));
        if (bytes <= kLargest) out = ledger().allocate(bytes);
        if (out == nullptr) {
            caravan::fail(CARAVAN_OUT_OF_MEMORY, "%s: bytes: got %lld, more than the system gives", op,
                          static_cast<long long>(bytes));
        }
    });
}

caravan_status caravan_free(int32_t kind, int32_t index, void* data) {
    constexpr const char* op = "free";
    return caravan::guarded([&] {
        caravan::check_device(op, kind, index);
        if (data == nullptr) return;
        caravan::Check(op).that(ledger().free(data),
                                "data: got an address that is not allocated (freed twice?)");
    });
}

caravan_status caravan_memory_stats(int64_t* allocations, int64_t* live_bytes) {
    constexpr const char* op = "memory_stats";
    return caravan::guarded([&] {
        int64_t& calls = caravan::result(op, "allocations", allocations);
        int64_t& live = caravan::result(op, "live_bytes", live_bytes);
        ledger().stats(calls, live);
    });
}
