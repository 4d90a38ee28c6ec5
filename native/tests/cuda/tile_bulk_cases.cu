// mbarrier, bulk and tensor copies, clusters.
#include "cuda/tile/cluster.cuh"
#include "cuda/tile/copy_async.cuh"
#include "cuda/tile/counter.cuh"
#include "cuda/tile/fence.cuh"
#include "cuda/tile/mbarrier.cuh"
#include "cuda/tile/shared.cuh"
#include "cuda/tile/tma.cuh"
#include "tests/cuda/tile_cases.h"

namespace tile_test {
namespace {

namespace tile = caravan::tile;
using tile::Mbarrier;

// ------------------------------------------------------------------------------- mbarrier

// Warp 0 hands 9 rounds of words to warp 1 through a ring of two, by full and free barriers.
__global__ void mbarrier_ring_kernel(uint32_t* out) {
    constexpr int kStages = 2, kRounds = 9;
    tile::Shared shared;
    auto* words = shared.take<uint32_t>(kStages * 32);
    auto* full = shared.take<Mbarrier>(kStages);
    auto* free = shared.take<Mbarrier>(kStages);
    const int t = threadIdx.x;
    if (t == 0) {
        for (int s = 0; s < kStages; ++s) {
            tile::mbarrier_init(full + s, 32);
            tile::mbarrier_init(free + s, 32);
        }
        tile::mbarrier_init_fence();
    }
    __syncthreads();
    for (int round = 0; round < kRounds; ++round) {
        const int s = round % kStages;
        const uint32_t parity = static_cast<uint32_t>(round / kStages % 2);
        if (t < 32) {
            tile::mbarrier_wait(free + s, parity ^ 1);
            words[s * 32 + t] = static_cast<uint32_t>(round * 100 + t);
            tile::mbarrier_arrive(full + s);
        } else {
            tile::mbarrier_wait(full + s, parity);
            out[round * 32 + t - 32] = words[s * 32 + 63 - t];
            tile::mbarrier_arrive(free + s);
        }
    }
    __syncthreads();
    if (t == 0) {
        // The fifth phase of full[0] and the fourth of full[1] are complete.
        out[kRounds * 32] = tile::mbarrier_test(full, 0);
        out[kRounds * 32 + 1] = tile::mbarrier_test(full, 1);
        out[kRounds * 32 + 2] = tile::mbarrier_test(full + 1, 0);
        out[kRounds * 32 + 3] = tile::mbarrier_test(full + 1, 1);
        tile::mbarrier_invalidate(full);
        tile::mbarrier_init(full, 5);
        out[kRounds * 32 + 4] = tile::mbarrier_test(full, 0);
        out[kRounds * 32 + 5] = tile::mbarrier_test(full, 1);
    }
}

Result mbarrier_ring_case(Device& device) {
    Buffer out(device, 9 * 32 + 6);
    Result result;
    result.fault = launch(device, mbarrier_ring_kernel, tile::config(1, 64, 2 * 32 * 4 + 4 * 8),
                          out.as<uint32_t>());
    result.got = out.read();
    for (uint32_t round = 0; round < 9; ++round) {
        for (uint32_t t = 0; t < 32; ++t) result.expected.push_back(round * 100 + 31 - t);
    }
    for (uint32_t complete : {1u, 0u, 0u, 1u, 0u, 1u}) result.expected.push_back(complete);
    return result;
}

// Warp 0 copies by cp.async and lets the barrier know, without waiting itself.
__global__ void mbarrier_copies_kernel(const uint32_t* in, uint32_t* out) {
    tile::Shared shared;
    auto* words = shared.take<uint32_t>(32 * 4, 16);
    auto* full = shared.take<Mbarrier>(1);
    const int t = threadIdx.x;
    if (t == 0) {
        tile::mbarrier_init(full, 32);
        tile::mbarrier_init_fence();
    }
    __syncthreads();
    if (t < 32) {
        tile::copy_async<16>(words + t * 4, in + t * 4);
        tile::mbarrier_arrive_after_copies(full);
    } else {
        tile::mbarrier_wait(full, 0);
        for (int i = 0; i < 4; ++i) out[i * 32 + t - 32] = words[i * 32 + 63 - t];
    }
    tile::copy_async_wait<0>();
}

Result mbarrier_copies_case(Device& device) {
    const Words values = counting(128);
    Buffer in(device, values), out(device, 128);
    Result result;
    result.fault = launch(device, mbarrier_copies_kernel, tile::config(1, 64, 128 * 4 + 8),
                          in.as<const uint32_t>(), out.as<uint32_t>());
    result.got = out.read();
    for (int i = 0; i < 128; ++i) {
        result.expected.push_back(values[static_cast<size_t>(i / 32 * 32 + 31 - i % 32)]);
    }
    return result;
}

// ------------------------------------------------------------------------------- bulk copies

// 256 floats in; each is doubled, written back out, and added to what lies behind.
__global__ void bulk_copy_kernel(const float* in, float* out) {
    constexpr uint32_t kBytes = 256 * 4;
    tile::Shared shared;
    auto* floats = shared.take<float>(256, 16);
    auto* full = shared.take<Mbarrier>(1);
    const int t = threadIdx.x;
    if (t == 0) {
        tile::mbarrier_init(full, 1);
        tile::mbarrier_init_fence();
    }
    __syncthreads();
    if (t == 0) {
        tile::mbarrier_arrive_expect(full, kBytes);
        tile::tma_copy_in(floats, in, kBytes / 2, full);
        tile::tma_copy_in(floats + 128, in + 128, kBytes / 2, full);
    }
    tile::mbarrier_wait(full, 0);
    floats[t] *= 2;
    floats[t + 128] *= 2;
    tile::fence_async_shared();
    __syncthreads();
    if (t == 0) {
        tile::tma_copy_out(out, floats, kBytes);
        tile::tma_commit();
        tile::tma_add_out(out + 256, floats, kBytes);
        tile::tma_commit();
        tile::tma_wait_read<1>();
        tile::tma_wait_read<0>();
        tile::tma_wait<0>();
    }
}

Result bulk_copy_case(Device& device) {
    Words in_values, before(512, bits_of(0.5f));
    for (int i = 0; i < 256; ++i) in_values.push_back(bits_of(static_cast<float>(small(i))));
    Buffer in(device, in_values), out(device, before);
    Result result;
    result.fault = launch(device, bulk_copy_kernel, tile::config(1, 128, 256 * 4 + 8),
                          in.as<const float>(), out.as<float>());
    result.got = out.read();
    for (int i = 0; i < 256; ++i) {
        result.expected.push_back(bits_of(static_cast<float>(2 * small(i))));
    }
    for (int i = 0; i < 256; ++i) {
        result.expected.push_back(bits_of(static_cast<float>(2 * small(i)) + 0.5f));
    }
    return result;
}

// ------------------------------------------------------------------------------- turns

constexpr float kLarge = 0x1p25f;  // beside it 1 is lost

__host__ __device__ constexpr float turn_value(uint32_t number) {
    return number % 3 == 0 ? kLarge : number % 3 == 1 ? 1.0f : -kLarge;
}

// Blocks add to the same 64 floats, one after the other as they have begun. counters: the next
// number, and whose turn it is.
__global__ void turns_kernel(uint32_t* counters, float* sums) {
    tile::Shared shared;
    auto* floats = shared.take<float>(64, 16);
    auto* number = shared.take<uint32_t>(1);
    const int t = threadIdx.x;
    if (t == 0) *number = tile::counter_take(counters);
    __syncthreads();
    floats[t] = turn_value(*number);
    tile::fence_async_shared();
    __syncthreads();
    if (t == 0) {
        tile::counter_wait(counters + 1, *number);
        tile::fence_async_global();
        tile::tma_add_out(sums, floats, 64 * 4);
        tile::tma_commit();
        tile::tma_wait<0>();
        tile::fence_async_global();
        tile::counter_add(counters + 1);
    }
}

Result turns_case(Device& device) {
    constexpr uint32_t kBlocks = 31;
    Words before, counters(2, 0);
    for (int i = 0; i < 64; ++i) before.push_back(bits_of(static_cast<float>(small(i))));
    Buffer turns(device, counters), sums(device, before);
    Result result;
    result.fault = launch(device, turns_kernel, tile::config(kBlocks, 64, 64 * 4 + 4),
                          turns.as<uint32_t>(), sums.as<float>());
    result.got = sums.read();
    for (uint32_t count : turns.read()) result.got.push_back(count);
    for (int i = 0; i < 64; ++i) {
        float sum = static_cast<float>(small(i));
        for (uint32_t n = 0; n < kBlocks; ++n) sum += turn_value(n);
        result.expected.push_back(bits_of(sum));
    }
    for (int i = 0; i < 2; ++i) result.expected.push_back(kBlocks);
    return result;
}

// ------------------------------------------------------------------------------- tensor copies

// A bf16 tensor [planes, rows, columns] with gaps between rows and between planes, and a box.
struct Tensor {
    int rank;
    int extent[3];  // innermost first
    int box[3];
    int at[3];  // where the box lies; it may hang over
    tile::Swizzle swizzle;

