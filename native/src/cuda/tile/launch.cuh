// How a launcher starts kernels: no <<<>>>, so that the same source starts them in the emulation
// too.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <type_traits>

#include "caravan/caravan.h"
#include "cuda/tile/arch.cuh"

namespace caravan {
namespace tile {

// What a launcher may know of its device. Results must not depend on `multiprocessors`.
struct Target {
    int32_t capability;  // major * 10 + minor
    int32_t multiprocessors;
    int64_t shared_bytes;  // most dynamic shared memory of a block
};

// One launch.
struct Config {
    dim3 grid;
    dim3 block;
    int64_t shared_bytes = 0;
    int cluster = 1;  // blocks of a cluster, along x; divides grid.x
};

// For a grid of `tasks` blocks along x, at least one.
inline Config config(int64_t tasks, int threads, int64_t shared_bytes = 0) {
    return {dim3(static_cast<unsigned>(tasks > 0 ? tasks : 1)),
            dim3(static_cast<unsigned>(threads)), shared_bytes, 1};
}

// Starts kernels on one stream and keeps the first thing that went wrong.
class Launcher {
  public:
    Launcher(const Target& target, void* stream) : target_(target), stream_(stream) {}

    const Target& target() const { return target_; }
    void* stream() const { return stream_; }

    // Enqueues kernel(args...). After a failure it does nothing.
    template <typename... Params, typename... Args>
    void run(void (*kernel)(Params...), const Config& config, Args&&... args) {
        if (status_ != CARAVAN_OK) return;
        start(kernel, config, static_cast<std::decay_t<Params>>(args)...);
    }

    // Says that this device or shape is not served: "needs ...".
    void refuse(const char* format, ...) __attribute__((format(printf, 2, 3))) {
        if (status_ != CARAVAN_OK) return;
        va_list list;
        va_start(list, format);
        std::vsnprintf(message_, sizeof message_, format, list);
        va_end(list);
        status_ = CARAVAN_UNSUPPORTED;
    }

    caravan_status status() const { return status_; }
    const char* message() const { return message_; }

    void set(caravan_status status, const char* message) {
        status_ = status;
        std::snprintf(message_, sizeof message_, "%s", message);
    }

  private:
    template <typename Kernel, typename... Args>
    void start(Kernel kernel, const Config& config, Args... args);

    Target target_;
    void* stream_;
    caravan_status status_ = CARAVAN_OK;
    char message_[512] = "";
};

}  // namespace tile
}  // namespace caravan

#ifdef CARAVAN_SIMT
#include "simt/tile/launch.h"
#else
#include "cuda/tile/ptx/launch.cuh"
#endif
