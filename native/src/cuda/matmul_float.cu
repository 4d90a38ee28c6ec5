// The product in float32, for operands of which one or both are float32: plain fused multiply-adds
// over tiles in shared memory. bf16 is widened as it is read.
#include "cuda/matmul_product.cuh"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {
namespace {

constexpr int kTile = 64;          // rows and columns of c
constexpr int kDepth = 16;         // of k
constexpr int kThreads = 256;      // 16 x 16, each 4 x 4 elements
constexpr int kPitch = kTile + 4;  // floats from one k to the next, off the banks of the last

// Reads a tile [kDepth, kTile], k first, into this thread's registers and from there into shared
// memory: the next tile's reads are under way while this one is multiplied.
template <typename T, bool kAlongK>
class Source {
  public:
    __device__ __forceinline__ Source(const void* data, int64_t stride, int32_t mn, int32_t extent,
                                      int32_t depth)
        : data_(static_cast<const T*>(data)),
          stride_(stride),
          mn_(mn),
          extent_(extent),
          depth_(depth) {}

    __device__ __forceinline__ void read(int32_t k) {
#pragma unroll
        for (int i = 0; i < kEach; ++i) {
            const int32_t at_mn = mn_ + mn_inside(i), at_k = k + k_inside(i);
            const int64_t offset = kAlongK ? at_mn * stride_ + at_k : at_k * stride_ + at_mn;
            const bool inside = at_mn < extent_ && at_k < depth_;
            values_[i] = inside ? tile::to_float(data_[offset]) : 0.0f;
        }
    }

    __device__ __forceinline__ void write(float* to) const {
#pragma unroll
        for (int i = 0; i < kEach; ++i) to[k_inside(i) * kPitch + mn_inside(i)] = values_[i];
    }

  private:
    static constexpr int kEach = kTile * kDepth / kThreads;

    // Neighbouring threads read neighbours in memory.
    __device__ __forceinline__ static int mn_inside(int i) {
        const int at = static_cast<int>(threadIdx.x) + i * kThreads;
        return kAlongK ? at / kDepth : at % kTile;
    }
    __device__ __forceinline__ static int k_inside(int i) {
        const int at = static_cast<int>(threadIdx.x) + i * kThreads;
        return kAlongK ? at % kDepth : at / kTile;
    }

    const T* data_;
    int64_t stride_;
    int32_t mn_, extent_, depth_;
    float values_[kEach];
};

template <typename A, typename B, bool kTransposeA, bool kTransposeB>
__global__ void __launch_bounds__(kThreads, 2) float_kernel(const Product product) {
    const Used used = used_extents(product);
    const TilePlace place = tile_place(product, blockIdx.x, kTile, kTile);
    tile::Shared shared;
    auto* const a_tile = shared.take<float>(2 * kDepth * kPitch, 16);
    auto* const b_tile = shared.take<float>(2 * kDepth * kPitch, 16);
    const int down = threadIdx.x / 16 * 4, across = threadIdx.x % 16 * 4;
    const int32_t steps = place.row < used.m ? (used.k + kDepth - 1) / kDepth : 0;
    Source<A, !kTransposeA> a(product.a, product.a_stride, place.row, used.m, used.k);
    Source<B, kTransposeB> b(product.b, product.b_stride, place.column, product.n, used.k);
    float sums[4][4] = {};
    if (steps > 0) {
        a.read(0);
        b.read(0);
    }
    for (int32_t step = 0; step < steps; ++step) {
        float* const a_now = a_tile + step % 2 * (kDepth * kPitch);
        float* const b_now = b_tile + step % 2 * (kDepth * kPitch);
        a.write(a_now);
        b.write(b_now);
        __syncthreads();  // two buffers: the one before is written again only after the next of
                          // these
        if (step + 1 < steps) {
            a.read((step + 1) * kDepth);
            b.read((step + 1) * kDepth);
        }
#pragma unroll
        for (int k = 0; k < kDepth; ++k) {
            const auto left = tile::load<4>(a_now + k * kPitch + down);
            const auto right = tile::load<4>(b_now + k * kPitch + across);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
#pragma unroll
                for (int j = 0; j < 4; ++j) sums[i][j] += left[i] * right[j];
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; j += 2) {
            put_pair(product, used, place.row + down + i, place.column + across + j, sums[i][j],
                     sums[i][j + 1]);
        }
    }
}

template <typename A, typename B>
void start(tile::Launcher& launcher, const Product& product) {
    const int64_t tiles =
        (int64_t{product.m} + kTile - 1) / kTile * ((int64_t{product.n} + kTile - 1) / kTile);
    const int64_t bytes = tile::SharedLayout().take<float>(4 * kDepth * kPitch, 16).bytes();
    const tile::Config config = tile::config(tiles, kThreads, bytes);
    if (product.transpose_a) {
        launcher.run(
            product.transpose_b ? float_kernel<A, B, true, true> : float_kernel<A, B, true, false>,
            config, product);
    } else {
        launcher.run(product.transpose_b ? float_kernel<A, B, false, true>
                                         : float_kernel<A, B, false, false>,
                     config, product);
    }
}

}  // namespace

void start_float_product(tile::Launcher& launcher, const Product& product, bool bf16_a,
                         bool bf16_b) {
    if (bf16_a) {
        start<tile::bf16, float>(launcher, product);
    } else if (bf16_b) {
        start<float, tile::bf16>(launcher, product);
    } else {
        start<float, float>(launcher, product);
    }
}

}  // namespace cuda
}  // namespace caravan