    int row_pitch() const { return (extent[0] + 7) / 8 * 8 + 8; }
    int plane_pitch() const { return row_pitch() * (extent[1] + 1); }
    int count() const { return plane_pitch() * (extent[2] + 1); }
    int box_count() const { return box[0] * box[1] * box[2]; }
    int index(int x, int y, int z) const { return x + y * row_pitch() + z * plane_pitch(); }
    bool inside(int x, int y, int z) const {
        return x >= 0 && x < extent[0] && y >= 0 && y < extent[1] && z >= 0 && z < extent[2];
    }
    // Stores cut rows at whole 16 bytes, and begin at no negative coordinate.
    bool stored(int x, int y, int z) const { return inside(x / 8 * 8, y, z); }
    constexpr bool may_be_stored() const { return at[0] >= 0 && at[1] >= 0 && at[2] >= 0; }
    // Where element i of the box, counted innermost first, lies in shared memory, in elements.
    int place(int i) const {
        return static_cast<int>(tile::swizzled(swizzle, static_cast<uint32_t>(i * 2)) / 2);
    }
    bool map(const void* data, tile::TensorMap* made) const {
        tile::TensorMapShape shape;
        shape.data = data;
        shape.rank = rank;
        for (int i = 0; i < rank; ++i) {
            shape.extent[i] = extent[i];
            shape.box[i] = box[i];
        }
        shape.stride_bytes[1] = row_pitch() * 2;
        shape.stride_bytes[2] = plane_pitch() * 2;
        shape.swizzle = swizzle;
        return tile::make_tensor_map(shape, made);
    }
};

// Puts out shared memory as it lies after the load of one box.
template <int kRank>
__global__ void tensor_load_kernel(const __grid_constant__ tile::TensorMap map, int x, int y, int z,
                                   int count, uint16_t* out) {
    tile::Shared shared;
    auto* halves = shared.take<uint16_t>(count, 1024);
    auto* full = shared.take<Mbarrier>(1);
    if (threadIdx.x == 0) {
        tile::tma_prefetch(map);
        tile::mbarrier_init(full, 1);
        tile::mbarrier_init_fence();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        tile::mbarrier_arrive_expect(full, static_cast<uint32_t>(count) * 2);
        if constexpr (kRank == 1) tile::tma_load(halves, map, x, full);
        if constexpr (kRank == 2) tile::tma_load(halves, map, x, y, full);
        if constexpr (kRank == 3) tile::tma_load(halves, map, x, y, z, full);
    }
    tile::mbarrier_wait(full, 0);
    for (int i = threadIdx.x; i < count; i += blockDim.x) out[i] = halves[i];
}

// Stores one box from shared memory that holds 1, 2, 3 ... in its order.
template <int kRank>
__global__ void tensor_store_kernel(const __grid_constant__ tile::TensorMap map, int x, int y,
                                    int z, int count) {
    tile::Shared shared;
    auto* halves = shared.take<uint16_t>(count, 1024);
    for (int i = threadIdx.x; i < count; i += blockDim.x) halves[i] = static_cast<uint16_t>(i + 1);
    tile::fence_async_shared();
    __syncthreads();
    if (threadIdx.x == 0) {
        if constexpr (kRank == 1) tile::tma_store(map, x, halves);
        if constexpr (kRank == 2) tile::tma_store(map, x, y, halves);
        if constexpr (kRank == 3) tile::tma_store(map, x, y, z, halves);
        tile::tma_commit();
        tile::tma_wait<0>();
    }
}

template <typename Kernel, typename... Args>
std::string launch_box(Device& device, const Tensor& tensor, void* data, Kernel one, Kernel two,
                       Kernel three, Args... args) {
    tile::TensorMap map;
    if (!tensor.map(data, &map)) return "no tensor map";
    const Kernel kernel = tensor.rank == 1 ? one : tensor.rank == 2 ? two : three;
    return launch(device, kernel, tile::config(1, 64, tensor.box_count() * 2 + 8), map,
                  tensor.at[0], tensor.at[1], tensor.at[2], tensor.box_count(), args...);
}

uint16_t element(int i) { return static_cast<uint16_t>(1 + i % 65521); }

Result tensor_load(Device& device, const Tensor& tensor) {
    std::vector<uint16_t> values;
    for (int i = 0; i < tensor.count(); ++i) values.push_back(element(i));
    Buffer in(device, packed(values)), out(device, tensor.box_count() / 2);
    Result result;
    result.fault = launch_box(device, tensor, in.as<void>(), tensor_load_kernel<1>,
                              tensor_load_kernel<2>, tensor_load_kernel<3>, out.as<uint16_t>());
    result.got = out.read();
    std::vector<uint16_t> box(static_cast<size_t>(tensor.box_count()));
    for (int i = 0; i < tensor.box_count(); ++i) {
        const int x = tensor.at[0] + i % tensor.box[0];
        const int y = tensor.at[1] + i / tensor.box[0] % tensor.box[1];
        const int z = tensor.at[2] + i / tensor.box[0] / tensor.box[1];
        box[static_cast<size_t>(tensor.place(i))] =
            tensor.inside(x, y, z) ? element(tensor.index(x, y, z)) : uint16_t{0};
    }
    result.expected = packed(box);
    return result;
}

Result tensor_store(Device& device, const Tensor& tensor) {
    Buffer out(device, Words(static_cast<size_t>(tensor.count() / 2), 0));
    Result result;
    result.fault = launch_box(device, tensor, out.as<void>(), tensor_store_kernel<1>,
                              tensor_store_kernel<2>, tensor_store_kernel<3>);
    result.got = out.read();
    std::vector<uint16_t> values(static_cast<size_t>(tensor.count()), 0);
    for (int i = 0; i < tensor.box_count(); ++i) {
        const int x = tensor.at[0] + i % tensor.box[0];
        const int y = tensor.at[1] + i / tensor.box[0] % tensor.box[1];
        const int z = tensor.at[2] + i / tensor.box[0] / tensor.box[1];
        if (!tensor.stored(x, y, z)) continue;
        values[static_cast<size_t>(tensor.index(x, y, z))] =
            static_cast<uint16_t>(tensor.place(i) + 1);
    }
    result.expected = packed(values);
    return result;
}

constexpr auto kNone = tile::Swizzle::kNone, k32 = tile::Swizzle::k32, k64 = tile::Swizzle::k64,
               k128 = tile::Swizzle::k128;
constexpr Tensor kTensors[] = {
    {1, {100, 1, 1}, {64, 1, 1}, {16, 0, 0}, kNone},
    {1, {100, 1, 1}, {64, 1, 1}, {72, 0, 0}, kNone},
    {2, {200, 50, 1}, {64, 24, 1}, {64, 8, 0}, k128},
    {2, {200, 50, 1}, {64, 24, 1}, {-16, -3, 0}, k128},
    {2, {200, 50, 1}, {64, 24, 1}, {176, 39, 0}, k128},
    {2, {200, 50, 1}, {32, 24, 1}, {184, 39, 0}, k64},
    {2, {200, 50, 1}, {16, 24, 1}, {192, 39, 0}, k32},
    {2, {200, 50, 1}, {40, 24, 1}, {184, -2, 0}, kNone},
    {3, {80, 9, 5}, {64, 4, 3}, {8, 3, 1}, k128},
    {3, {80, 9, 5}, {64, 4, 3}, {40, 7, -1}, k128},
    {3, {80, 9, 5}, {32, 4, 3}, {64, 7, 4}, k64},
    {2, {196, 50, 1}, {64, 24, 1}, {176, 39, 0}, k128},
};
constexpr int kTensorCount = sizeof kTensors / sizeof *kTensors;

template <int kIndex>
Result tensor_load_case(Device& device) {
    return tensor_load(device, kTensors[kIndex]);
}
template <int kIndex>
Result tensor_store_case(Device& device) {
    return tensor_store(device, kTensors[kIndex]);
}

template <int... kIndex>
void add_tensor_cases(std::vector<Case>& cases, std::integer_sequence<int, kIndex...>) {
    (cases.push_back(
         {"tensor_load_" + std::to_string(kIndex), 90, false, tensor_load_case<kIndex>}),
     ...);
    const auto add_store = [&](int index, const Tensor& tensor, auto run) {
        if (!tensor.may_be_stored()) return;
        cases.push_back({"tensor_store_" + std::to_string(index), 90, false, run});
    };
    (add_store(kIndex, kTensors[kIndex], tensor_store_case<kIndex>), ...);
}

// ------------------------------------------------------------------------------- clusters

// Each block of four sends words of 4 and 8 bytes to all.
__global__ void cluster_kernel(uint32_t* out) {
    tile::Shared shared;
    auto* pairs = shared.take<uint2>(4 * 32);
    auto* singles = shared.take<uint32_t>(4 * 32);
    auto* arrived = shared.take<Mbarrier>(2);
    auto* read = arrived + 1;
    const auto t = static_cast<uint32_t>(threadIdx.x);
    const uint32_t rank = tile::cluster_rank(), size = tile::cluster_size();
    const uint32_t base = rank * 1000 + t * 4;
    if (t == 0) {
        tile::mbarrier_init(arrived, 1);
        tile::mbarrier_init(read, 32 * size);
        tile::mbarrier_init_fence();
    }
    tile::cluster_arrive();
    tile::cluster_wait();
    const uint32_t from = (rank + 3) % size * 32 + (31 - t);
    for (uint32_t turn = 0; turn < 2; ++turn) {  // in the same places
        if (t == 0) tile::mbarrier_arrive_expect(arrived, 32 * size * 12);
        for (uint32_t other = 0; other < size; ++other) {
            tile::cluster_send(singles + rank * 32 + t, other, base + turn + 800 + other, arrived);
            tile::cluster_send(pairs + rank * 32 + t, other,
                               uint2{base + turn + 900, base + turn + 901}, arrived);
        }
        tile::mbarrier_wait(arrived, turn);
        const uint32_t values[] = {rank, size, singles[from], pairs[from].x, pairs[from].y};
        for (uint32_t i = 0; i < 5; ++i) {
            out[((blockIdx.x * 2 + turn) * 5 + i) * 32 + t] = values[i];
        }
        for (uint32_t other = 0; other < size; ++other) tile::mbarrier_arrive_cluster(read, other);
        tile::mbarrier_wait(read, turn);
    }
    tile::cluster_sync();  // arrivals come to the end
}

Result cluster_case(Device& device) {
    constexpr int kBlocks = 8, kSize = 4;
    Buffer out(device, kBlocks * 2 * 5 * 32);
    tile::Config config = tile::config(kBlocks, 32, kSize * 32 * 12 + 2 * 8);
    config.cluster = kSize;
    Result result;
    result.fault = launch(device, cluster_kernel, config, out.as<uint32_t>());
    result.got = out.read();
    for (uint32_t block = 0; block < kBlocks; ++block) {
        const uint32_t rank = block % kSize, before = (rank + 3) % kSize;
        for (uint32_t turn = 0; turn < 2; ++turn) {
            for (int i = 0; i < 5; ++i) {
                for (uint32_t t = 0; t < 32; ++t) {
                    const uint32_t sent = before * 1000 + (31 - t) * 4 + turn;
                    const uint32_t values[] = {rank, kSize, sent + 800 + rank, sent + 900,
                                               sent + 901};
                    result.expected.push_back(values[i]);
                }
            }
        }
    }
    return result;
}

// Each of two blocks loads its half of a tile [32, 64] into both.
__global__ void multicast_kernel(const __grid_constant__ tile::TensorMap map, uint16_t* out) {
    constexpr int kHalf = 16 * 64;
    tile::Shared shared;
    auto* halves = shared.take<uint16_t>(2 * kHalf, 1024);
    auto* full = shared.take<Mbarrier>(1);
    const auto rank = static_cast<int>(tile::cluster_rank());
    if (threadIdx.x == 0) {
        tile::mbarrier_init(full, 1);
        tile::mbarrier_init_fence();
        tile::mbarrier_arrive_expect(full, 2 * kHalf * 2);
    }
    tile::cluster_sync();
    if (threadIdx.x == 0) {
        tile::tma_load_multicast(halves + rank * kHalf, map, 0, rank * 16, full, 3);
    }
    tile::mbarrier_wait(full, 0);
    for (int i = threadIdx.x; i < 2 * kHalf; i += blockDim.x) {
        out[blockIdx.x * 2 * kHalf + i] = halves[i];
    }
    tile::cluster_sync();
}

Result multicast_case(Device& device) {
    const Tensor tensor = {2, {64, 32, 1}, {64, 16, 1}, {0, 0, 0}, k128};
    std::vector<uint16_t> values, expected;
    for (int i = 0; i < tensor.count(); ++i) values.push_back(element(i));
    Buffer in(device, packed(values)), out(device, 2 * 32 * 64 / 2);
    tile::TensorMap map;
    Result result;
    if (!tensor.map(in.as<void>(), &map)) {
        result.fault = "no tensor map";
        return result;
    }
    tile::Config config = tile::config(2, 64, 32 * 64 * 2 + 8);
    config.cluster = 2;
    result.fault = launch(device, multicast_kernel, config, map, out.as<uint16_t>());
    result.got = out.read();
    for (int i = 0; i < 2 * 32 * 64; ++i) {
        const int inside = tensor.place(i % (32 * 64));
        expected.push_back(element(tensor.index(inside % 64, inside / 64, 0)));
    }
    result.expected = packed(expected);
    return result;
}

}  // namespace

std::vector<Case> bulk_cases() {
    std::vector<Case> cases = {
        {"mbarrier_ring", 90, false, mbarrier_ring_case},
        {"mbarrier_copies", 90, false, mbarrier_copies_case},
        {"bulk_copy", 90, false, bulk_copy_case},
        {"turns", 90, false, turns_case},
        {"cluster", 90, false, cluster_case},
        {"multicast", 90, true, multicast_case},
    };
    add_tensor_cases(cases, std::make_integer_sequence<int, kTensorCount>());
    return cases;
}

}  // namespace tile_test
