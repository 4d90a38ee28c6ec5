// Launches in the emulation.
#pragma once

#include "simt/machine.h"

namespace caravan {
namespace tile {

template <typename Kernel, typename... Args>
void Launcher::start(Kernel kernel, const Config& config, Args... args) {
    const char* const problem =
        simt::launch(stream_, reinterpret_cast<const void*>(kernel), config.grid, config.block,
                     config.shared_bytes, config.cluster, [kernel, args...] { kernel(args...); });
    if (problem != nullptr) set(CARAVAN_DEVICE_LOST, problem);
}

}  // namespace tile
}  // namespace caravan
