// c = alpha op(a) op(b) + beta c. The pool cuts c into tiles, and each tile is a call of the host's
// single-threaded sgemm: tile borders follow from the shapes, so the bits do not depend on the
// number of threads. Where c is small and k is long, each tile is the sum of several products over
// parts of k. bfloat16 is widened tile by tile into the scratch of the thread, or multiplied as it
// is where the processor can (matmul_bf16.h). Products with few rows have kernels of their own
// (matmul_rows.h).
#include <algorithm>
#include <type_traits>

#include "core/matmul_plan.h"
#include "cpu/kernels.h"
#include "cpu/matmul_bf16.h"
#include "cpu/matmul_rows.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

constexpr int kRowMajor = 101, kNoTranspose = 111, kTranspose = 112;
constexpr int64_t kScratchFloats = CARAVAN_CPU_SCRATCH_BYTES / 4;

struct Product {
    caravan_tensor a, b, c, workspace;
    bool transpose_a, transpose_b;
    int64_t m, n, k;
    float alpha, beta;
};

// The stride of a single row is free, and may be anything.
int64_t row_stride(const caravan_tensor& matrix) {
    return std::max<int64_t>(matrix.shape[0] > 1 ? matrix.stride[0] : matrix.shape[1], 1);
}

int64_t ceil_div(int64_t value, int64_t by) { return (value + by - 1) / by; }

// ------------------------------------------------------------------ tiles

// Copies a matrix of bfloat16 into floats with rows `ld_to` apart.
void widen(const bf16* from, int64_t ld_from, int64_t rows, int64_t columns, float* to,
           int64_t ld_to) {
    for (int64_t r = 0; r < rows; ++r) {
        const bf16* source = from + r * ld_from;
        float* target = to + r * ld_to;
        int64_t i = 0;
        for (; i + kLanes <= columns; i += kLanes) store(target + i, load(source + i));
        for (; i < columns; ++i) target[i] = to_float(source[i]);
    }
}

void narrow(const float* from, int64_t ld_from, int64_t rows, int64_t columns, bf16* to,
            int64_t ld_to) {
    for (int64_t r = 0; r < rows; ++r) {
        const float* source = from + r * ld_from;
        bf16* target = to + r * ld_to;
        int64_t i = 0;
        for (; i + kLanes <= columns; i += kLanes) store(target + i, load(source + i));
        for (; i < columns; ++i) target[i] = from_float<bf16>(source[i]);
    }
}

// One operand as sgemm reads it: where it lies, or a widened copy.
struct Operand {
    const float* data;
    int ld;
};

// The part of a matrix that begins at (row, column); widened into `scratch` when it is bfloat16.
Operand operand(const caravan_tensor& matrix, int64_t row, int64_t column, int64_t rows,
                int64_t columns, float* scratch) {
    const int64_t ld = row_stride(matrix);
    const int64_t offset = row * ld + column;
    if (matrix.dtype == CARAVAN_F32) return {data<float>(matrix) + offset, static_cast<int>(ld)};
    widen(data<bf16>(matrix) + offset, ld, rows, columns, scratch, columns);
    return {scratch, static_cast<int>(columns)};
}

// What one task makes: rows and columns of c, from a part of k.
struct Part {
    int64_t row, rows, column, columns, k, depth;
};

// By the processor's own products of bfloat16; false where it has none, or an operand is float32.
bool half_part(const Product& p, const Part& part, float beta, float* c, int64_t ld,
               float* scratch) {
#if defined(__AVX512F__)
    if (p.a.dtype != CARAVAN_BF16 || p.b.dtype != CARAVAN_BF16 || !cpu_has_bf16_dots())
        return false;
    const int64_t lda = row_stride(p.a), ldb = row_stride(p.b);
    const bf16* a =
        data<bf16>(p.a) + (p.transpose_a ? part.k * lda + part.row : part.row * lda + part.k);
    const bf16* b =
        data<bf16>(p.b) + (p.transpose_b ? part.column * ldb + part.k : part.k * ldb + part.column);
    half_product({{a, lda},
                  {b, ldb},
                  p.transpose_a,
                  p.transpose_b,
                  part.rows,
                  part.columns,
                  part.depth,
                  p.alpha,
                  beta,
                  c,
                  ld},
                 reinterpret_cast<uint32_t*>(scratch), kScratchFloats - kTileArea);
    return true;
#else
    (void)p, (void)part, (void)beta, (void)c, (void)ld, (void)scratch;
    return false;
#endif
}

