// Rows to devices: a thread for each place and for each assignment.
// Bytes, of the integers alone: A assignments are read, R P places written three times, A once.
#include <algorithm>

#include "core/expert_places.h"
#include "cuda/kernels.h"
#include "cuda/tensors.h"

namespace caravan {
namespace cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) expert_places_kernel(const ExpertPlaces all) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (i < all.devices * all.each) all.fill(i);
    if (i < all.rows) all.find(i);
}

}  // namespace

void expert_places_forward(tile::Launcher& launcher, const caravan_expert_places_args& args) {
    const ExpertPlaces all = expert_places(args);
    const int64_t most = std::max(all.devices * all.each, all.rows);
    if (most == 0) return;
    launcher.run(expert_places_kernel, tile::config((most + kThreads - 1) / kThreads, kThreads),
                 all);
}

}  // namespace cuda
}  // namespace caravan
