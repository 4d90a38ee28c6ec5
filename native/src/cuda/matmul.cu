// c = alpha op(a) op(b) + beta c. Two bf16 operands are multiplied by the tensor cores, others in
// float32 (never TF32). Each element of c is one sum in the order of k, so a product is cut by its
// shape alone and has the same bits on every device of a route. Bytes: a and b once for each tile
// of c that needs them (mostly from the second-level cache), c once, and once more where beta is
// not 0.
#include "cuda/kernels.h"
#include "cuda/matmul_product.cuh"
#include "cuda/tensors.h"

namespace caravan {
namespace cuda {

void matmul_forward(tile::Launcher& launcher, const caravan_matmul_args& args) {
    Product product = {};
    product.a = args.a.data;
    product.b = args.b.data;
    product.c = args.c.data;
    product.rows = data<const int32_t>(args.rows);
    product.m = static_cast<int32_t>(args.c.shape[0]);
    product.n = static_cast<int32_t>(args.c.shape[1]);
    product.k = static_cast<int32_t>(args.a.shape[args.transpose_a == 1 ? 0 : 1]);
    product.a_stride = row_stride(args.a);
    product.b_stride = row_stride(args.b);
    product.c_stride = row_stride(args.c);
    product.alpha = args.alpha;
    product.beta = args.beta;
    product.transpose_a = args.transpose_a == 1;
    product.transpose_b = args.transpose_b == 1;
    product.bf16_c = args.c.dtype == CARAVAN_BF16;
    const int64_t pair = 2 * element_bytes(args.c);
    product.c_pairs = reinterpret_cast<uintptr_t>(args.c.data) % pair == 0 &&
                      product.c_stride * element_bytes(args.c) % pair == 0;
    if (product.m == 0 || product.n == 0) return;

    const bool bf16_a = args.a.dtype == CARAVAN_BF16, bf16_b = args.b.dtype == CARAVAN_BF16;
    if (bf16_a && bf16_b) {
        if (start_wgmma_product(launcher, product)) return;
        start_mma_product(launcher, product, wide_rows(args.a) && wide_rows(args.b));
    } else {
        start_float_product(launcher, product, bf16_a, bf16_b);
    }
}

}  // namespace cuda
}  // namespace caravan