// c [rows][ld] = alpha op(a) op(b) + beta c for one part; c is float.
void product_part(const Product& p, caravan_sgemm sgemm, const Part& part, float beta, float* c,
                  int64_t ld, float* scratch) {
    if (half_part(p, part, beta, c, ld, scratch)) return;
    const bool widened = p.a.dtype == CARAVAN_BF16 || p.b.dtype == CARAVAN_BF16;
    // Steps of k as deep as the scratch is, a multiple of 16 so that both copies stay aligned.
    const int64_t room = kScratchFloats - kTileArea - 16;
    const int64_t step =
        widened ? std::max<int64_t>(room / (part.rows + part.columns) / 16 * 16, 16) : part.depth;
    const int64_t end = part.k + part.depth;
    for (int64_t k = part.k; k < end; k += step) {
        const int64_t d = std::min(step, end - k);
        float* scratch_b = scratch + (part.rows * d + 15) / 16 * 16;
        const Operand a = p.transpose_a ? operand(p.a, k, part.row, d, part.rows, scratch)
                                        : operand(p.a, part.row, k, part.rows, d, scratch);
        const Operand b = p.transpose_b ? operand(p.b, part.column, k, part.columns, d, scratch_b)
                                        : operand(p.b, k, part.column, d, part.columns, scratch_b);
        sgemm(kRowMajor, p.transpose_a ? kTranspose : kNoTranspose,
              p.transpose_b ? kTranspose : kNoTranspose, static_cast<int>(part.rows),
              static_cast<int>(part.columns), static_cast<int>(d), p.alpha, a.data, a.ld, b.data,
              b.ld, k == part.k ? beta : 1.0f, c, static_cast<int>(ld));
    }
}

// A tile of c that is one product.
void product_tile(const Product& p, caravan_sgemm sgemm, const Part& part, float* scratch) {
    const int64_t ldc = row_stride(p.c);
    const int64_t at = part.row * ldc + part.column;
    if (p.c.dtype == CARAVAN_F32) {
        return product_part(p, sgemm, part, p.beta, data<float>(p.c) + at, ldc, scratch);
    }
    bf16* c = data<bf16>(p.c) + at;
    if (p.beta != 0) widen(c, ldc, part.rows, part.columns, scratch, part.columns);
    product_part(p, sgemm, part, p.beta, scratch, part.columns, scratch + kTileArea);
    narrow(scratch, part.columns, part.rows, part.columns, c, ldc);
}

// Rows of c from the sums over the parts of k, added up in order; the parts lie [splits][m][n].
template <typename T>
void add_parts(const Product& p, int64_t splits, int64_t from, int64_t to) {
    const auto* parts = data<float>(p.workspace);
    const int64_t ldc = row_stride(p.c);
    for (int64_t r = from; r < to; ++r) {
        T* c = data<T>(p.c) + r * ldc;
        for (int64_t i = 0; i < p.n; ++i) {
            float sum = parts[r * p.n + i];
            for (int64_t s = 1; s < splits; ++s) sum += parts[(s * p.m + r) * p.n + i];
            c[i] = from_float<T>(p.beta == 0 ? sum : sum + p.beta * to_float(c[i]));
        }
    }
}

void product_tiles(Pool& pool, const Product& p, int64_t splits) {
    const caravan_sgemm sgemm = cpu_sgemm();
    const MatmulTiles tiles = plan_matmul_tiles(p.m, p.n, p.k, splits, splits);
    const int64_t depth = ceil_div(ceil_div(p.k, splits), 16) * 16;
    const int64_t per_split = tiles.row_tiles * tiles.col_tiles;
    pool.run(per_split * splits, [&](int64_t task, int thread) {
        const int64_t split = task / per_split, tile = task % per_split;
        const int64_t row = tile / tiles.col_tiles * tiles.rows;
        const int64_t column = tile % tiles.col_tiles * tiles.columns;
        const int64_t k = std::min(split * depth, p.k);
        const Part part = {row,    std::min(tiles.rows, p.m - row),
                           column, std::min(tiles.columns, p.n - column),
                           k,      std::min(depth, p.k - k)};
        auto* scratch = static_cast<float*>(pool.scratch(thread));
        if (splits == 1) return product_tile(p, sgemm, part, scratch);
        float* sums = data<float>(p.workspace) + (split * p.m + row) * p.n + column;
        if (part.depth > 0) return product_part(p, sgemm, part, 0, sums, p.n, scratch);
        for (int64_t r = 0; r < part.rows; ++r) std::fill_n(sums + r * p.n, part.columns, 0.0f);
    });
    if (splits == 1) return;
    const int64_t rows = std::max<int64_t>(16384 / p.n, 1);  // a task
    pool.run(ceil_div(p.m, rows), [&](int64_t task, int) {
        const int64_t from = task * rows, to = std::min(from + rows, p.m);
        p.c.dtype == CARAVAN_BF16 ? add_parts<bf16>(p, splits, from, to)
                                  : add_parts<float>(p, splits, from, to);
    });
}

