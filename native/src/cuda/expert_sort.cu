// A stable counting sort of assignments by expert, with capacity, on the device alone. Assignments
// are counted by chunks; a scan over the chunks makes the first place of each expert in each chunk;
// the place inside a chunk is the number of set bits before it in the expert's mask. Counts are
// whole numbers, so atomic additions leave no doubt about the result. Bytes: experts twice, slots
// and assignments once, 8 for each expert and chunk.
#include "core/experts.h"
#include "core/random.h"
#include "cuda/kernels.h"
#include "cuda/tensors.h"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {
namespace {

constexpr int kThreads = 256, kScanThreads = 1024;
constexpr int kAtOnce = 8;  // counts that are loaded before the first is added
constexpr int32_t kDropped = -1, kKept = 0;

struct Sort {
    const int32_t* experts;
    const float* weights;
    const caravan_step_state* state;
    int32_t *offsets, *assignments, *slots;
    int32_t* counts;  // [chunks, n]: assignments, then those of chunks before
    int32_t* taken;   // [groups, choices, chunks of a group, n]: wanted, then those before
    int64_t tokens, all, group, group_chunks, groups;
    int32_t n, choices, chunk, chunks;
    int64_t capacity;
    float threshold;
    int32_t policy, salt, first;

    __device__ __forceinline__ int32_t expert(int64_t assignment) const {
        return experts[assignment] - first;
    }
    __device__ __forceinline__ bool wants(int64_t assignment, int32_t choice) const {
        const int32_t e = expert(assignment);
        if (e < 0 || e >= n) return false;
        if (choice == 0 || policy == CARAVAN_SECOND_ALL) return true;
        const float weight = weights[assignment];
        if (policy == CARAVAN_SECOND_THRESHOLD) return weight > threshold;
        const uint64_t index = (static_cast<uint64_t>(static_cast<uint32_t>(salt)) << 32) +
                               static_cast<uint64_t>(assignment);
        const uint32_t bits =
            element_random(state->seed, static_cast<uint64_t>(state->step), index);
        return static_cast<float>(bits >> 8) * 0x1p-24f * threshold < weight;
    }
    // Behind mark(), where there is a capacity.
    __device__ __forceinline__ bool keeps(int64_t assignment) const {
        return capacity > 0 ? slots[assignment] == kKept
                            : wants(assignment, static_cast<int32_t>(assignment % choices));
    }
};

__device__ __forceinline__ void clear(int32_t* values, int count) {
    for (int i = threadIdx.x; i < count; i += kThreads) values[i] = 0;
    __syncthreads();
}

// The tokens of a chunk of a group.
struct Tokens {
    int64_t from, to;

    __device__ __forceinline__ Tokens(const Sort& a, int64_t group, int64_t chunk) {
        const int64_t end = min((group + 1) * a.group, a.tokens);
        from = min(group * a.group + chunk * a.chunk, end);
        to = min(from + a.chunk, end);
    }
};

// How many of a chunk's tokens want each expert as their choice number blockIdx.y.
__global__ void __launch_bounds__(kThreads) expert_sort_want_kernel(const Sort a) {
    auto* const counts = tile::Shared().take<int32_t>(a.n);
    clear(counts, a.n);
    const int64_t group = blockIdx.x / a.group_chunks, chunk = blockIdx.x % a.group_chunks;
    const auto choice = static_cast<int32_t>(blockIdx.y);
    const Tokens tokens(a, group, chunk);
    for (int64_t t = tokens.from + threadIdx.x; t < tokens.to; t += kThreads) {
        const int64_t i = t * a.choices + choice;
        if (a.wants(i, choice)) atomicAdd(counts + a.expert(i), 1);
    }
    __syncthreads();
    int32_t* const to =
        a.taken + ((group * a.choices + choice) * a.group_chunks + chunk) * int64_t{a.n};
    for (int e = threadIdx.x; e < a.n; e += kThreads) to[e] = counts[e];
}

// counts[i][e] becomes the sum of those before it; returns the sum of all.
__device__ __forceinline__ int32_t scan(int32_t* counts, int64_t count, int32_t n, int32_t e) {
    int32_t sum = 0;
    for (int64_t i = 0; i < count; i += kAtOnce) {
        int32_t part[kAtOnce];
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
            part[j] = i + j < count ? counts[(i + j) * n + e] : 0;
        }
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
            if (i + j < count) counts[(i + j) * n + e] = sum;
            sum += part[j];
        }
    }
    return sum;
}

