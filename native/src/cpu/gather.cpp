// Rows by index into a dense block of rows, and back. Copies only: no arithmetic, so by bytes.
#include <algorithm>
#include <cstring>

#include "core/blocks.h"
#include "core/check.h"
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

char* row_bytes(const caravan_tensor& matrix, int64_t r) {
    return static_cast<char*>(matrix.data) + r * matrix.stride[0] * dtype_bytes(matrix.dtype);
}

// How many rows of `out` are in use.
int64_t rows_in_use(const caravan_gather_args& args) {
    const int64_t left = *data<int32_t>(args.count) - args.first;
    return std::min(std::max<int64_t>(left, 0), args.out.shape[0]);
}

}  // namespace

void gather_forward(Pool& pool, const caravan_gather_args& args) {
    const int64_t used = rows_in_use(args);
    const auto bytes = static_cast<size_t>(args.x.shape[1] * dtype_bytes(args.x.dtype));
    const Blocks blocks = row_blocks(args.out.shape[0], args.x.shape[1]);
    pool.run(blocks.count, [&](int64_t block, int) {
        for (int64_t i = blocks.begin(block); i < blocks.end(block); ++i) {
            char* const to = row_bytes(args.out, i);
            if (i < used) {
                std::memcpy(to, row_bytes(args.x, data<int32_t>(args.rows)[args.first + i]), bytes);
            } else {
                std::memset(to, 0, bytes);
            }
        }
    });
}

void gather_backward(Pool& pool, const caravan_gather_args& args) {
    const auto bytes = static_cast<size_t>(args.x.shape[1] * dtype_bytes(args.x.dtype));
    const Blocks blocks = row_blocks(rows_in_use(args), args.x.shape[1]);
    pool.run(blocks.count, [&](int64_t block, int) {
        for (int64_t i = blocks.begin(block); i < blocks.end(block); ++i) {
            std::memcpy(row_bytes(args.x, data<int32_t>(args.rows)[args.first + i]),
                        row_bytes(args.out, i), bytes);
        }
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
