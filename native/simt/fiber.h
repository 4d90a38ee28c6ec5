// Fibers: stacks of their own on one operating-system thread, switched by hand.
#pragma once

#include <cstddef>
#include <vector>

namespace simt {

#ifdef __SANITIZE_ADDRESS__
constexpr size_t kStackBytes = size_t{256} << 10;  // instrumented frames are several times as large
#else
constexpr size_t kStackBytes = size_t{64} << 10;
#endif
constexpr size_t kPageBytes = 4096;

// Part of a pooled mapping, with a page below it that must not be touched.
struct Stack {
    char* low = nullptr;
    char* high = nullptr;
};

// Stacks are made once and used again; only pages that were touched cost memory.
class StackPool {
  public:
    StackPool() = default;
    StackPool(const StackPool&) = delete;
    StackPool& operator=(const StackPool&) = delete;
    ~StackPool();

    // Makes sure that there are so many; false when the system gives no more memory.
    bool reserve(size_t count);
    const Stack& operator[](size_t i) const { return stacks_[i]; }
    bool contains(const void* address) const;

  private:
    struct Slab {
        char* base;
        size_t bytes;
    };
    std::vector<Slab> slabs_;
    std::vector<Stack> stacks_;
};

// One side of a switch: a fiber, or the thread that the machine runs on.
struct Fiber {
    void* stack_pointer = nullptr;
    const void* low = nullptr;  // of its stack, for AddressSanitizer
    size_t bytes = 0;
    void* fake_stack = nullptr;
};

// Lays out a stack so that the first switch to the fiber calls entry(), which must not return.
// `color` spreads the tops of stacks over cache sets.
void prepare(Fiber& fiber, const Stack& stack, void (*entry)(), unsigned color);

// Leaves `from` and continues `to`; returns when something switches back. The last switch of a
// fiber says so.
void switch_to(Fiber& from, Fiber& to, bool last = false);

// The first thing that a fiber's entry does.
void started(Fiber& fiber);

}  // namespace simt
