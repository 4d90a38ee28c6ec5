#include <cpuid.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

#include "api/dispatch.h"

namespace {

// The processor's brand string, 48 bytes in leaves 0x80000002 to 0x80000004 of cpuid.
// Source: AMD64 Architecture Programmer's Manual, volume 3, appendix E.4.2.
std::string processor_name() {
    uint32_t words[12] = {};
    if (__get_cpuid_max(0x80000000u, nullptr) >= 0x80000004u) {
        for (uint32_t leaf = 0; leaf < 3; ++leaf) {
            uint32_t* part = words + 4 * leaf;
            __get_cpuid(0x80000002u + leaf, part, part + 1, part + 2, part + 3);
        }
    }
    char text[sizeof words + 1] = {};
    std::memcpy(text, words, sizeof words);
    std::string name(text);
    const size_t first = name.find_first_not_of(' ');
    if (first == std::string::npos) return "x86-64 processor";
    return name.substr(first, name.find_last_not_of(' ') - first + 1);
}

// The number in a file, or `otherwise` when there is none (a control group's "max").
int64_t number_in(const char* path, int64_t otherwise) {
    std::FILE* file = std::fopen(path, "r");
    if (file == nullptr) return otherwise;
    long long value = 0;
    const bool found = std::fscanf(file, "%lld", &value) == 1 && value > 0;
    std::fclose(file);
    return found ? value : otherwise;
}

// What this process may use: the machine's memory, or less where a container is given less.
int64_t host_memory_bytes() {
    const int64_t physical =
        static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<int64_t>(sysconf(_SC_PAGESIZE));
    const int64_t unified = number_in("/sys/fs/cgroup/memory.max", physical);
    const int64_t legacy = number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes", physical);
    return std::min({physical, unified, legacy});
}

}  // namespace

caravan_status caravan_device_count(int32_t kind, int32_t* count) {
    constexpr const char* op = "device_count";
    return caravan::guarded([&] {
        int32_t& out = caravan::result(op, "count", count);
        out = 0;
        if (kind == CARAVAN_CUDA) {
            const caravan::CudaLibrary& cuda = caravan::cuda_library();
            out = cuda.devices;
            if (out == 0) caravan::set_last_error(cuda.reason.c_str());
            return;
        }
        caravan::check_device(op, kind, 0);
        try {
            caravan::cpu_kernels();
            out = 1;
        } catch (const caravan::Failure& failure) {
            if (failure.status() != CARAVAN_UNSUPPORTED) throw;
            caravan::set_last_error(failure.what());
        }
    });
}

caravan_status caravan_device_capability(int32_t kind, int32_t index, int32_t* capability) {
    constexpr const char* op = "device_capability";
    return caravan::guarded([&] {
        int32_t& out = caravan::result(op, "capability", capability);
        out = 0;
        if (const auto* device = caravan::check_device(op, kind, index)) {
            caravan::require(op, *device, device->capability(index, &out));
        }
    });
}

caravan_status caravan_memory_info(int32_t kind, int32_t index, int64_t* free_bytes,
                                   int64_t* total_bytes) {
    constexpr const char* op = "memory_info";
    return caravan::guarded([&] {
        int64_t& free = caravan::result(op, "free_bytes", free_bytes);
        int64_t& total = caravan::result(op, "total_bytes", total_bytes);
        if (const auto* device = caravan::check_device(op, kind, index)) {
            caravan::require(op, *device, device->memory_info(index, &free, &total));
            return;
        }
        total = host_memory_bytes();
        const auto page = static_cast<int64_t>(sysconf(_SC_PAGESIZE));
        free = std::min(total, static_cast<int64_t>(sysconf(_SC_AVPHYS_PAGES)) * page);
    });
}

caravan_status caravan_range_push(int32_t kind, const char* name) {
    constexpr const char* op = "range_push";
    return caravan::guarded([&] {
        caravan::check_kind(op, kind);
        caravan::Check(op).that(name != nullptr, "name: got null");
        if (kind == CARAVAN_CUDA && caravan::cuda_library().devices > 0) {
            caravan::cuda_library().entry->range_push(name);
        }
    });
}

caravan_status caravan_range_pop(int32_t kind) {
    return caravan::guarded([&] {
        caravan::check_kind("range_pop", kind);
        if (kind == CARAVAN_CUDA && caravan::cuda_library().devices > 0) {
            caravan::cuda_library().entry->range_pop();
        }
    });
}

caravan_status caravan_device_info(int32_t kind, int32_t index, char* name, int64_t capacity,
                                   int64_t* memory_bytes) {
    constexpr const char* op = "device_info";
    return caravan::guarded([&] {
        const caravan::DeviceEntry* device = caravan::check_device(op, kind, index);
        caravan::result(op, "name", name);
        caravan::result(op, "memory_bytes", memory_bytes);
        caravan::Check(op).that(capacity >= 1, "capacity: got %lld, needs at least 1",
                                static_cast<long long>(capacity));
        if (device != nullptr) {
            caravan::require(op, *device, device->info(index, name, capacity, memory_bytes));
            return;
        }
        const std::string text = processor_name() + " (" + caravan::cpu_kernels().isa + ")";
        const size_t kept = std::min(text.size(), static_cast<size_t>(capacity - 1));
        std::memcpy(name, text.data(), kept);
        name[kept] = '\0';
        *memory_bytes = host_memory_bytes();
    });
}
