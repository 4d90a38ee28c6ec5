// Tiles of attention for sm_90a: tensor copies of rows, and sums as wgmma takes them.
#pragma once

#include "cuda/attention_bias.cuh"
#include "cuda/attention_tensor.cuh"
#include "cuda/attention_tiles.h"
#include "cuda/tile/mbarrier.cuh"
#include "cuda/tile/tma.cuh"
#include "cuda/tile/wgmma.cuh"

namespace caravan {
namespace cuda {
namespace sm90 {

using namespace tensor;
using tile::Major;
using tile::Mbarrier;

// A tile of rows as wgmma takes it: panels of 64 elements, each [rows, 128 bytes], swizzled.
inline constexpr int kLine = 128;   // bytes of a row in a panel
inline constexpr int kPanel = 64;   // elements of it
inline constexpr int kGroup = 128;  // threads of a warpgroup

// What is in a block of the forward pass. Queries lie by warpgroups, [groups][panels][64][128
// bytes]; with two stages the next tile's arrive while those of one are used.
template <int kWidth_, int kValueWidth_, int kGroups_, int kKeys_, int kQueryStages_>
struct ForwardShape {
    static constexpr int kWidth = kWidth_, kValueWidth = kValueWidth_;
    static constexpr int kGroups = kGroups_, kKeys = kKeys_;
    static constexpr int kStages = 2, kQueryStages = kQueryStages_;
    static constexpr int kQueries = kGroups * 64, kConsumers = kGroups * kGroup;
    static constexpr int kThreads = kConsumers + kGroup;
    static constexpr int kGroupBytes = 64 * kWidth * 2;
    static constexpr int kQueryBytes = kGroups * kGroupBytes;
    static constexpr int kKeyBytes = kKeys * kWidth * 2, kValueBytes = kKeys * kValueWidth * 2;
    static constexpr int kBytes = kQueryStages * kQueryBytes + kStages * (kKeyBytes + kValueBytes);
    static constexpr int kProducerRegisters =
        attention_sm90_registers(AttentionPass::kForward, attention_widths(kWidth, kValueWidth))
            .producer;
    static constexpr int kConsumerRegisters =
        attention_sm90_registers(AttentionPass::kForward, attention_widths(kWidth, kValueWidth))
            .consumer;
    static_assert(kGroup * kProducerRegisters + kConsumers * kConsumerRegisters <= 65536,
                  "a multiprocessor has so many registers");
    // Beside sums of 256 columns biases spill.
    static constexpr bool kBiased = kWidth <= 192;
    static_assert(kQueryBytes % 1024 == 0 && kKeyBytes % 1024 == 0 && kValueBytes % 1024 == 0,
                  "tiles begin with the pattern");
    static_assert(kValueWidth <= kWidth, "results are staged where the queries were");
};

// Number i of a ring's tiles: its stage, and the parity of the phase in which it arrives.
template <int kStages>
struct Turn {
    int stage;
    uint32_t parity;

    __device__ __forceinline__ explicit Turn(int i)
        : stage(i % kStages), parity(static_cast<uint32_t>(i / kStages % 2)) {}
};

// Calls body(slot, head) for the tiles of this block, one after the other, of all that `order` has.
template <typename Body>
__device__ __forceinline__ void each_tile(const AttentionOrder& order, const Body& body) {
    const uint32_t blocks = gridDim.x, tiles = order.slots * order.heads;
    for (uint32_t first = 0, back = 0; first < tiles; first += blocks, back ^= 1) {
        // There and back, so that no block has the heaviest tile of every round.
        const uint32_t tile = first + (back != 0 ? blocks - 1 - blockIdx.x : blockIdx.x);
        if (tile >= tiles) continue;
        const AttentionOrder::Tile at = order.tile(tile);
        body(static_cast<int>(at.slot), static_cast<int>(at.head));
    }
}

// Copies of rows from `row` on, one for each panel.
template <int kWidth>
__device__ __forceinline__ void load_rows(unsigned char* to, int panel_rows,
                                          const tile::TensorMap& map, int head, int row,
                                          Mbarrier* barrier) {
#pragma unroll
    for (int panel = 0; panel < kWidth / kPanel; ++panel) {
        tile::tma_load(to + panel * panel_rows * kLine, map, panel * kPanel, head, row, barrier);
    }
}

// Biases of tiles of kRows by kColumns, in shared memory: a ring that one warp fills.
template <int kRows, int kColumns, int kStages>
struct BiasRing {
    using Tile = BiasTile<kRows, kColumns>;
    // Have arrived; have been read by all consumer warps.
    Mbarrier arrived[kStages], free[kStages];
    int single[kStages];  // see BiasTile

    static constexpr int64_t kBytes = kStages * Tile::bytes(false);

    __device__ __forceinline__ void begin(int warps) {
        for (int stage = 0; stage < kStages; ++stage) {
            tile::mbarrier_init(arrived + stage, 1);
            tile::mbarrier_init(free + stage, static_cast<uint32_t>(warps));
        }
    }

    __device__ __forceinline__ static Tile at(unsigned char* memory, int stage) {
        return Tile::in(memory + stage * Tile::bytes(false), false);
    }

    // Number i of the tiles, by a warp.
    __device__ __forceinline__ void fill(const Bias& bias, unsigned char* memory, int i, int head,
                                         int origin, int sign) {
        const Turn<kStages> turn(i);
        tile::mbarrier_wait(free + turn.stage, turn.parity ^ 1);
        at(memory, turn.stage).fill(bias, head, origin, sign, single + turn.stage);
        __syncwarp();
        if (lane() == 0) tile::mbarrier_arrive(arrived + turn.stage);
    }

    // scores = scores * scale + bias with number i of the tiles, for a warp's rows.
    template <int kN>
    __device__ __forceinline__ void add(float (&scores)[1][kN][4], float scale,
                                        unsigned char* memory, int i, int warp_row) {
        const Turn<kStages> turn(i);
        tile::mbarrier_wait(arrived + turn.stage, turn.parity);
        at(memory, turn.stage).add(scores, scale, warp_row, single[turn.stage]);
        __syncwarp();
        if (lane() == 0) tile::mbarrier_arrive(free + turn.stage);
    }
};

// A warpgroup's sums as wgmma takes them.
template <int kN>
__device__ __forceinline__ float (&flat(float (&sums)[1][kN][4]))[kN * 4] {
    return reinterpret_cast<float(&)[kN * 4]>(sums);
}

// Boxes of `rows` rows of one head, a panel wide.
inline bool map_rows(const caravan_tensor& tensor, int rows, tile::TensorMap* map) {
    tile::TensorMapShape shape;
    shape.data = tensor.data;
    shape.rank = 3;
    const int32_t box[3] = {kPanel, 1, rows};
    for (int i = 0; i < 3; ++i) {
        shape.extent[i] = tensor.shape[2 - i];
        // Of a single head or row it may be anything.
        shape.stride_bytes[i] = shape.extent[i] == 1 ? 16 : tensor.stride[2 - i] * 2;
        shape.box[i] = box[i];
    }
    shape.swizzle = tile::Swizzle::k128;
    return tile::make_tensor_map(shape, map);
}

}  // namespace sm90
}  // namespace cuda
}  // namespace caravan
