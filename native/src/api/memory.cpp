// Memory on a device. Every block is on record, so that a wrong address is refused, not freed.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>

#include "api/dispatch.h"

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr int64_t kLargest = int64_t{1} << 46;  // half of what a process can address

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Pages from the kernel, which are zero, on a border of huge pages: a model's buffers are read from
// end to end every step, and small pages would cost a page-table walk every 4 KiB.
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

void* allocate_on_cpu(int64_t requested) {
    const auto bytes = static_cast<size_t>(requested > 0 ? requested : 1);
    if (bytes >= kHugePage) {
        return map_large(round_up(bytes, static_cast<size_t>(sysconf(_SC_PAGESIZE))));
    }
    return allocate_small(round_up(bytes, kAlignment));
}

void release_on_cpu(void* data, int64_t requested) {
    const auto bytes = static_cast<size_t>(requested);
    if (bytes >= kHugePage) {
        munmap(data, round_up(bytes, static_cast<size_t>(sysconf(_SC_PAGESIZE))));
    } else {
        std::free(data);
    }
}

// The blocks that are out, and the counters of caravan_memory_stats.
struct Block {
    int32_t kind;
    int32_t index;
    int64_t bytes;
    bool host;  // of caravan_malloc_host
};

class Ledger {
  public:
    void add(void* data, const Block& block) {
        const std::lock_guard<std::mutex> lock(mutex_);
        blocks_.insert_or_assign(data, block);
        ++allocations_;
        live_bytes_ += block.bytes;
    }

    // Takes a block of this device off the record; false when there is none at that address.
    bool remove(void* data, int32_t kind, int32_t index, bool host, int64_t& bytes) {
        const std::lock_guard<std::mutex> lock(mutex_);
        const auto found = blocks_.find(data);
        if (found == blocks_.end()) return false;
        const Block& block = found->second;
        if (block.kind != kind || block.index != index || block.host != host) return false;
        bytes = block.bytes;
        live_bytes_ -= bytes;
        blocks_.erase(found);
        return true;
    }

    void stats(int64_t& allocations, int64_t& live_bytes) {
        const std::lock_guard<std::mutex> lock(mutex_);
        allocations = allocations_;
        live_bytes = live_bytes_;
    }

  private:
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

void* allocate(const char* op, const caravan::DeviceEntry* device, int32_t index, int64_t bytes,
               bool host) {
    void* block = nullptr;
    if (device != nullptr) {
        const auto make = host ? device->allocate_host : device->allocate;
        const caravan_status status = make(index, bytes > 0 ? bytes : 1, &block);
        if (status == CARAVAN_OUT_OF_MEMORY) {
            caravan::fail(status, "%s: bytes: got %lld: %s", op, static_cast<long long>(bytes),
                          device->last_error());
        }
        caravan::require(op, *device, status);
    } else if (bytes <= kLargest) {
        block = allocate_on_cpu(bytes);
    }
    if (block == nullptr) {
        caravan::fail(CARAVAN_OUT_OF_MEMORY, "%s: bytes: got %lld, more than the system gives", op,
                      static_cast<long long>(bytes));
    }
    return block;
}

caravan_status release(const caravan::DeviceEntry* device, int32_t index, void* block,
                       int64_t bytes, bool host) {
    if (device != nullptr) {
        return host ? device->release_host(index, block) : device->release(index, block);
    }
    release_on_cpu(block, bytes);
    return CARAVAN_OK;
}

void allocate_on_record(const char* op, int32_t kind, int32_t index, int64_t bytes, void** data,
                        bool host) {
    void*& out = caravan::result(op, "data", data);
    out = nullptr;
    const caravan::DeviceEntry* device = caravan::check_device(op, kind, index);
    caravan::Check(op).that(bytes >= 0, "bytes: got %lld, needs at least 0",
                            static_cast<long long>(bytes));
    void* const block = allocate(op, device, index, bytes, host);
    try {
        ledger().add(block, {kind, index, bytes, host});
    } catch (...) {
        release(device, index, block, bytes, host);
        throw;
    }
    out = block;
}

void release_on_record(const char* op, int32_t kind, int32_t index, void* data, bool host) {
    const caravan::DeviceEntry* device = caravan::check_device(op, kind, index);
    if (data == nullptr) return;
    int64_t bytes = 0;
    caravan::Check(op).that(ledger().remove(data, kind, index, host, bytes),
                            "data: got an address that is not allocated (freed twice?)");
    const caravan_status status = release(device, index, data, bytes, host);
    if (device != nullptr) caravan::require(op, *device, status);
}

}  // namespace

caravan_status caravan_malloc(int32_t kind, int32_t index, int64_t bytes, void** data) {
    return caravan::guarded([&] { allocate_on_record("malloc", kind, index, bytes, data, false); });
}

caravan_status caravan_free(int32_t kind, int32_t index, void* data) {
    return caravan::guarded([&] { release_on_record("free", kind, index, data, false); });
}

caravan_status caravan_malloc_host(int32_t kind, int32_t index, int64_t bytes, void** data) {
    return caravan::guarded(
        [&] { allocate_on_record("malloc_host", kind, index, bytes, data, true); });
}

caravan_status caravan_free_host(int32_t kind, int32_t index, void* data) {
    return caravan::guarded([&] { release_on_record("free_host", kind, index, data, true); });
}

caravan_status caravan_memory_stats(int64_t* allocations, int64_t* live_bytes) {
    constexpr const char* op = "memory_stats";
    return caravan::guarded([&] {
        int64_t& calls = caravan::result(op, "allocations", allocations);
        int64_t& live = caravan::result(op, "live_bytes", live_bytes);
        ledger().stats(calls, live);
    });
}