// ------------------------------------------------------------------ few rows

constexpr int64_t kFewRowsElements = 65536;  // elements of b a task reads, about
constexpr int64_t kFewRowsColumns = 8192;    // most columns a task makes, so that its sums fit

template <typename A, typename B>
void product_few_rows(Pool& pool, const Product& p) {
    const FewRows<A, B> few = {data<A>(p.a),    data<B>(p.b),   p.m, p.n, p.k,
                               row_stride(p.a), row_stride(p.b)};
    const int64_t wanted = ceil_div(std::max<int64_t>(kFewRowsElements / p.k, 1), 64) * 64;
    const int64_t columns = std::min(wanted, kFewRowsColumns);
    const int64_t ldc = row_stride(p.c);
    pool.run(ceil_div(p.n, columns), [&](int64_t task, int thread) {
        const int64_t first = task * columns;
        const int64_t count = std::min(columns, p.n - first);
        auto* sums = static_cast<float*>(pool.scratch(thread));
        few_rows(few, p.transpose_b, first, count, sums);
        with_storage(p.c.dtype, [&](auto tag) {
            using C = std::remove_pointer_t<decltype(tag)>;
            for (int64_t r = 0; r < p.m; ++r) {
                C* c = data<C>(p.c) + r * ldc + first;
                const float* sum = sums + r * count;
                if (p.beta == 0) {
                    for (int64_t j = 0; j < count; ++j) c[j] = from_float<C>(p.alpha * sum[j]);
                } else {
                    for (int64_t j = 0; j < count; ++j) {
                        c[j] = from_float<C>(p.alpha * sum[j] + p.beta * to_float(c[j]));
                    }
                }
            }
        });
    });
}

void product_few_rows(Pool& pool, const Product& p) {
    with_storage(p.a.dtype, [&](auto tag_a) {
        with_storage(p.b.dtype, [&](auto tag_b) {
            product_few_rows<std::remove_pointer_t<decltype(tag_a)>,
                             std::remove_pointer_t<decltype(tag_b)>>(pool, p);
        });
    });
}

// ------------------------------------------------------------------ without a product

// c = factor * c over rows [from, to); factor 0 does not read c.
void scale_rows(Pool& pool, const caravan_tensor& c, int64_t from, int64_t to, float factor) {
    const int64_t n = c.shape[1];
    if (from >= to || n == 0 || factor == 1) return;
    const int64_t ld = row_stride(c);
    const int64_t rows = std::max<int64_t>(65536 / n, 1);  // a task
    with_storage(c.dtype, [&](auto tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        pool.run(ceil_div(to - from, rows), [&](int64_t task, int) {
            const int64_t first = from + task * rows;
            for (int64_t r = first; r < std::min(first + rows, to); ++r) {
                T* row = data<T>(c) + r * ld;
                for (int64_t i = 0; i < n; ++i) {
                    row[i] = factor == 0 ? T{} : from_float<T>(factor * to_float(row[i]));
                }
            }
        });
    });
}

}  // namespace

void matmul_forward(Pool& pool, const caravan_matmul_args& args) {
    Product p = {args.a,
                 args.b,
                 args.c,
                 args.workspace,
                 args.transpose_a != 0,
                 args.transpose_b != 0,
                 args.c.shape[0],
                 args.c.shape[1],
                 args.a.shape[args.transpose_a != 0 ? 0 : 1],
                 args.alpha,
                 args.beta};
    const int64_t splits = matmul_splits(p.m, p.n, p.k, p.transpose_a);
    if (args.rows.data != nullptr) (p.transpose_a ? p.k : p.m) = *data<int32_t>(args.rows);
    if (args.beta == 0) scale_rows(pool, args.c, p.m, args.c.shape[0], 0);
    if (p.m == 0 || p.n == 0) return;
    if (p.k == 0 || p.alpha == 0) return scale_rows(pool, args.c, 0, p.m, p.beta);
    if (p.m <= kFewRows && !p.transpose_a) return product_few_rows(pool, p);
    product_tiles(pool, p, splits);
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
