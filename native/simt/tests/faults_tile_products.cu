// Misuse of wgmma.
#include "cuda/tile/fence.cuh"
#include "cuda/tile/shared.cuh"
#include "cuda/tile/wgmma.cuh"
#include "simt/tests/faults_tile.h"
#include "simt/tests/plant.h"

namespace plant {
namespace {

namespace tile = caravan::tile;
using tile::Major;

enum Product {
    kGood,
    kNoProxyFence,
    kNoBarrier,
    kNoFence,
    kNoCommit,
    kTooFew,
    kNotNamed,
    kReadEarly,
    kWriteEarly,
    kOverwrite,
    kDisagree,
    kEndEarly,
    kHalf
};

// One product m64n16k16 of ones; sums are 16. `at` is where the tile of b begins, `stride` its
// stride.
__global__ void product_kernel(float* out, int fault, int at, int stride) {
    tile::Shared shared;
    auto* a = shared.take<uint16_t>(64 * 64, 1024);
    auto* b = shared.take<uint16_t>(16 * 64 + 512, 1024);
    const int t = threadIdx.x;
    for (int i = t; i < 64 * 64; i += 128) a[i] = 0x3f80;
    for (int i = t; i < 16 * 64 + 512; i += 128) b[i] = 0x3f80;
    if (fault != kNoProxyFence) tile::fence_async_shared();
    if (fault != kNoBarrier) __syncthreads();
    if (fault == kHalf && t >= 16 && t < 32) return;
    float sums[8];
    const uint64_t a_tile = tile::wgmma_k_major(a);
    const uint64_t b_tile =
        tile::wgmma_descriptor(tile::shared_address(b) + static_cast<uint32_t>(at) +
                                   (fault == kDisagree && t == 9 ? 32u : 0u),
                               16, static_cast<uint32_t>(stride), tile::Swizzle::k128);
    if (fault != kNoFence) tile::wgmma_fence();
    tile::wgmma<16, Major::kK, Major::kK>(sums, a_tile, b_tile, false);
    if (fault != kNoCommit) tile::wgmma_commit();
    if (fault == kWriteEarly) sums[3] = 0;
    if (fault == kOverwrite) b[t] = 0;
    const float early = sums[2];
    if (fault == kEndEarly) return;
    if (fault == kTooFew) {
        tile::wgmma_wait<1>(sums);
    } else if (fault == kNotNamed) {
        tile::wgmma_wait<0>();
    } else {
        tile::wgmma_wait<0>(sums);
    }
    out[t] = fault == kReadEarly ? early : sums[5];
}

bool all_are(const float* values, int count, float expected) {
    for (int i = 0; i < count; ++i) {
        if (values[i] != expected) return false;
    }
    return true;
}

bool all_nan(const float* values, int count) {
    for (int i = 0; i < count; ++i) {
        if (values[i] == values[i]) return false;
    }
    return true;
}

}  // namespace

void test_tile_products() {
    const Buffer<float> out(128);
    const float* values = out;
    const Shape group = {1, 128, 64 * 128 + 16 * 128 + 1024};
    clean("product", product_kernel, group, out, kGood, 0, 1024);
    check(all_are(values, 128, 16), "product", "sums are not 16");
    clean("product further along K", product_kernel, group, out, kGood, 96, 1024);
    caught_by_hooks("operands without a proxy fence", {"no fence.proxy.async", "wgmma"},
                    product_kernel, group, out, kNoProxyFence, 0, 1024);
    caught_by_hooks("operands without a barrier", {"of shared memory", "(wgmma)"}, product_kernel,
                    group, out, kNoBarrier, 0, 1024);
    caught("no wgmma_fence", {"no wgmma_fence since the last wgmma_wait"}, product_kernel, group,
           out, kNoFence, 0, 1024);
    caught("product that no commit closes", {"may still be in flight"}, product_kernel, group, out,
           kNoCommit, 0, 1024);
    caught("wait for one group too few", {"may still be in flight"}, product_kernel, group, out,
           kTooFew, 0, 1024);
    caught("sums written before the wait", {"sums were written before wgmma_wait"}, product_kernel,
           group, out, kWriteEarly, 0, 1024);
    caught_by_hooks("operand overwritten before the wait",
                    {"overwritten while asynchronous work reads it"}, product_kernel, group, out,
                    kOverwrite, 0, 1024);
    caught("thread ends before its products", {"has not waited for"}, product_kernel, group, out,
           kEndEarly, 0, 1024);
    caught("lanes that disagree", {"lanes 0 and 9 of a warp disagree"}, product_kernel, group, out,
           kDisagree, 0, 1024);
    caught("product by half a warp", {"warp"}, product_kernel, group, out, kHalf, 0, 1024);
    caught("tile off the swizzle's period", {"needs its pattern to start at a multiple of 1024"},
           product_kernel, group, out, kGood, 512, 1024);
    caught("K beyond the row", {"16 of K at byte 112"}, product_kernel, group, out, kGood, 112,
           1024);
    caught("tile out of bounds", {"wgmma b: shared addresses"}, product_kernel, group, out, kGood,
           0, 65536);
    // What no message tells: sums are NaN until a wait names them.
    clean("sums read before the wait", product_kernel, group, out, kReadEarly, 0, 1024);
    check(all_nan(values, 128), "sums read before the wait", "they are numbers");
    clean("sums that no wait names", product_kernel, group, out, kNotNamed, 0, 1024);
    check(all_nan(values, 128), "sums that no wait names", "they are numbers");
}

}  // namespace plant
