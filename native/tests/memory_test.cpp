// Allocation: aligned, zeroed, counted; wrong sizes and wrong addresses are refused.
#include "tests/harness.h"

namespace {

void allocates(int64_t bytes) {
    test::context() = std::to_string(bytes) + " bytes";
    int64_t allocations = 0, live = 0, later_allocations = 0, later_live = 0;
    CHECK_OK(caravan_memory_stats(&allocations, &live));
    void* data = nullptr;
    if (!CHECK_OK(caravan_malloc(CARAVAN_CPU, 0, bytes, &data))) return;
    CHECK(data != nullptr);
    CHECK_EQUAL(reinterpret_cast<uintptr_t>(data) % 64, uintptr_t{0});
    auto* const cells = static_cast<unsigned char*>(data);
    bool zero = true;
    for (int64_t i = 0; i < bytes; ++i) zero = zero && cells[i] == 0;
    CHECK(zero);
    std::memset(data, 0xee, static_cast<size_t>(bytes));  // all of it may be written

    CHECK_OK(caravan_memory_stats(&later_allocations, &later_live));
    CHECK_EQUAL(later_allocations, allocations + 1);
    CHECK_EQUAL(later_live, live + bytes);
    CHECK_OK(caravan_free(CARAVAN_CPU, 0, data));
    CHECK_OK(caravan_memory_stats(&later_allocations, &later_live));
    CHECK_EQUAL(later_allocations, allocations + 1);
    CHECK_EQUAL(later_live, live);
    CHECK_REFUSED(caravan_free(CARAVAN_CPU, 0, data), "free: data", "twice");
    test::context().clear();
}

}  // namespace

int main() {
    for (int64_t bytes : {0, 1, 63, 64, 65, 4096, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 9999999}) {
        allocates(bytes);
        allocates(bytes);  // recycled memory is zero again
    }
    void* data = &data;
    CHECK_REFUSED(caravan_malloc(CARAVAN_CPU, 0, -1, &data), "malloc: bytes", "got -1");
    CHECK(data == nullptr);
    CHECK_REFUSED(caravan_malloc(CARAVAN_CPU, 3, 1, &data), "malloc: index", "got 3");
    CHECK_REFUSED(caravan_malloc(9, 0, 1, &data), "malloc: kind", "got 9");
    CHECK_REFUSED(caravan_malloc(CARAVAN_CPU, 0, 1, nullptr), "malloc: data");
    for (int64_t bytes : {int64_t{1} << 45, int64_t{1} << 60, INT64_MAX}) {
        CHECK_EQUAL(caravan_malloc(CARAVAN_CPU, 0, bytes, &data), CARAVAN_OUT_OF_MEMORY);
        CHECK(std::strstr(caravan_last_error(), "malloc: bytes") != nullptr);
    }
    CHECK_OK(caravan_malloc_host(CARAVAN_CPU, 0, 100, &data));
    CHECK_EQUAL(reinterpret_cast<uintptr_t>(data) % 64, uintptr_t{0});
    CHECK_REFUSED(caravan_free(CARAVAN_CPU, 0, data), "free: data");
    CHECK_OK(caravan_free_host(CARAVAN_CPU, 0, data));
    CHECK_REFUSED(caravan_free_host(CARAVAN_CPU, 0, data), "free_host: data", "twice");
    CHECK_REFUSED(caravan_malloc_host(CARAVAN_CPU, 0, -1, &data), "malloc_host: bytes");
    int on_stack = 0;
    CHECK_REFUSED(caravan_free(CARAVAN_CPU, 0, &on_stack), "free: data");
    CHECK_OK(caravan_free(CARAVAN_CPU, 0, nullptr));
    CHECK_REFUSED(caravan_memory_stats(nullptr, nullptr), "memory_stats: allocations");
    return test::finish();
}
