// The table of the kernels that are built, for the entry of a device library.
#include "cuda/kernels.h"

namespace caravan {
namespace cuda {
namespace {

template <typename Args, void (*Launch)(tile::Launcher&, const Args&)>
caravan_status run(int32_t index, void* stream, const Args& args) {
    return with_launcher(
        index, stream,
        [](tile::Launcher& launcher, const void* untyped) {
            Launch(launcher, *static_cast<const Args*>(untyped));
        },
        &args);
}

DeviceKernels built() {
    DeviceKernels kernels = {};
#define CARAVAN_FILL_KERNEL(name, Args) kernels.name = run<Args, name>;
    CARAVAN_CUDA_KERNELS(CARAVAN_FILL_KERNEL)
#undef CARAVAN_FILL_KERNEL
    return kernels;
}

}  // namespace

const DeviceKernels kKernels = built();

}  // namespace cuda
}  // namespace caravan
