// Which route an attention takes and with which tiles: pure functions of shapes, strides and the
// device's capability.
#pragma once

#include <algorithm>
#include <cstdint>

#include "caravan/caravan.h"
#include "core/attention_plan.h"
#include "core/host_device.h"

namespace caravan {
namespace cuda {

// Widths of keys and values that a kernel is made for; narrower ones are filled up with zeros.
// k192: keys of 192, values of 128.
enum class AttentionWidths { k64, k128, k192, k256 };

// kSm90: wgmma and tensor copies. kDecode: few queries for each document, or pages.
enum class AttentionRoute { kPlain, kMma, kSm90, kDecode };

struct AttentionConfig {
    AttentionRoute route;
    AttentionWidths widths;  // of any route but the plain one
};

// Rows and windows are counted in 32 bits by all routes but the plain one.
inline constexpr int64_t kAttentionMostRows = int64_t{1} << 29;

// The order in which blocks of a fixed number take tiles, each a slot of queries (attention_slots)
// of a head. Heads come by sections whose keys and values a device's cache can hold; in a section
// the last slots, whose queries see most keys when attention is causal, come first, each for all
// its heads.
struct AttentionOrder {
    uint32_t slots, heads, section;  // section: heads of one

    struct Tile {
        uint32_t slot, head;
    };

    // Number `i` of slots * heads.
    CARAVAN_HOST_DEVICE Tile tile(uint32_t i) const {
        const uint32_t whole = slots * section, number = i / whole, inside = i - number * whole;
        const uint32_t first = number * section;
        const uint32_t wide = heads - first < section ? heads - first : section;
        return {slots - 1 - inside / wide, first + inside % wide};
    }
};

// Bytes of keys and values in a section; a cache of sm_90a has 50 MB.
inline constexpr int64_t kAttentionSectionBytes = int64_t{24} << 20;

// queries: of a slot.
inline AttentionOrder attention_order(const caravan_attention_forward_args& args, int64_t queries) {
    const int64_t heads = args.q.shape[1], kv_heads = args.k.shape[1];
    const int64_t bytes = args.k.shape[0] * (args.k.shape[2] + args.v.shape[2]) * 2;
    const int64_t kept =
        std::clamp<int64_t>(kAttentionSectionBytes / std::max<int64_t>(bytes, 1), 1, kv_heads);
    AttentionOrder order = {};
    order.slots =
        static_cast<uint32_t>(attention_slots(args.q.shape[0], args.cu_q.shape[0] - 1, queries));
    order.heads = static_cast<uint32_t>(heads);
    order.section = static_cast<uint32_t>(kept * (heads / kv_heads));
    return order;
}

// Buckets of a bias beyond which only the plain route serves.
inline constexpr int kBiasBucketsMost = 64;

constexpr AttentionWidths attention_widths(int64_t width, int64_t value_width) {
    if (width <= 64 && value_width <= 64) return AttentionWidths::k64;
    if (width <= 128 && value_width <= 128) return AttentionWidths::k128;
    return width <= 192 && value_width <= 128 ? AttentionWidths::k192 : AttentionWidths::k256;
}

// Whether rows of a [T, H, N] tensor of bf16 are moved in 16 bytes.
inline bool wide_heads(const caravan_tensor& tensor) {
    return tensor.shape[2] % 8 == 0 && tensor.stride[0] % 8 == 0 && tensor.stride[1] % 8 == 0 &&
           reinterpret_cast<uintptr_t>(tensor.data) % 16 == 0;
}

// Whether a tensor map can tell of a [T, H, N] tensor of bf16: it knows no stride of 0, by which
// heads or rows share their memory, and none of 2^40 bytes.
inline bool mapped_heads(const caravan_tensor& tensor) {
    for (int axis = 0; axis < 2; ++axis) {
        const int64_t stride = tensor.stride[axis];
        if (tensor.shape[axis] > 1 && (stride < 1 || stride >= int64_t{1} << 39)) return false;
    }
    return true;
}

// Of what both directions have.
template <typename Args>
AttentionConfig attention_common_config(const Args& args) {
    const AttentionConfig plain = {AttentionRoute::kPlain, AttentionWidths::k64};
    const int64_t width = args.q.shape[2], value_width = args.v.shape[2];
    const bool wide = args.q.dtype == CARAVAN_BF16 && wide_heads(args.q) && wide_heads(args.k) &&
                      wide_heads(args.v) && wide_heads(args.out);
    const bool small = args.q.shape[0] + args.k.shape[0] < kAttentionMostRows;
    const bool positive = args.scale > 0;  // the largest product then has the largest score
    const bool biased = args.bias_table.data != nullptr;
    const bool few =
        !biased || (args.bias_table.shape[0] <= kBiasBucketsMost && !(args.soft_cap > 0));
    if (!wide || !small || !positive || !few || std::max(width, value_width) > 256) return plain;
    return {AttentionRoute::kMma, attention_widths(width, value_width)};
}

// Whether wgmma and tensor copies serve what mma.sync serves.
template <typename Args>
bool attention_serves_sm90(const Args& args) {
    // A tensor map needs rows to map; tiles are counted in 32 bits.
    const bool rows = args.q.shape[0] > 0 && args.k.shape[0] > 0 && mapped_heads(args.q) &&
                      mapped_heads(args.k) && mapped_heads(args.v);
    const int64_t slots = attention_slots(args.q.shape[0], args.cu_q.shape[0] - 1, 64);
    const bool counted = slots * args.q.shape[1] < int64_t{1} << 31;
    // With biases heads of 256 have no registers left.
    const bool narrow = attention_widths(args.q.shape[2], args.v.shape[2]) != AttentionWidths::k256;
    return rows && counted && (args.bias_table.data == nullptr || narrow);
}

inline AttentionConfig attention_config(const caravan_attention_forward_args& args,
                                        int32_t capability) {
    AttentionConfig config = attention_common_config(args);
    if (config.route != AttentionRoute::kMma) return config;
    const bool paged = args.pages.data != nullptr;
    if (paged || attention_decodes(args.q.shape[0], args.cu_q.shape[0] - 1)) {
        const bool small = !paged || args.pages.shape[1] * args.page_rows < kAttentionMostRows;
        config.route = small ? AttentionRoute::kDecode : AttentionRoute::kPlain;
        return config;
    }
    if (capability == 90 && attention_serves_sm90(args)) {
        config.route = AttentionRoute::kSm90;
    }
    return config;
}

inline AttentionConfig attention_config(const caravan_attention_backward_args& args,
                                        int32_t capability) {
    AttentionConfig config = attention_common_config(args);
    const bool wide = wide_heads(args.d_out) && wide_heads(args.d_q) && wide_heads(args.d_k) &&
                      wide_heads(args.d_v);
    if (!wide) config.route = AttentionRoute::kPlain;
    // What is added to in memory, by bulk copies, begins at a multiple of 16 bytes.
    const bool aligned = reinterpret_cast<uintptr_t>(args.workspace.data) % 16 == 0;
    if (config.route == AttentionRoute::kMma && capability == 90 && attention_serves_sm90(args) &&
        mapped_heads(args.d_out) && aligned) {
        config.route = AttentionRoute::kSm90;
    }
    return config;
}

}  // namespace cuda
}  // namespace caravan
