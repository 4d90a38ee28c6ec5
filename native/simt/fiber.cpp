#include "simt/fiber.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// void caravan_simt_switch(void** save, void* load): keeps what the System V ABI says a callee
// keeps on the old stack, and takes it from the new one. The floating-point control words are the
// same for all.
asm(R"(
    .text
    .p2align 4
    .globl caravan_simt_switch
    .hidden caravan_simt_switch
    .type caravan_simt_switch, @function
caravan_simt_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size caravan_simt_switch, .-caravan_simt_switch
)");
extern "C" void caravan_simt_switch(void** save, void* load);

namespace simt {
namespace {

constexpr size_t kStacksPerSlab = 128;

}  // namespace

StackPool::~StackPool() {
    for (const Slab& slab : slabs_) munmap(slab.base, slab.bytes);
}

bool StackPool::reserve(size_t count) {
    while (stacks_.size() < count) {
        const size_t stride = kStackBytes + kPageBytes;
        const size_t bytes = kStacksPerSlab * stride;
        void* const mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
        if (mapped == MAP_FAILED) return false;
        char* const base = static_cast<char*>(mapped);
        slabs_.push_back({base, bytes});
        for (size_t i = 0; i < kStacksPerSlab; ++i) {
            char* const guard = base + i * stride;
            if (mprotect(guard, kPageBytes, PROT_NONE) != 0) return false;
            stacks_.push_back({guard + kPageBytes, guard + stride});
        }
    }
    return true;
}

bool StackPool::contains(const void* address) const {
    const auto* const a = static_cast<const char*>(address);
    return std::any_of(slabs_.begin(), slabs_.end(), [a](const Slab& slab) {
        return a >= slab.base && a < slab.base + slab.bytes;
    });
}

void prepare(Fiber& fiber, const Stack& stack, void (*entry)(), unsigned color) {
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(stack.low, static_cast<size_t>(stack.high - stack.low));
    fiber.fake_stack = nullptr;
#endif
    // Six registers, the address that `ret` takes, and a word so that entry() starts as if called.
    auto* const top = reinterpret_cast<uintptr_t*>(stack.high - (color * 5 % 32) * 128);
    top[-1] = 0;
    top[-2] = reinterpret_cast<uintptr_t>(entry);
    std::fill(top - 8, top - 2, uintptr_t{0});
    fiber.stack_pointer = top - 8;
    fiber.low = stack.low;
    fiber.bytes = static_cast<size_t>(stack.high - stack.low);
}

void started(Fiber& fiber) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fiber.fake_stack, nullptr, nullptr);
#else
    (void)fiber;
#endif
}

void switch_to(Fiber& from, Fiber& to, bool last) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_stack, to.low, to.bytes);
    caravan_simt_switch(&from.stack_pointer, to.stack_pointer);
    const void* low = nullptr;
    size_t bytes = 0;
    __sanitizer_finish_switch_fiber(from.fake_stack, &low, &bytes);
#else
    (void)last;
    caravan_simt_switch(&from.stack_pointer, to.stack_pointer);
#endif
}

}  // namespace simt
