// What the compiler calls before every load and store of a kernel: kernels are compiled with
// -fsanitize=thread, but linked with these functions instead of that sanitizer's library.
// The names and signatures are those that GCC emits (gcc/sanitizer.def).
#include <cstddef>
#include <cstdint>

#include "simt/check.h"
#include "simt/report.h"
#include "simt/state.h"

namespace simt {
namespace {

constexpr size_t kStackReserve = size_t{16} << 10;  // of a stack: for the machine's own functions

template <bool kWrites>
inline void access(const void* address, size_t bytes, size_t alignment, const void* caller) {
    auto* const thread = static_cast<Thread*>(running);
    if (thread == nullptr || thread->trusted != 0) return;
    const auto in_stack =
        static_cast<size_t>(static_cast<const char*>(address) - thread->stack.low);
    if (in_stack < kStackBytes || !cluster.checks) return;
    check_access(*thread, address, bytes, alignment, kWrites ? Kind::kWrite : Kind::kRead,
                 kWrites ? "store" : "load", caller);
}

}  // namespace
}  // namespace simt

#define CARAVAN_SIMT_HOOK extern "C" __attribute__((visibility("hidden")))

#define CARAVAN_SIMT_ACCESS(bytes)                                               \
    CARAVAN_SIMT_HOOK void __tsan_read##bytes(void* address) {                   \
        simt::access<false>(address, bytes, bytes, __builtin_return_address(0)); \
    }                                                                            \
    CARAVAN_SIMT_HOOK void __tsan_write##bytes(void* address) {                  \
        simt::access<true>(address, bytes, bytes, __builtin_return_address(0));  \
    }                                                                            \
    CARAVAN_SIMT_HOOK void __tsan_volatile_read##bytes(void* address) {          \
        simt::access<false>(address, bytes, bytes, __builtin_return_address(0)); \
    }                                                                            \
    CARAVAN_SIMT_HOOK void __tsan_volatile_write##bytes(void* address) {         \
        simt::access<true>(address, bytes, bytes, __builtin_return_address(0));  \
    }                                                                            \
    CARAVAN_SIMT_HOOK void __tsan_unaligned_read##bytes(void* address) {         \
        simt::access<false>(address, bytes, 1, __builtin_return_address(0));     \
    }                                                                            \
    CARAVAN_SIMT_HOOK void __tsan_unaligned_write##bytes(void* address) {        \
        simt::access<true>(address, bytes, 1, __builtin_return_address(0));      \
    }
CARAVAN_SIMT_ACCESS(1)
CARAVAN_SIMT_ACCESS(2)
CARAVAN_SIMT_ACCESS(4)
CARAVAN_SIMT_ACCESS(8)
CARAVAN_SIMT_ACCESS(16)

CARAVAN_SIMT_HOOK void __tsan_read_range(void* address, size_t bytes) {
    simt::access<false>(address, bytes, 1, __builtin_return_address(0));
}
CARAVAN_SIMT_HOOK void __tsan_write_range(void* address, size_t bytes) {
    simt::access<true>(address, bytes, 1, __builtin_return_address(0));
}
CARAVAN_SIMT_HOOK void __tsan_vptr_update(void**, void*) {}
CARAVAN_SIMT_HOOK void __tsan_vptr_read(void**) {}
CARAVAN_SIMT_HOOK void __tsan_init() {}

// A function of the kernel begins: a good moment to see whether its stack will do.
CARAVAN_SIMT_HOOK void __tsan_func_entry(void*) {
    const auto* const thread = static_cast<const simt::Thread*>(simt::running);
    if (thread == nullptr) return;
    const char* const here = static_cast<const char*>(__builtin_frame_address(0));
    const auto left = static_cast<size_t>(here - thread->stack.low);
    if (left < simt::kStackReserve) {
        simt::raise_fault(thread, __builtin_return_address(0),
                          "local memory: the thread's stack is full");
    }
}
CARAVAN_SIMT_HOOK void __tsan_func_exit() {}

// Atomics of the C++ library, as host code of a kernel's file uses them (shared pointers, say).
// Always with the strongest order.
#define CARAVAN_SIMT_FETCH(bits, name)                                   \
    CARAVAN_SIMT_HOOK uint##bits##_t __tsan_atomic##bits##_fetch_##name( \
        volatile uint##bits##_t* address, uint##bits##_t value, int) {   \
        return __atomic_fetch_##name(address, value, __ATOMIC_SEQ_CST);  \
    }
#define CARAVAN_SIMT_ATOMICS(bits)                                                             \
    CARAVAN_SIMT_FETCH(bits, add)                                                              \
    CARAVAN_SIMT_FETCH(bits, sub)                                                              \
    CARAVAN_SIMT_FETCH(bits, and)                                                              \
    CARAVAN_SIMT_FETCH(bits, or)                                                               \
    CARAVAN_SIMT_FETCH(bits, xor)                                                              \
    CARAVAN_SIMT_HOOK uint##bits##_t __tsan_atomic##bits##_load(                               \
        const volatile uint##bits##_t* address, int) {                                         \
        return __atomic_load_n(address, __ATOMIC_SEQ_CST);                                     \
    }                                                                                          \
    CARAVAN_SIMT_HOOK void __tsan_atomic##bits##_store(volatile uint##bits##_t* address,       \
                                                       uint##bits##_t value, int) {            \
        __atomic_store_n(address, value, __ATOMIC_SEQ_CST);                                    \
    }                                                                                          \
    CARAVAN_SIMT_HOOK uint##bits##_t __tsan_atomic##bits##_exchange(                           \
        volatile uint##bits##_t* address, uint##bits##_t value, int) {                         \
        return __atomic_exchange_n(address, value, __ATOMIC_SEQ_CST);                          \
    }                                                                                          \
    CARAVAN_SIMT_HOOK int __tsan_atomic##bits##_compare_exchange_strong(                       \
        volatile uint##bits##_t* address, uint##bits##_t* expected, uint##bits##_t value, int, \
        int) {                                                                                 \
        return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_SEQ_CST,  \
                                           __ATOMIC_SEQ_CST);                                  \
    }                                                                                          \
    CARAVAN_SIMT_HOOK int __tsan_atomic##bits##_compare_exchange_weak(                         \
        volatile uint##bits##_t* address, uint##bits##_t* expected, uint##bits##_t value, int, \
        int) {                                                                                 \
        return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_SEQ_CST,  \
                                           __ATOMIC_SEQ_CST);                                  \
    }
CARAVAN_SIMT_ATOMICS(8)
CARAVAN_SIMT_ATOMICS(16)
CARAVAN_SIMT_ATOMICS(32)
CARAVAN_SIMT_ATOMICS(64)
