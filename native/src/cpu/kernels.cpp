#include "cpu/kernels.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "core/status.h"

namespace caravan {
namespace {

#define CARAVAN_KERNEL_V3(name, Args) v3::name,
#define CARAVAN_KERNEL_V4(name, Args) v4::name,
const CpuKernels kV3 = {"x86-64-v3", CARAVAN_KERNELS(CARAVAN_KERNEL_V3)};
const CpuKernels kV4 = {"x86-64-v4", CARAVAN_KERNELS(CARAVAN_KERNEL_V4)};
#undef CARAVAN_KERNEL_V3
#undef CARAVAN_KERNEL_V4

std::atomic<caravan_sgemm> sgemm{nullptr};

// What CARAVAN_ISA says; null when it says nothing.
const char* wished_isa() {
    const char* wish = std::getenv("CARAVAN_ISA");
    return wish == nullptr || *wish == '\0' ? nullptr : wish;
}

const CpuKernels* choose() {
    __builtin_cpu_init();
    const bool has_v3 = __builtin_cpu_supports("x86-64-v3");
    const bool has_v4 = __builtin_cpu_supports("x86-64-v4");
    if (const char* wish = wished_isa()) {
        if (std::strcmp(wish, "v3") == 0 && has_v3) return &kV3;
        if (std::strcmp(wish, "v4") == 0 && has_v4) return &kV4;
        fail(CARAVAN_UNSUPPORTED,
             "cpu: CARAVAN_ISA is '%s', needs v3 or v4 and a processor that has it", wish);
    }
    if (has_v4) return &kV4;
    if (has_v3) return &kV3;
    fail(CARAVAN_UNSUPPORTED,
         "cpu: this processor is older than x86-64-v3 (it needs AVX2, FMA, BMI2 and F16C)");
}

}  // namespace

const CpuKernels& cpu_kernels() {
    static const CpuKernels* const chosen = choose();
    return *chosen;
}

bool cpu_has_bf16_dots() {
    static const bool has = [] {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx512bf16") != 0 && wished_isa() == nullptr;
    }();
    return has;
}

caravan_sgemm cpu_sgemm() {
    const caravan_sgemm product = sgemm.load(std::memory_order_acquire);
    if (product == nullptr) {
        fail(CARAVAN_UNSUPPORTED, "cpu: no matrix product is set; call caravan_set_sgemm first");
    }
    return product;
}

}  // namespace caravan

caravan_status caravan_set_sgemm(void* product) {
    caravan::sgemm.store(reinterpret_cast<caravan_sgemm>(product), std::memory_order_release);
    return CARAVAN_OK;
}
