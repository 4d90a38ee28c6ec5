// What each case put out on the emulation: name and hash of its words. Written by
// `tile_test --record tests/cuda/tile_recorded.h`.
#pragma once

#include <cstdint>

namespace tile_test {

struct Recorded {
    const char* name;
    uint64_t hash;
};

// clang-format off
constexpr Recorded kRecorded[] = {
    {"copy_async", 0x233ddf03b32bf379},
    {"copy_async_filled", 0x56a1cb7da30313f4},
    {"copy_async_ring", 0xd854ad060450ebe5},
    {"load_matrices_1", 0xc32ccb25ac035125},
    {"load_matrices_2", 0x70c809fded29eb25},
    {"load_matrices_4", 0x87bc62c99bdb4f72},
    {"load_matrices_transposed_1", 0x88efb90f4c2541e5},
    {"load_matrices_transposed_2", 0xaa416a154b2a0a25},
    {"load_matrices_transposed_4", 0x63211566185d7772},
    {"store_matrices_1", 0xc32ccb25ac035125},
    {"store_matrices_2", 0x27947e9020666125},
    {"store_matrices_4", 0x69d2224b69f99572},
    {"store_matrices_transposed_1", 0xc32ccb25ac035125},
    {"store_matrices_transposed_2", 0x27947e9020666125},
    {"store_matrices_transposed_4", 0x69d2224b69f99572},
    {"mma_bf16", 0xf4710ece870f5203},
    {"mma_tf32", 0xdc7eafe435c8c655},
    {"tile_product", 0x7127058345d8eb8f},
    {"named_barrier", 0xd9b3391d1df36365},
    {"mbarrier_ring", 0x180fc01a60f0d5c8},
    {"mbarrier_copies", 0x328096d0afc6b4a5},
    {"bulk_copy", 0x29062dccc3026572},
    {"turns", 0x4991e997751838bc},
    {"cluster", 0x66a481a18910e415},
    {"multicast", 0x1f323b4491f91105},
    {"tensor_load_0", 0x054f014468a34ae5},
    {"tensor_load_1", 0xb4dee64c2bf65999},
    {"tensor_load_2", 0xfb9334a13d6271dd},
    {"tensor_load_3", 0x4fe71f81f283045f},
    {"tensor_load_4", 0x7d5aca7bce5fc5ad},
    {"tensor_load_5", 0xf314fbb8ada26575},
    {"tensor_load_6", 0xf3569c3765a8205d},
    {"tensor_load_7", 0xdd44b117d6ddebdb},
    {"tensor_load_8", 0x72f66d145c59c408},
    {"tensor_load_9", 0x4a92d9e879f3c692},
    {"tensor_load_10", 0x3d87c48a8489d125},
    {"tensor_load_11", 0xf4f15accef483ec9},
    {"tensor_store_0", 0x5be74089ec100d65},
    {"tensor_store_1", 0x95ba4d5d34fbc305},
    {"tensor_store_2", 0x8a6474e7c71b8dc3},
    {"tensor_store_4", 0xc4c698146eeb974c},
    {"tensor_store_5", 0x3d39c7eedf3d3e42},
    {"tensor_store_6", 0x524ac6ac43c0a65d},
    {"tensor_store_8", 0x0285dd9625ab7dfc},
    {"tensor_store_10", 0x7b91981fa07bc665},
    {"tensor_store_11", 0xc4c698146eeb974c},
    {"wgmma_n64_k_k", 0xac48d5bacc187085},
    {"wgmma_n64_k_n", 0xac48d5bacc187085},
    {"wgmma_n64_m_k", 0xac48d5bacc187085},
    {"wgmma_n64_m_n", 0xac48d5bacc187085},
    {"wgmma_n64_registers_k", 0xac48d5bacc187085},
    {"wgmma_n64_registers_n", 0xac48d5bacc187085},
    {"wgmma_n128_k_k", 0xf6bc9f79bc8048a4},
    {"wgmma_n128_k_n", 0xf6bc9f79bc8048a4},
    {"wgmma_n128_m_k", 0xf6bc9f79bc8048a4},
    {"wgmma_n128_m_n", 0xf6bc9f79bc8048a4},
    {"wgmma_n128_registers_k", 0xf6bc9f79bc8048a4},
    {"wgmma_n128_registers_n", 0xf6bc9f79bc8048a4},
    {"wgmma_n256_k_k", 0x85a5e693732081ee},
    {"wgmma_n256_k_n", 0x85a5e693732081ee},
    {"wgmma_n256_m_k", 0x85a5e693732081ee},
    {"wgmma_n256_m_n", 0x85a5e693732081ee},
    {"wgmma_n256_registers_k", 0x85a5e693732081ee},
    {"wgmma_n256_registers_n", 0x85a5e693732081ee},
    {"wgmma_n16_k_k", 0xc7040e45503ef0d5},
    {"wgmma_n32_k_k", 0x1996f7191b95bf5e},
    {"wgmma_n96_k_k", 0xc8c9d87d10e14620},
    {"wgmma_n192_k_n", 0x041c06a10d4b28b4},
    {"wgmma_n192_registers_n", 0x041c06a10d4b28b4},
    {"wgmma_n64_k_k_swizzle64", 0xac48d5bacc187085},
    {"wgmma_n64_m_n_swizzle64", 0xac48d5bacc187085},
    {"wgmma_n64_k_k_swizzle32", 0xac48d5bacc187085},
    {"wgmma_n64_m_n_swizzle32", 0xac48d5bacc187085},
    {"wgmma_n64_k_k_plain", 0xac48d5bacc187085},
    {"wgmma_n64_m_n_plain", 0xac48d5bacc187085},
    {"wgmma_pipeline", 0x98182ff447e750b7},
};
// clang-format on

}  // namespace tile_test
