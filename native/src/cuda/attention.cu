// attention, forward and backward: the launchers choose the route.
#include "cuda/attention.h"
#include "cuda/kernels.h"
#include "cuda/tensors.h"

namespace caravan {
namespace cuda {

namespace {

constexpr int64_t kMostHeads = 65535;  // a grid's extent along y

bool serves(tile::Launcher& launcher, int64_t heads) {
    if (heads <= kMostHeads) return true;
    launcher.refuse("attention: got %lld heads, needs at most %lld", static_cast<long long>(heads),
                    static_cast<long long>(kMostHeads));
    return false;
}

}  // namespace

void attention_forward(tile::Launcher& launcher, const caravan_attention_forward_args& args) {
    if (!serves(launcher, args.q.shape[1])) return;
    const AttentionConfig config = attention_config(args, launcher.target().capability);
    switch (config.route) {
        case AttentionRoute::kPlain:
            return attention_plain_forward(launcher, args);
        case AttentionRoute::kMma:
            return attention_mma_forward(launcher, args, config.widths);
        case AttentionRoute::kDecode:
            return attention_decode(launcher, args, config.widths);
        case AttentionRoute::kSm90:
            return attention_forward_sm90(launcher, args, config.widths);
    }
}

void attention_backward(tile::Launcher& launcher, const caravan_attention_backward_args& args) {
    if (!serves(launcher, args.q.shape[1])) return;
    const AttentionConfig config = attention_config(args, launcher.target().capability);
    AttentionLeft left = {};
    switch (config.route) {
        case AttentionRoute::kPlain:
            left = attention_plain_backward(launcher, args);
            break;
        case AttentionRoute::kMma:
        case AttentionRoute::kDecode:
            left = attention_mma_backward(launcher, args, config.widths);
            break;
        case AttentionRoute::kSm90:
            left.query_sums = plan_cuda_attention_backward(args).query_sums > 0;
            if (left.query_sums) {
                attention_deltas(launcher, args, true);
            } else {
                left = attention_backward_queries_sm90(launcher, args, config.widths);
            }
            attention_backward_keys_sm90(launcher, args, config.widths);
            break;
    }
    attention_end(launcher, args, left);
}

}  // namespace cuda
}  // namespace caravan
