// What the code being compiled may use. In the emulation everything is there; the launcher chooses
// a route by the device's capability.
#pragma once

#ifdef CARAVAN_SIMT
#include "simt/cuda.h"
#else
#include <cuda_runtime.h>
#endif

// Instructions of sm_90a (wgmma, setmaxnreg). Code for other architectures must not contain them,
// so the body of a kernel that needs them stands between #if CARAVAN_SM90A and #endif.
#if defined(CARAVAN_SIMT) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define CARAVAN_SM90A 1
#else
#define CARAVAN_SM90A 0
#endif

// Instructions from compute capability 9.0 on: bulk copies, mbarrier transactions, clusters,
// stmatrix.
#if defined(CARAVAN_SIMT) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900)
#define CARAVAN_SM90 1
#else
#define CARAVAN_SM90 0
#endif

namespace caravan {
namespace tile {

inline constexpr int kWarp = 32;                    // threads of a warp
inline constexpr unsigned kFullMask = 0xffffffffu;  // all lanes of a warp

}  // namespace tile
}  // namespace caravan
