// Launches by the CUDA runtime.
#pragma once

#include <cuda_runtime.h>

namespace caravan {
namespace tile {

// Turns a runtime error into a status (defined in device.cu).
caravan_status status_of(cudaError_t error);

template <typename Kernel, typename... Args>
void Launcher::start(Kernel kernel, const Config& config, Args... args) {
    constexpr int64_t kAlways = 48 << 10;  // what every kernel gets unasked
    const auto bytes = static_cast<size_t>(config.shared_bytes);
    cudaError_t error = cudaSuccess;
    if (config.shared_bytes > kAlways) {
        error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                     static_cast<int>(bytes));
    }
    cudaLaunchAttribute attributes[1] = {};
    attributes[0].id = cudaLaunchAttributeClusterDimension;
    attributes[0].val.clusterDim.x = static_cast<unsigned>(config.cluster);
    attributes[0].val.clusterDim.y = 1;
    attributes[0].val.clusterDim.z = 1;
    cudaLaunchConfig_t launch = {};
    launch.gridDim = config.grid;
    launch.blockDim = config.block;
    launch.dynamicSmemBytes = bytes;
    launch.stream = static_cast<cudaStream_t>(stream_);
    launch.attrs = attributes;
    launch.numAttrs = config.cluster > 1 ? 1 : 0;
    if (error == cudaSuccess) error = cudaLaunchKernelEx(&launch, kernel, args...);
    if (error != cudaSuccess) {
        cudaGetLastError();  // clears an error that is not sticky
        std::snprintf(message_, sizeof message_, "launch: %s (%s)", cudaGetErrorString(error),
                      cudaGetErrorName(error));
        status_ = status_of(error);
    }
}

}  // namespace tile
}  // namespace caravan
