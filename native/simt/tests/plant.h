// Kernels with a planted fault, and their clean twins. A fault must be caught by every seed, with
// the words that help to find it; a clean kernel must pass under every seed.
#pragma once

#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "simt/cuda.h"
#include "simt/memory.h"
#include "simt/run.h"

namespace plant {

constexpr uint64_t kSeeds[] = {1, 2, 3, 4, 5};

struct Shape {
    dim3 grid = 1, block = 32;
    int64_t shared_bytes = 0;
    int cluster = 1;
};

inline int& failures() {
    static int count = 0;
    return count;
}

inline void check(bool good, const char* name, const std::string& what) {
    if (good) return;
    ++failures();
    std::fprintf(stderr, "failed: %s: %s\n", name, what.c_str());
}

// An argument takes its type from the kernel's parameter.
template <typename T>
struct AsIs {
    using Type = T;
};
template <typename T>
using As = typename AsIs<T>::Type;

// What one launch comes to: empty, or the message.
template <typename... Params>
std::string launch(void (*kernel)(Params...), const Shape& shape, As<Params>... args) {
    const auto body = [kernel, args...] { kernel(args...); };
    using Body = decltype(body);
    const simt::Launch asked = {nullptr,
                                reinterpret_cast<const void*>(kernel),
                                shape.grid,
                                shape.block,
                                shape.shared_bytes,
                                shape.cluster,
                                std::make_shared<std::remove_const_t<Body>>(body),
                                sizeof body,
                                [](void* closure) { (*static_cast<Body*>(closure))(); }};
    bool lost = false;
    return simt::run(asked, lost);
}

// Runs `once` under every seed, and in order.
template <typename Once>
void under_all_seeds(Once&& once) {
    const simt::Settings before = simt::settings();
    for (const uint64_t seed : kSeeds) {
        simt::settings().seed = seed;
        once();
    }
    simt::settings().in_order = true;
    once();
    simt::settings() = before;
}

template <typename... Params>
void clean(const char* name, void (*kernel)(Params...), const Shape& shape, As<Params>... args) {
    under_all_seeds([&] {
        const std::string message = launch(kernel, shape, args...);
        check(message.empty(), name, "a clean kernel was stopped: " + message);
    });
}

// Without its reports only wrappers' own checks can be seen.
using simt::kInstrumented;

template <typename... Params>
void caught(const char* name, std::initializer_list<const char*> parts, void (*kernel)(Params...),
            const Shape& shape, As<Params>... args) {
    under_all_seeds([&] {
        const std::string message = launch(kernel, shape, args...);
        if (message.empty()) return check(false, name, "nothing was caught");
        for (const char* const part : parts) {
            check(message.find(part) != std::string::npos, name,
                  "no '" + std::string(part) + "' in: " + message);
        }
    });
}

// One that only the compiler's reports of loads and stores can show.
template <typename... Params>
void caught_by_hooks(const char* name, std::initializer_list<const char*> parts,
                     void (*kernel)(Params...), const Shape& shape, As<Params>... args) {
    if (kInstrumented) caught(name, parts, kernel, shape, args...);
}

// Device memory of `count` elements, all zero.
template <typename T>
class Buffer {
  public:
    explicit Buffer(size_t count, bool pinned = false)
        : data_(static_cast<T*>(simt::device_memory().allocate(count * sizeof(T), pinned))),
          pinned_(pinned) {
        std::memset(static_cast<void*>(data_), 0, count * sizeof(T));
    }
    ~Buffer() { simt::device_memory().release(data_, pinned_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    operator T*() const { return data_; }

  private:
    T* data_;
    bool pinned_;
};

template <typename T>
T* shared() {
    return reinterpret_cast<T*>(simt::shared_memory());
}

}  // namespace plant