// First choices of a group take their places before its second ones.
__global__ void __launch_bounds__(kThreads) expert_sort_turn_kernel(const Sort a) {
    const int32_t e =
        static_cast<int32_t>(blockIdx.y) * kThreads + static_cast<int32_t>(threadIdx.x);
    if (e >= a.n) return;
    const int64_t count = a.choices * a.group_chunks;
    scan(a.taken + static_cast<int64_t>(blockIdx.x) * count * a.n, count, a.n, e);
}

// masks[e] of bits 0 .. chunk - 1 in shared memory.
struct Masks {
    uint32_t* bits;
    int words;

    __device__ __forceinline__ void set(int32_t e, int at) const {
        atomicOr(bits + e * words + at / 32, 1u << at % 32);
    }
    // Bits of e before `at`.
    __device__ __forceinline__ int32_t before(int32_t e, int at) const {
        const uint32_t* const own = bits + e * words;
        int32_t count = __popc(own[at / 32] & ((1u << at % 32) - 1));
        for (int w = 0; w < at / 32; ++w) count += __popc(own[w]);
        return count;
    }
};

// Which choices fit their expert's capacity, in slots.
__global__ void __launch_bounds__(kThreads) expert_sort_mark_kernel(const Sort a) {
    const Masks masks = {tile::Shared().take<uint32_t>(int64_t{a.n} * (a.chunk / 32)),
                         a.chunk / 32};
    clear(reinterpret_cast<int32_t*>(masks.bits), a.n * masks.words);
    const int64_t group = blockIdx.x / a.group_chunks, chunk = blockIdx.x % a.group_chunks;
    const auto choice = static_cast<int32_t>(blockIdx.y);
    const Tokens tokens(a, group, chunk);
    for (int64_t t = tokens.from + threadIdx.x; t < tokens.to; t += kThreads) {
        const int64_t i = t * a.choices + choice;
        if (a.wants(i, choice)) masks.set(a.expert(i), static_cast<int>(t - tokens.from));
    }
    __syncthreads();
    const int32_t* const before =
        a.taken + ((group * a.choices + choice) * a.group_chunks + chunk) * int64_t{a.n};
    for (int64_t t = tokens.from + threadIdx.x; t < tokens.to; t += kThreads) {
        const int64_t i = t * a.choices + choice;
        bool kept = a.wants(i, choice);
        if (kept) {
            const int32_t e = a.expert(i);
            kept = before[e] + masks.before(e, static_cast<int>(t - tokens.from)) < a.capacity;
        }
        a.slots[i] = kept ? kKept : kDropped;
    }
}

__global__ void __launch_bounds__(kThreads) expert_sort_count_kernel(const Sort a) {
    auto* const counts = tile::Shared().take<int32_t>(a.n);
    clear(counts, a.n);
    const int64_t from = static_cast<int64_t>(blockIdx.x) * a.chunk;
    const int64_t to = min(from + a.chunk, a.all);
    for (int64_t i = from + threadIdx.x; i < to; i += kThreads) {
        if (a.keeps(i)) atomicAdd(counts + a.expert(i), 1);
    }
    __syncthreads();
    for (int e = threadIdx.x; e < a.n; e += kThreads) {
        a.counts[static_cast<int64_t>(blockIdx.x) * a.n + e] = counts[e];
    }
}

// One block: of each expert the sums before each chunk, then where its rows begin.
__global__ void __launch_bounds__(kScanThreads) expert_sort_scan_kernel(const Sort a) {
    auto* const ends = tile::Shared().take<int32_t>(kScanThreads);
    const auto e = static_cast<int32_t>(threadIdx.x);
    const int32_t own = e < a.n ? scan(a.counts, a.chunks, a.n, e) : 0;
    ends[e] = own;
    __syncthreads();
    for (int distance = 1; distance < kScanThreads; distance *= 2) {
        const int32_t left = e >= distance ? ends[e - distance] : 0;
        __syncthreads();
        ends[e] += left;
        __syncthreads();
    }
    if (e < a.n) a.offsets[e] = ends[e] - own;
    if (e == a.n - 1) a.offsets[a.n] = ends[e];
}

