#include "core/cuda_library.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>

#include "core/status.h"

namespace caravan {
namespace {

// The folder of the file that holds this very function, its final slash included.
std::string own_folder() {
    Dl_info info;
    const bool known = dladdr(reinterpret_cast<void*>(&own_folder), &info) != 0;
    const std::string file = known && info.dli_fname != nullptr ? info.dli_fname : "";
    return file.substr(0, file.rfind('/') + 1);
}

}  // namespace

CudaLibrary open_cuda_library(const std::string& file) {
    if (access(file.c_str(), F_OK) != 0) {
        return {nullptr, 0, "built without CUDA (no nvcc when it was built)"};
    }
    void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return {nullptr, 0, dlerror()};
    const auto* entry = static_cast<const DeviceEntry*>(dlsym(library, "caravan_cuda_entry"));
    if (entry == nullptr || entry->version != kDeviceEntryVersion) {
        return {nullptr, 0, file + " is of another build; build both again"};
    }
    char reason[512] = "";
    const int32_t devices = entry->probe(reason, sizeof reason);
    return {entry, devices, reason};
}

const CudaLibrary& cuda_library() {
    static const CudaLibrary opened = [] {
        const char* const file = std::getenv("CARAVAN_CUDA_LIBRARY");
        if (file == nullptr || *file == '\0') {
            return open_cuda_library(own_folder() + "libcaravan_cuda.so");
        }
        if (access(file, F_OK) != 0) {
            return CudaLibrary{nullptr, 0,
                               std::string("CARAVAN_CUDA_LIBRARY: there is no file ") + file};
        }
        CudaLibrary library = open_cuda_library(file);
        if (library.entry == nullptr)
            library.reason += std::string(" (CARAVAN_CUDA_LIBRARY is ") + file + ")";
        return library;
    }();
    return opened;
}

void require(const char* op, const DeviceEntry& entry, caravan_status status) {
    if (status != CARAVAN_OK) fail(status, "%s: %s", op, entry.last_error());
}

}  // namespace caravan
