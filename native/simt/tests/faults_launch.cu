// Launches that no device accepts, and what each capability allows.
#include "simt/tests/faults.h"
#include "simt/tests/plant.h"

namespace plant {
namespace {

__global__ void nothing_kernel() {}

void refused(const char* name, const char* part, const Shape& shape) {
    caught(name, {"nothing_kernel: ", part}, nothing_kernel, shape);
}

}  // namespace

void test_launches() {
    clean("one thread", nothing_kernel, {1, 1});
    clean("a full block", nothing_kernel, {3, dim3(32, 4, 8)});
    refused("too many threads", "a block of 1025x1x1 threads", {1, 1025});
    refused("no threads", "a block of 0x1x1 threads", {1, 0});
    refused("too deep", "64 at most along z", {1, dim3(1, 1, 65)});
    refused("no blocks", "a grid of 0x1x1 blocks", {0, 32});
    refused("too many rows", "a grid of 1x65536x1 blocks", {dim3(1, 65536), 32});
    refused("nine blocks", "clusters of 9 blocks", {9, 32, 0, 9});
    refused("not divided", "clusters of 2 blocks in a grid of 3", {3, 32, 0, 2});

    const simt::Settings before = simt::settings();
    const std::pair<int32_t, int64_t> limits[] = {
        {80, 163}, {86, 99}, {89, 99}, {90, 227}, {120, 99}};
    for (const auto& [capability, kilobytes] : limits) {
        simt::settings().capability = capability;
        clean("all shared memory", nothing_kernel, {1, 32, kilobytes << 10});
        refused("more shared memory", "bytes of shared memory a block",
                {1, 32, (kilobytes << 10) + 1});
        if (capability < 90) refused("a cluster", "a cluster; sm_8", {2, 32, 0, 2});
    }
    simt::settings() = before;
}

}  // namespace plant