__global__ void __launch_bounds__(kThreads) expert_sort_place_kernel(const Sort a) {
    const Masks masks = {tile::Shared().take<uint32_t>(int64_t{a.n} * (a.chunk / 32)),
                         a.chunk / 32};
    clear(reinterpret_cast<int32_t*>(masks.bits), a.n * masks.words);
    const int64_t from = static_cast<int64_t>(blockIdx.x) * a.chunk;
    const int64_t to = min(from + a.chunk, a.all);
    for (int64_t i = from + threadIdx.x; i < to; i += kThreads) {
        if (a.keeps(i)) masks.set(a.expert(i), static_cast<int>(i - from));
    }
    __syncthreads();
    const int32_t* const before = a.counts + static_cast<int64_t>(blockIdx.x) * a.n;
    const int32_t used = a.offsets[a.n];
    for (int64_t i = from + threadIdx.x; i < to; i += kThreads) {
        int32_t slot = kDropped;
        if (a.keeps(i)) {
            const int32_t e = a.expert(i);
            slot = a.offsets[e] + before[e] + masks.before(e, static_cast<int>(i - from));
            a.assignments[slot] = static_cast<int32_t>(i);
        }
        a.slots[i] = slot;
        if (i >= used) a.assignments[i] = -1;
    }
}

}  // namespace

void expert_sort_forward(tile::Launcher& launcher, const caravan_expert_sort_args& args) {
    const CudaExpertSortPlan plan = plan_cuda_expert_sort(args);
    Sort a = {};
    a.experts = data<int32_t>(args.experts);
    a.weights = data<float>(args.weights);
    a.state = data<caravan_step_state>(args.state);
    a.offsets = data<int32_t>(args.offsets);
    a.assignments = data<int32_t>(args.assignments);
    a.slots = data<int32_t>(args.slots);
    a.counts = data<int32_t>(args.workspace);
    a.taken = a.counts + plan.counts;
    a.tokens = args.experts.shape[0];
    a.choices = static_cast<int32_t>(args.experts.shape[1]);
    a.all = a.tokens * a.choices;
    a.n = static_cast<int32_t>(args.offsets.shape[0] - 1);
    a.chunk = static_cast<int32_t>(plan.chunk);
    a.chunks = static_cast<int32_t>(plan.chunks);
    a.group = plan.group;
    a.group_chunks = plan.group_chunks;
    a.groups = plan.groups;
    a.capacity = args.capacity;
    a.threshold = args.threshold;
    a.policy = args.policy;
    a.salt = args.salt;
    a.first = args.first;
    const auto config = [](int64_t blocks, int64_t across, int threads, int64_t bytes) {
        return tile::Config{dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(across)),
                            dim3(static_cast<unsigned>(threads)), bytes, 1};
    };
    const int64_t count_bytes = tile::SharedLayout().take<int32_t>(a.n).bytes();
    const int64_t mask_bytes =
        tile::SharedLayout().take<uint32_t>(int64_t{a.n} * (a.chunk / 32)).bytes();
    if (a.all > 0 && a.capacity > 0) {
        const int64_t blocks = a.groups * a.group_chunks;
        launcher.run(expert_sort_want_kernel, config(blocks, a.choices, kThreads, count_bytes), a);
        launcher.run(expert_sort_turn_kernel,
                     config(a.groups, (a.n + kThreads - 1) / kThreads, kThreads, 0), a);
        launcher.run(expert_sort_mark_kernel, config(blocks, a.choices, kThreads, mask_bytes), a);
    }
    if (a.all > 0) {
        launcher.run(expert_sort_count_kernel, config(a.chunks, 1, kThreads, count_bytes), a);
    }
    static_assert(CARAVAN_MAX_EXPERTS <= kScanThreads, "a thread for each expert");
    launcher.run(
        expert_sort_scan_kernel,
        config(1, 1, kScanThreads, tile::SharedLayout().take<int32_t>(kScanThreads).bytes()), a);
    if (a.all > 0) {
        launcher.run(expert_sort_place_kernel, config(a.chunks, 1, kThreads, mask_bytes), a);
    }
}

}  // namespace cuda
}  // namespace caravan
