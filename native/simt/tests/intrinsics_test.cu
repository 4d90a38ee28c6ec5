// CUDA's built-in functions against plain computations from their description in the programming
// guide.
#include <algorithm>

#include "simt/tests/plant.h"

namespace plant {
namespace {

constexpr int kWidths[] = {1, 2, 4, 8, 16, 32};

__global__ void index_kernel(int* out) {
    const unsigned linear = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    out[block * blockDim.x * blockDim.y * blockDim.z + linear] =
        static_cast<int>(block * 1000 + linear);
}

void test_indices() {
    const dim3 grid(3, 2, 2), block(4, 3, 5);
    const Buffer<int> out(12 * 60);
    clean("indices", index_kernel, {grid, block}, out);
    for (int i = 0; i < 12 * 60; ++i) {
        check(out[i] == i / 60 * 1000 + i % 60, "indices", std::to_string(i));
    }
}

template <typename T>
__global__ void shuffle_kernel(T* out, int kind, int operand, int width) {
    const auto value = static_cast<T>(threadIdx.x * 3 + 1);
    const unsigned mask = 0xffffffffu;
    T got = 0;
    if (kind == 0) got = __shfl_sync(mask, value, operand, width);
    if (kind == 1) got = __shfl_up_sync(mask, value, static_cast<unsigned>(operand), width);
    if (kind == 2) got = __shfl_down_sync(mask, value, static_cast<unsigned>(operand), width);
    if (kind == 3) got = __shfl_xor_sync(mask, value, operand, width);
    out[threadIdx.x] = got;
}

// The lane whose value arrives. Guide: up and down do not wrap round within a group of `width`
// lanes, xor may reach an earlier group but not a later one.
int expected_lane(int kind, int lane, int operand, int width) {
    const int group = lane / width;
    if (kind == 0) return group * width + operand % width;
    const int source = kind == 1 ? lane - operand : kind == 2 ? lane + operand : lane ^ operand;
    if (kind == 3) return source / width <= group ? source : lane;
    return source >= 0 && source / width == group ? source : lane;
}

template <typename T>
void test_shuffles(const char* name) {
    const Buffer<T> out(32);
    for (int kind = 0; kind < 4; ++kind) {
        for (const int width : kWidths) {
            for (const int operand : {0, 1, 2, 5, 16, 31}) {
                const std::string message =
                    launch(shuffle_kernel<T>, {1, 32}, out, kind, operand, width);
                check(message.empty(), name, message);
                for (int lane = 0; lane < 32; ++lane) {
                    const auto expected =
                        static_cast<T>(expected_lane(kind, lane, operand, width) * 3 + 1);
                    check(out[lane] == expected, name,
                          "kind " + std::to_string(kind) + " width " + std::to_string(width) +
                              " operand " + std::to_string(operand) + " lane " +
                              std::to_string(lane));
                }
            }
        }
    }
}

__global__ void vote_kernel(unsigned* out, unsigned mask, unsigned holds) {
    const unsigned lane = threadIdx.x;
    if ((mask >> lane & 1) == 0) return;
    const int predicate = static_cast<int>(holds >> lane & 1);
    unsigned* const own = out + lane * 8;
    own[0] = __ballot_sync(mask, predicate);
    own[1] = static_cast<unsigned>(__any_sync(mask, predicate));
    own[2] = static_cast<unsigned>(__all_sync(mask, predicate));
    own[3] = __match_any_sync(mask, lane % 3);
    int all = 0;
    own[4] = __match_all_sync(mask, 7.5f, &all);
    own[5] = static_cast<unsigned>(all);
    own[6] = static_cast<unsigned>(__reduce_add_sync(mask, -static_cast<int>(lane)));
    own[7] = __reduce_max_sync(mask, lane ^ 5u) * 10000 + __reduce_xor_sync(mask, lane) * 100 +
             __reduce_and_sync(mask, lane | 32u);
}

void test_votes() {
    const Buffer<unsigned> out(32 * 8);
    for (const unsigned mask : {0xffffffffu, 0x0000ffffu, 0x80000001u, 0x00000010u}) {
        for (const unsigned holds : {0u, 0xffffffffu, 0x80000000u, 0x12345678u}) {
            const std::string message = launch(vote_kernel, {1, 32}, out, mask, holds);
            check(message.empty(), "votes", message);
            int sum = 0;
            unsigned most = 0, mixed = 0, common = 63;
            for (unsigned lane = 0; lane < 32; ++lane) {
                if ((mask >> lane & 1) == 0) continue;
                sum -= static_cast<int>(lane);
                most = std::max(most, lane ^ 5u);
                mixed ^= lane;
                common &= lane | 32u;
            }
            for (unsigned lane = 0; lane < 32; ++lane) {
                if ((mask >> lane & 1) == 0) continue;
                unsigned same = 0;
                for (unsigned other = lane % 3; other < 32; other += 3) same |= 1u << other;
                const unsigned* const got = out + lane * 8;
                check(got[0] == (mask & holds), "ballot", std::to_string(got[0]));
                check(got[1] == ((mask & holds) != 0), "any", std::to_string(got[1]));
                check(got[2] == ((mask & holds) == mask), "all", std::to_string(got[2]));
                check(got[3] == (mask & same), "match any", std::to_string(got[3]));
                check(got[4] == mask && got[5] == 1, "match all", std::to_string(got[4]));
                check(got[6] == static_cast<unsigned>(sum), "reduce add", std::to_string(got[6]));
                check(got[7] == most * 10000 + mixed * 100 + common, "reduce",
                      std::to_string(got[7]));
            }
        }
    }
}

__global__ void atomics_kernel(int* i, unsigned* u, float* f, unsigned long long* l, int* taken) {
    const int t = static_cast<int>(threadIdx.x);
    atomicAdd(i, t - 40);
    atomicMax(i + 1, t - 100);
    atomicMin(i + 2, -t);
    atomicSub(i + 3, 1);
    atomicOr(u, 1u << t % 32);
    atomicAnd(u + 1, ~(1u << t % 7));
    atomicXor(u + 2, 1u << t % 3);
    atomicInc(u + 3, 9u);
    atomicAdd(f, 0.5f);
    atomicAdd(l, 1ull << 40);
    atomicMax(l + 1, static_cast<unsigned long long>(t) << 33);
    // A lock by compare and swap, around a plain sum.
    taken[atomicAdd(i + 4, 1)] = t;
    int old = *static_cast<volatile int*>(i + 5), seen = 0;
    do {
        seen = old;
        old = atomicCAS(i + 5, seen, seen + t);
    } while (old != seen);
}

void test_atomics() {
    const Buffer<int> i(6), taken(100);
    const Buffer<unsigned> u(4);
    const Buffer<float> f(1);
    const Buffer<unsigned long long> l(2);
    under_all_seeds([&] {
        std::fill(i + 0, i + 6, 0);
        i[1] = -1000;
        std::fill(u + 0, u + 4, 0u);
        u[1] = 0xffffffffu;
        *f = 0;
        std::fill(l + 0, l + 2, 0ull);
        const std::string message = launch(atomics_kernel, {1, 100}, i, u, f, l, taken);
        check(message.empty(), "atomics", message);
        check(i[0] == 950 && i[1] == -1 && i[2] == -99 && i[3] == -100, "atomics", "int");
        check(u[0] == 0xffffffffu && u[1] == 0xffffff80u && u[2] == 6 && u[3] == 0, "atomics",
              "unsigned " + std::to_string(u[2]) + " " + std::to_string(u[3]));
        check(*f == 50 && l[0] == 100ull << 40 && l[1] == 99ull << 33, "atomics", "float, 64 bits");
        check(i[5] == 4950, "atomics", "compare and swap");
        std::vector<int> sorted(taken + 0, taken + 100);
        std::sort(sorted.begin(), sorted.end());
        for (int t = 0; t < 100; ++t)
            check(sorted[static_cast<size_t>(t)] == t, "atomics", "tickets");
    });
}

void test_bits() {
    check(__popc(0xf0f0u) == 8 && __popcll(~0ull) == 64, "bits", "popc");
    check(__ffs(0) == 0 && __ffs(8) == 4 && __ffsll(1ll << 40) == 41, "bits", "ffs");
    check(__clz(0) == 32 && __clz(1) == 31 && __clzll(0) == 64 && __clzll(1) == 63, "bits", "clz");
    check(__umulhi(0xffffffffu, 0xffffffffu) == 0xfffffffeu, "bits", "umulhi");
    check(__umul64hi(~0ull, ~0ull) == ~0ull - 1, "bits", "umul64hi");
    check(__funnelshift_l(0x80000000u, 1u, 1) == 3u, "bits", "funnelshift_l");
    check(__funnelshift_r(2u, 1u, 1) == 0x80000001u, "bits", "funnelshift_r");
    check(__byte_perm(0x33221100u, 0x77665544u, 0x7531u) == 0x77553311u, "bits", "byte_perm");
    check(__byte_perm(0x00000080u, 0u, 0x0008u) == 0x808080ffu, "bits", "byte_perm, sign");
    check(__uint_as_float(0x3f800000u) == 1.0f && __float_as_int(-0.0f) == INT32_MIN, "bits",
          "casts");
    check(__float2int_rn(2.5f) == 2 && __float2int_rn(-1.5f) == -2 && __float2int_rd(-0.5f) == -1,
          "bits", "rounding");
    check(min(-1, 2) == -1 && max(2u, 3u) == 3u && max(1.0f, __uint_as_float(0x7fc00000u)) == 1.0f,
          "bits", "min, max");
    check(rsqrtf(4.0f) == 0.5f && __saturatef(1.5f) == 1.0f && __saturatef(NAN) == 0.0f, "bits",
          "floats");
}

// The same seed gives the same run, another one another order.
__global__ void order_kernel(int* order, int* next) {
    order[atomicAdd(next, 1)] = static_cast<int>(threadIdx.x);
}

void test_order() {
    const Buffer<int> order(64), next(1);
    const auto run = [&](uint64_t seed) {
        simt::settings().seed = seed;
        *next = 0;
        const std::string message = launch(order_kernel, {1, 64}, order, next);
        check(message.empty(), "order", message);
        return std::vector<int>(order + 0, order + 64);
    };
    const simt::Settings before = simt::settings();
    check(run(1) != run(2), "order", "two seeds, one order");
    simt::settings().in_order = true;
    std::vector<int> counted(64);
    for (int t = 0; t < 64; ++t) counted[static_cast<size_t>(t)] = t;
    check(run(1) == counted, "order", "not in order");
    simt::settings() = before;
}

}  // namespace
}  // namespace plant

int main() {
    plant::test_indices();
    plant::test_shuffles<int>("shuffle int");
    plant::test_shuffles<float>("shuffle float");
    plant::test_shuffles<unsigned long long>("shuffle 64 bits");
    plant::test_votes();
    plant::test_atomics();
    plant::test_bits();
    plant::test_order();
    if (plant::failures() > 0) std::fprintf(stderr, "%d checks failed\n", plant::failures());
    return plant::failures() == 0 ? 0 : 1;
}
