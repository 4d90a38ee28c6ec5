// The workspace of caravan_embedding_backward; the ABI's size query and the CUDA kernel go by it.
#pragma once

#include "caravan/caravan.h"

namespace caravan {

// The CPU needs none. On CUDA: one 64-bit key a token, twice, as sorting goes from one array to the
// other.
inline int64_t embedding_backward_bytes(int32_t kind, int64_t tokens) {
    return kind == CARAVAN_CUDA ? 2 * tokens * static_cast<int64_t>(sizeof(uint64_t)) : 0;
}

}  // namespace caravan
