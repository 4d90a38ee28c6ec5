// cache[start + i] = x[i]. Copies only, so by bytes.
#include <cstring>

#include "core/blocks.h"
#include "core/check.h"
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {

void cache_append_forward(Pool& pool, const caravan_cache_append_args& args) {
    const int64_t heads = args.x.shape[1];
    const int64_t unit = dtype_bytes(args.x.dtype);
    const int64_t bytes = args.x.shape[2] * unit;  // of one head
    const int64_t start = *data<int32_t>(args.start);
    const Blocks blocks = row_blocks(args.x.shape[0], heads * args.x.shape[2]);
    pool.run(blocks.count, [&](int64_t block, int) {
        for (int64_t i = blocks.begin(block); i < blocks.end(block); ++i) {
            for (int64_t head = 0; head < heads; ++head) {
                const int64_t from = i * args.x.stride[0] + head * args.x.stride[1];
                std::memcpy(data<char>(args.cache) + ((start + i) * heads + head) * bytes,
                            data<char>(args.x) + from * unit, static_cast<size_t>(bytes));
            }
        }
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
