// wgmma: every order, swizzle and width of its operands; registers handed between warpgroups.
#include "cuda/tile/fence.cuh"
#include "cuda/tile/mbarrier.cuh"
#include "cuda/tile/registers.cuh"
#include "cuda/tile/shared.cuh"
#include "cuda/tile/tma.cuh"
#include "cuda/tile/wgmma.cuh"
#include "tests/cuda/tile_cases.h"

namespace tile_test {
namespace {

namespace tile = caravan::tile;
using tile::Major;
using tile::Mbarrier;
using tile::Swizzle;

constexpr int kM = 64, kK = 64;

// A tile of `extent` (M or N) by kK elements in shared memory, and its descriptors.
//   K-major, swizzle w: panels of w / 2 of K, each [extent, w bytes]
//   MN-major, swizzle w: panels of w / 2 of M or N, each [kK, w bytes]
//   no swizzle: cores of 8 by 8 elements, 128 bytes each, along M or N first
struct Layout {
    Major major;
    Swizzle swizzle;
    int extent;

    __host__ __device__ constexpr int width() const {
        return static_cast<int>(tile::swizzle_width(swizzle));
    }
    __host__ __device__ constexpr int core_column() const { return extent / 8 * 128; }

    __device__ uint32_t offset(int mn, int k) const {
        if (swizzle == Swizzle::kNone) {
            const int core = k / 8 * core_column() + mn / 8 * 128;
            const bool k_inside = major == Major::kK;
            return static_cast<uint32_t>(
                core + (k_inside ? mn % 8 * 16 + k % 8 * 2 : k % 8 * 16 + mn % 8 * 2));
        }
        const int along = major == Major::kK ? k : mn, across = major == Major::kK ? mn : k;
        const int rows = major == Major::kK ? extent : kK, panel = width() / 2;
        return tile::swizzled(swizzle, static_cast<uint32_t>(along / panel * rows * width() +
                                                             across * width() + along % panel * 2));
    }

#if CARAVAN_SM90A
    // Of 16 of K from k on.
    __device__ uint64_t descriptor(const unsigned char* memory, int k) const {
        if (swizzle == Swizzle::k128 && major == Major::kK) {
            return tile::wgmma_advance(tile::wgmma_k_major(memory), static_cast<uint32_t>(k * 2));
        }
        if (swizzle == Swizzle::k128) {
            return tile::wgmma_advance(tile::wgmma_mn_major(memory, kK * 128),
                                       static_cast<uint32_t>(k * 128));
        }
        int start = k / 8 * core_column(), leading = core_column(), stride = 128;
        if (swizzle != Swizzle::kNone) {
            const int panel = width() / 2;
            start = major == Major::kK ? k / panel * extent * width() + k % panel * 2 : k * width();
            leading = major == Major::kK ? 16 : kK * width();
            stride = 8 * width();
        }
        return tile::wgmma_descriptor(tile::shared_address(memory) + static_cast<uint32_t>(start),
                                      static_cast<uint32_t>(leading), static_cast<uint32_t>(stride),
                                      swizzle);
    }
#endif
};

// out[i * 128 + thread] is sum i of a thread: a b + 1 + (the first 16 of K of a b), for row-major
// a [64, 64] and b [64, N].
template <int kN, Major kMajorA, Major kMajorB, Swizzle kSwizzle, bool kRegisters>
__global__ void __launch_bounds__(128)
    wgmma_kernel(const uint16_t* a, const uint16_t* b, float* out) {
    tile::Shared shared;
    auto* a_tile = shared.take<unsigned char>(kM * kK * 2, 1024);
    auto* b_tile = shared.take<unsigned char>(kN * kK * 2, 1024);
    constexpr Layout kLayoutA = {kMajorA, kSwizzle, kM}, kLayoutB = {kMajorB, kSwizzle, kN};
    const int t = threadIdx.x;
    for (int i = t; i < kM * kK; i += 128) {
        *reinterpret_cast<uint16_t*>(a_tile + kLayoutA.offset(i / kK, i % kK)) = a[i];
    }
    for (int i = t; i < kN * kK; i += 128) {
        *reinterpret_cast<uint16_t*>(b_tile + kLayoutB.offset(i % kN, i / kN)) = b[i];
    }
    tile::fence_async_shared();
    __syncthreads();
#if CARAVAN_SM90A
    float sums[kN / 2];
    const auto add_product = [&](int k, bool add) {
        const uint64_t b_part = kLayoutB.descriptor(b_tile, k);
        if constexpr (kRegisters) {
            uint32_t a_part[4];
            for (int r = 0; r < 4; ++r) {
                const auto at = [&](int i) {
                    return a[tile::Wgmma64::a_row(t, i) * kK + k + tile::Wgmma64::a_column(t, i)];
                };
                a_part[r] = at(2 * r) | static_cast<uint32_t>(at(2 * r + 1)) << 16;
            }
            tile::wgmma_fence();
            tile::wgmma<kN, kMajorB>(sums, a_part, b_part, add);
        } else {
            tile::wgmma_fence();
            tile::wgmma<kN, kMajorA, kMajorB>(sums, kLayoutA.descriptor(a_tile, k), b_part, add);
        }
    };
    for (int k = 0; k < kK; k += 16) add_product(k, k > 0);
    tile::wgmma_commit();
    tile::wgmma_wait<0>(sums);
    for (float& sum : sums) sum += 1;
    add_product(0, true);
    tile::wgmma_commit();
    tile::wgmma_wait<0>(sums);
    for (int i = 0; i < kN / 2; ++i) out[i * 128 + t] = sums[i];
#endif
}

int product(int n, int k_extent, int row, int column) {
    int sum = 0;
    for (int k = 0; k < k_extent; ++k) {
        sum +=
            small(row * kK + k + (int64_t{11} << 32)) * small(k * n + column + (int64_t{12} << 32));
    }
    return sum;
}

template <int kN, Major kMajorA, Major kMajorB, Swizzle kSwizzle, bool kRegisters>
Result wgmma_case(Device& device) {
    Buffer a(device, matrix(kM, kK, 11)), b(device, matrix(kK, kN, 12)), out(device, kM * kN);
    Result result;
    result.fault = launch(device, wgmma_kernel<kN, kMajorA, kMajorB, kSwizzle, kRegisters>,
                          tile::config(1, 128, (kM + kN) * kK * 2), a.as<const uint16_t>(),
                          b.as<const uint16_t>(), out.as<float>());
    result.got = out.read();
    for (int i = 0; i < kN / 2; ++i) {
        for (int t = 0; t < 128; ++t) {
            const int row = tile::Wgmma64::sum_row(t, i), column = tile::Wgmma64::sum_column(t, i);
            result.expected.push_back(bits_of(static_cast<float>(product(kN, kK, row, column) + 1 +
                                                                 product(kN, 16, row, column))));
        }
    }
    return result;
}

// A producer warpgroup with few registers and two consumers with many: tiles of a [128, 256]
// (K-major) and b [256, 128] (N-major: two panels) come by tensor copies through a ring of three;
// products of one stage stay in flight while the next are started.
constexpr int kStages = 3, kDepth = 256, kTall = 128, kWide = 128;
constexpr int kStageBytes = (kTall + kWide) * kK * 2;

__global__ void __launch_bounds__(384, 1)
    wgmma_pipeline_kernel(const __grid_constant__ tile::TensorMap a,
                          const __grid_constant__ tile::TensorMap b, float* out) {
#if CARAVAN_SM90A
    tile::Shared shared;
    auto* ring = shared.take<unsigned char>(kStages * kStageBytes, 1024);
    auto* full = shared.take<Mbarrier>(kStages);
    auto* free = shared.take<Mbarrier>(kStages);
    const int group = threadIdx.x / 128, t = threadIdx.x % 128;
    if (threadIdx.x == 0) {
        for (int s = 0; s < kStages; ++s) {
            tile::mbarrier_init(full + s, 1);
            tile::mbarrier_init(free + s, 8);  // warps that read
        }
        tile::mbarrier_init_fence();
    }
    __syncthreads();
    if (group == 0) {
        tile::registers_release<40>();
        if (t != 0) return;
        for (int i = 0; i < kDepth / kK; ++i) {
            const int s = i % kStages;
            unsigned char* stage = ring + s * kStageBytes;
            tile::mbarrier_wait(free + s, static_cast<uint32_t>(i / kStages % 2 ^ 1));
            tile::mbarrier_arrive_expect(full + s, kStageBytes);
            tile::tma_load(stage, a, i * kK, 0, full + s);
            for (int panel = 0; panel < kWide / 64; ++panel) {
                tile::tma_load(stage + kTall * 128 + panel * kK * 128, b, panel * 64, i * kK,
                               full + s);
            }
        }
        return;
    }
    tile::registers_claim<232>();
    float sums[kWide / 2];
    for (int i = 0; i < kDepth / kK; ++i) {
        const int s = i % kStages;
        const unsigned char* stage = ring + s * kStageBytes;
        tile::mbarrier_wait(full + s, static_cast<uint32_t>(i / kStages % 2));
        tile::wgmma_fence();
        for (int k = 0; k < kK; k += 16) {
            tile::wgmma<kWide, Major::kK, Major::kMN>(
                sums,
                tile::wgmma_advance(tile::wgmma_k_major(stage + (group - 1) * 64 * 128),
                                    static_cast<uint32_t>(k * 2)),
                tile::wgmma_advance(tile::wgmma_mn_major(stage + kTall * 128, kK * 128),
                                    static_cast<uint32_t>(k * 128)),
                i + k > 0);
        }
        tile::wgmma_commit();
        tile::wgmma_wait<1>();
        if (i > 0 && t % 32 == 0) tile::mbarrier_arrive(free + (i - 1) % kStages);
    }
    tile::wgmma_wait<0>(sums);
    for (int i = 0; i < kWide / 2; ++i) {
        const int row = (group - 1) * 64 + tile::Wgmma64::sum_row(t, i);
        out[row * kWide + tile::Wgmma64::sum_column(t, i)] = sums[i];
    }
#endif
}

Result wgmma_pipeline_case(Device& device) {
    Buffer a(device, matrix(kTall, kDepth, 13)), b(device, matrix(kDepth, kWide, 14));
    Buffer out(device, kTall * kWide);
    const auto map = [](const void* data, int columns, int rows, int box_rows,
                        tile::TensorMap* made) {
        tile::TensorMapShape shape;
        shape.data = data;
        shape.rank = 2;
        shape.extent[0] = columns;
        shape.extent[1] = rows;
        shape.stride_bytes[1] = columns * 2;
        shape.box[0] = 64;
        shape.box[1] = box_rows;
        shape.swizzle = Swizzle::k128;
        return tile::make_tensor_map(shape, made);
    };
    tile::TensorMap a_map, b_map;
    Result result;
    if (!map(a.as<void>(), kDepth, kTall, kTall, &a_map) ||
        !map(b.as<void>(), kWide, kDepth, kK, &b_map)) {
        result.fault = "no tensor map";
        return result;
    }
    result.fault = launch(device, wgmma_pipeline_kernel,
                          tile::config(1, 384, kStages * kStageBytes + kStages * 16), a_map, b_map,
                          out.as<float>());
    result.got = out.read();
    for (int i = 0; i < kTall * kWide; ++i) {
        int sum = 0;
        for (int k = 0; k < kDepth; ++k) {
            sum += small(i / kWide * kDepth + k + (int64_t{13} << 32)) *
                   small(k * kWide + i % kWide + (int64_t{14} << 32));
        }
        result.expected.push_back(bits_of(static_cast<float>(sum)));
    }
    return result;
}

template <int kN, Major kMajorA, Major kMajorB, Swizzle kSwizzle, bool kRegisters>
void add(std::vector<Case>& cases, const char* how) {
    cases.push_back({"wgmma_n" + std::to_string(kN) + "_" + how, 90, true,
                     wgmma_case<kN, kMajorA, kMajorB, kSwizzle, kRegisters>});
}

template <int kN>
void add_majors(std::vector<Case>& cases) {
    constexpr Major kKMajor = Major::kK, kMN = Major::kMN;
    add<kN, kKMajor, kKMajor, Swizzle::k128, false>(cases, "k_k");
    add<kN, kKMajor, kMN, Swizzle::k128, false>(cases, "k_n");
    add<kN, kMN, kKMajor, Swizzle::k128, false>(cases, "m_k");
    add<kN, kMN, kMN, Swizzle::k128, false>(cases, "m_n");
    add<kN, kKMajor, kKMajor, Swizzle::k128, true>(cases, "registers_k");
    add<kN, kKMajor, kMN, Swizzle::k128, true>(cases, "registers_n");
}

}  // namespace

std::vector<Case> wgmma_cases() {
    constexpr Major kKMajor = Major::kK, kMN = Major::kMN;
    std::vector<Case> cases;
    add_majors<64>(cases);
    add_majors<128>(cases);
    add_majors<256>(cases);
    add<16, kKMajor, kKMajor, Swizzle::k128, false>(cases, "k_k");
    add<32, kKMajor, kKMajor, Swizzle::k128, false>(cases, "k_k");
    add<96, kKMajor, kKMajor, Swizzle::k128, false>(cases, "k_k");
    add<192, kKMajor, kMN, Swizzle::k128, false>(cases, "k_n");
    add<192, kKMajor, kMN, Swizzle::k128, true>(cases, "registers_n");
    add<64, kKMajor, kKMajor, Swizzle::k64, false>(cases, "k_k_swizzle64");
    add<64, kMN, kMN, Swizzle::k64, false>(cases, "m_n_swizzle64");
    add<64, kKMajor, kKMajor, Swizzle::k32, false>(cases, "k_k_swizzle32");
    add<64, kMN, kMN, Swizzle::k32, false>(cases, "m_n_swizzle32");
    add<64, kKMajor, kKMajor, Swizzle::kNone, false>(cases, "k_k_plain");
    add<64, kMN, kMN, Swizzle::kNone, false>(cases, "m_n_plain");
    cases.push_back({"wgmma_pipeline", 90, true, wgmma_pipeline_case});
    return cases;
}

}  // namespace tile_test
