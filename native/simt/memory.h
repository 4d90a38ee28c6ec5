// Memory of the emulated device: allocations in one reserved range of addresses, each with its
// exact size, distance to its neighbours, and a record of which block wrote and read what in a
// launch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace simt {

// Who touched two bytes of device memory last: a cluster's number, counted over all launches, or
// atomics.
using Owner = uint32_t;
constexpr Owner kByAtomics = Owner{1} << 31;

struct Allocation {
    char* data = nullptr;
    size_t bytes = 0;
    size_t first_page = 0, pages = 0;
    bool pinned = false;  // host memory that the device reaches too
    bool live = true;
    int64_t serial = 0;
    Owner* writers = nullptr;  // one for two bytes; made at the first access by a kernel
    Owner* readers = nullptr;
};

class DeviceMemory {
  public:
    static constexpr size_t kPageBytes = size_t{64}
                                         << 10;  // an allocation begins on one of its own

    explicit DeviceMemory(size_t limit);
    ~DeviceMemory();
    DeviceMemory(const DeviceMemory&) = delete;
    DeviceMemory& operator=(const DeviceMemory&) = delete;

    // Filled with NaN, aligned to 256 bytes and no more. Null when it does not fit.
    void* allocate(size_t bytes, bool pinned);
    // False when nothing that is live begins there.
    bool release(void* data, bool pinned);

    size_t limit() const { return limit_; }
    // What neither this process nor, as the settings say, others hold.
    size_t free_bytes() const {
        const std::lock_guard<std::mutex> lock(mutex_);
        return room();
    }

    bool reserved(const void* address) const { return offset(address) < kReservedBytes; }
    // The allocation around an address, or the last one there was; null where there never was one.
    Allocation* find(const void* address) const {
        const size_t at = offset(address);
        return at < kReservedBytes ? by_page_[at / kPageBytes] : nullptr;
    }
    void make_shadow(Allocation& allocation);
    // "12 bytes behind the end of allocation 3 of 4096 bytes" and the like.
    std::string describe(const void* address) const;
    // Why `bytes` from an address on are not all of one live allocation; empty when they are, and
    // for addresses that are not the device's.
    std::string refusal(const void* data, size_t bytes) const;

    // The numbers of the clusters of one launch. They start above all that there were before.
    Owner begin_launch(uint32_t clusters);

  private:
    static constexpr size_t kReservedBytes = size_t{1} << 38;

    size_t offset(const void* address) const {
        return static_cast<size_t>(static_cast<const char*>(address) - base_);
    }
    size_t room() const;
    size_t find_pages(size_t pages);
    void drop_shadow(Allocation& allocation);

    mutable std::mutex mutex_;  // of what allocate and release change
    char* base_ = nullptr;
    size_t limit_;
    size_t in_use_ = 0;
    size_t next_page_ = 1;
    int64_t serial_ = 0;
    Owner next_owner_ = 1;
    Allocation** by_page_ = nullptr;
    std::vector<std::unique_ptr<Allocation>> all_;
};

}  // namespace simt
