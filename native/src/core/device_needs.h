// What a GPU and its driver must be for the CUDA kernels.
#pragma once

#include <cstdint>
#include <cstdio>

namespace caravan {

// major * 10 + minor: kernels are built from compute_80 on, whose PTX serves every later one.
inline constexpr int32_t kLeastCapability = 80;

// Whether a GPU of that capability can be used; when not, the reason tells what it would take.
inline bool built_for(int32_t capability, char* reason, int64_t size) {
    if (capability >= kLeastCapability) return true;
    std::snprintf(reason, static_cast<size_t>(size),
                  "the NVIDIA GPU has compute capability %d.%d, needs %d.%d or later",
                  capability / 10, capability % 10, kLeastCapability / 10, kLeastCapability % 10);
    return false;
}

// Why a driver does not serve a runtime of CUDA; both as cudaDriverGetVersion counts: 1000 * major
// + 10 * minor. A driver serves every runtime of its major version and of earlier ones: CUDA
// Compatibility, "Minor Version Compatibility".
inline void driver_too_old(int32_t driver, int32_t runtime, char* reason, int64_t size) {
    std::snprintf(reason, static_cast<size_t>(size),
                  "the NVIDIA driver is for CUDA %d.%d at most, needs to be one for CUDA %d.0 or "
                  "later",
                  driver / 1000, driver % 1000 / 10, runtime / 1000);
}

}  // namespace caravan
