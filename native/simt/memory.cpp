#include "simt/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "simt/run.h"

namespace simt {
namespace {

constexpr size_t kShift = 256;  // an allocation begins so far into its first page

void* map(size_t bytes, int protection) {
    void* const mapped =
        mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return mapped == MAP_FAILED ? nullptr : mapped;
}

size_t shadow_bytes(const Allocation& allocation) {
    return (allocation.bytes + 1) / 2 * sizeof(Owner);
}

}  // namespace

DeviceMemory::DeviceMemory(size_t limit) : limit_(limit) {
    base_ = static_cast<char*>(map(kReservedBytes, PROT_NONE));
    by_page_ = static_cast<Allocation**>(
        map(kReservedBytes / kPageBytes * sizeof(Allocation*), PROT_READ | PROT_WRITE));
    if (base_ == nullptr || by_page_ == nullptr) limit_ = 0;  // every allocation then fails
}

DeviceMemory::~DeviceMemory() {
    for (const auto& allocation : all_) drop_shadow(*allocation);
    if (base_ != nullptr) munmap(base_, kReservedBytes);
    if (by_page_ != nullptr) munmap(by_page_, kReservedBytes / kPageBytes * sizeof(Allocation*));
}

// Pages that were never used, while there are any: a freed address then stays known as freed. After
// that, the first gap that is large enough.
size_t DeviceMemory::find_pages(size_t pages) {
    const size_t end = kReservedBytes / kPageBytes;
    if (next_page_ + pages + 1 <= end) {
        const size_t first = next_page_;
        next_page_ += pages + 1;
        return first;
    }
    size_t free = 0;
    for (size_t page = 1; page < end; ++page) {
        const Allocation* const here = by_page_[page];
        free = here == nullptr || !here->live ? free + 1 : 0;
        if (free == pages + 2) return page - pages;
    }
    return 0;
}

size_t DeviceMemory::room() const {
    const bool shared = serial_ + 1 >= settings().held_from;
    const size_t used = in_use_ + (shared ? static_cast<size_t>(settings().held_bytes) : 0);
    return limit_ - std::min(limit_, used);
}

void* DeviceMemory::allocate(size_t bytes, bool pinned) {
    const size_t pages = (std::max<size_t>(bytes, 1) + kShift + kPageBytes - 1) / kPageBytes;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!pinned && bytes > room()) return nullptr;
    if (base_ == nullptr || pages >= kReservedBytes / kPageBytes) return nullptr;
    const size_t first = find_pages(pages);
    if (first == 0) return nullptr;
    char* const start = base_ + first * kPageBytes;
    if (mprotect(start, pages * kPageBytes, PROT_READ | PROT_WRITE) != 0) return nullptr;
    auto made = std::make_unique<Allocation>();
    made->data = start + kShift;
    made->bytes = bytes;
    made->first_page = first;
    made->pages = pages;
    made->pinned = pinned;
    made->serial = ++serial_;
    std::fill(by_page_ + first, by_page_ + first + pages, made.get());
    std::memset(made->data, 0xff, bytes);
    if (!pinned) in_use_ += bytes;
    all_.push_back(std::move(made));
    return all_.back()->data;
}

bool DeviceMemory::release(void* data, bool pinned) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Allocation* const found = find(data);
    if (found == nullptr || !found->live || found->data != data || found->pinned != pinned) {
        return false;
    }
    char* const start = base_ + found->first_page * kPageBytes;
    madvise(start, found->pages * kPageBytes, MADV_DONTNEED);
    mprotect(start, found->pages * kPageBytes, PROT_NONE);
    drop_shadow(*found);
    found->live = false;
    if (!pinned) in_use_ -= found->bytes;
    return true;
}

void DeviceMemory::make_shadow(Allocation& allocation) {
    const size_t bytes = shadow_bytes(allocation);
    allocation.writers = static_cast<Owner*>(map(bytes, PROT_READ | PROT_WRITE));
    allocation.readers = static_cast<Owner*>(map(bytes, PROT_READ | PROT_WRITE));
}

void DeviceMemory::drop_shadow(Allocation& allocation) {
    if (allocation.writers != nullptr) munmap(allocation.writers, shadow_bytes(allocation));
    if (allocation.readers != nullptr) munmap(allocation.readers, shadow_bytes(allocation));
    allocation.writers = allocation.readers = nullptr;
}

Owner DeviceMemory::begin_launch(uint32_t clusters) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (clusters >= kByAtomics - next_owner_) {
        for (const auto& allocation : all_) drop_shadow(*allocation);
        next_owner_ = 1;
    }
    const Owner first = next_owner_;
    next_owner_ += clusters;
    return first;
}

std::string DeviceMemory::refusal(const void* data, size_t bytes) const {
    if (!reserved(data)) return "";
    const std::lock_guard<std::mutex> lock(mutex_);
    const Allocation* const found = find(data);
    const char* const first = static_cast<const char*>(data);
    if (found != nullptr && found->live && first >= found->data &&
        bytes <= static_cast<size_t>(found->data + found->bytes - first)) {
        return "";
    }
    return std::to_string(bytes) + " bytes from " + describe(data) + " on";
}

std::string DeviceMemory::describe(const void* address) const {
    const char* const at = static_cast<const char*>(address);
    const Allocation* near = find(address);
    for (size_t back = 1; near == nullptr && reserved(address) && back <= 2; ++back) {
        near = find(at - back * kPageBytes);
        if (near == nullptr) near = find(at + back * kPageBytes);
    }
    if (near == nullptr) return "in no allocation";
    const std::string name = std::string(near->live ? "" : "released ") +
                             (near->pinned ? "pinned" : "device") + " allocation " +
                             std::to_string(near->serial) + " of " + std::to_string(near->bytes) +
                             " bytes";
    if (at < near->data) return std::to_string(near->data - at) + " bytes before " + name;
    const auto offset = static_cast<size_t>(at - near->data);
    if (offset < near->bytes) return "byte " + std::to_string(offset) + " of " + name;
    return std::to_string(offset - near->bytes) + " bytes behind the end of " + name;
}

}  // namespace simt
