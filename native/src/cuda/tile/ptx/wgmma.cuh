// wgmma for nvcc; cuda/tile/wgmma.cuh says what each wrapper means.
#pragma once

#include <cstdint>

#include "cuda/tile/ptx/require.cuh"

namespace caravan::tile {

__device__ void wgmma_fence() {
#if CARAVAN_SM90A
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#else
    ptx::unavailable();
#endif
}

__device__ void wgmma_commit() {
#if CARAVAN_SM90A
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#else
    ptx::unavailable();
#endif
}

namespace ptx {

// An empty statement that reads and writes the array, so that no use of it moves across.
template <int kCount>
__device__ __forceinline__ void hold(float (&values)[kCount]) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(values[i])::"memory");
}

template <int kCount>
__device__ __forceinline__ void hold(uint32_t (&values)[kCount]) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(values[i])::"memory");
}

template <typename T, int kRows, int kCount>
__device__ __forceinline__ void hold(T (&values)[kRows][kCount]) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) hold(values[i]);
}

template <typename T, int kBlocks, int kRows, int kCount>
__device__ __forceinline__ void hold(T (&values)[kBlocks][kRows][kCount]) {
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) hold(values[i]);
}

// One specialisation for each N, since the instruction names every register.
template <int kN>
struct Wgmma;

// clang-format off
// Eight registers: their names in the instruction, and the operands behind the names.
#define CARAVAN_NAMES_0 "%0, %1, %2, %3, %4, %5, %6, %7"
#define CARAVAN_NAMES_1 CARAVAN_NAMES_0 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define CARAVAN_NAMES_2 CARAVAN_NAMES_1 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define CARAVAN_NAMES_3 CARAVAN_NAMES_2 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define CARAVAN_NAMES_4 CARAVAN_NAMES_3 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define CARAVAN_NAMES_5 CARAVAN_NAMES_4 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define CARAVAN_NAMES_6 CARAVAN_NAMES_5 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define CARAVAN_NAMES_7 CARAVAN_NAMES_6 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define CARAVAN_NAMES_8 CARAVAN_NAMES_7 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define CARAVAN_NAMES_9 CARAVAN_NAMES_8 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define CARAVAN_NAMES_10 CARAVAN_NAMES_9 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define CARAVAN_NAMES_11 CARAVAN_NAMES_10 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define CARAVAN_NAMES_12 CARAVAN_NAMES_11 ", %96, %97, %98, %99, %100, %101, %102, %103"
#define CARAVAN_NAMES_13 CARAVAN_NAMES_12 ", %104, %105, %106, %107, %108, %109, %110, %111"
#define CARAVAN_NAMES_14 CARAVAN_NAMES_13 ", %112, %113, %114, %115, %116, %117, %118, %119"
#define CARAVAN_NAMES_15 CARAVAN_NAMES_14 ", %120, %121, %122, %123, %124, %125, %126, %127"
#define CARAVAN_EIGHT(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), \
                         "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define CARAVAN_SUMS_0 CARAVAN_EIGHT(0)
#define CARAVAN_SUMS_1 CARAVAN_SUMS_0, CARAVAN_EIGHT(8)
#define CARAVAN_SUMS_2 CARAVAN_SUMS_1, CARAVAN_EIGHT(16)
#define CARAVAN_SUMS_3 CARAVAN_SUMS_2, CARAVAN_EIGHT(24)
#define CARAVAN_SUMS_4 CARAVAN_SUMS_3, CARAVAN_EIGHT(32)
#define CARAVAN_SUMS_5 CARAVAN_SUMS_4, CARAVAN_EIGHT(40)
#define CARAVAN_SUMS_6 CARAVAN_SUMS_5, CARAVAN_EIGHT(48)
#define CARAVAN_SUMS_7 CARAVAN_SUMS_6, CARAVAN_EIGHT(56)
#define CARAVAN_SUMS_8 CARAVAN_SUMS_7, CARAVAN_EIGHT(64)
#define CARAVAN_SUMS_9 CARAVAN_SUMS_8, CARAVAN_EIGHT(72)
#define CARAVAN_SUMS_10 CARAVAN_SUMS_9, CARAVAN_EIGHT(80)
#define CARAVAN_SUMS_11 CARAVAN_SUMS_10, CARAVAN_EIGHT(88)
#define CARAVAN_SUMS_12 CARAVAN_SUMS_11, CARAVAN_EIGHT(96)
#define CARAVAN_SUMS_13 CARAVAN_SUMS_12, CARAVAN_EIGHT(104)
#define CARAVAN_SUMS_14 CARAVAN_SUMS_13, CARAVAN_EIGHT(112)
#define CARAVAN_SUMS_15 CARAVAN_SUMS_14, CARAVAN_EIGHT(120)

// n: the N; g: its last group of eight registers; the rest: the operands' numbers, from N / 2 on.
#if CARAVAN_SM90A
#define CARAVAN_WGMMA_BODY(n, names, sums, operands, predicate, ...)                            \
    asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, " predicate ", 0;\n"                     \
                 "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" names "}, "       \
                 operands ";\n}"                                                                \
                 : sums : __VA_ARGS__)
#define CARAVAN_WGMMA_SUMS(...) __VA_ARGS__
#else
#define CARAVAN_WGMMA_BODY(n, names, sums, operands, predicate, ...) unavailable()
#define CARAVAN_WGMMA_SUMS(...) d[0]
#endif

#define CARAVAN_WGMMA(n, g, p0, p1, p2, p3, p4, p5, p6)                                          \
    template <>                                                                                 \
    struct Wgmma<n> {                                                                           \
        template <int kMajorA, int kMajorB>                                                     \
        __device__ __forceinline__ static void shared(float (&d)[n / 2], uint64_t a, uint64_t b, \
                                                      int add) {                                \
            CARAVAN_WGMMA_BODY(n, CARAVAN_NAMES_##g, CARAVAN_WGMMA_SUMS(CARAVAN_SUMS_##g),      \
                               p0 ", " p1 ", add, 1, 1, " p3 ", " p4, p2, "l"(a), "l"(b),       \
                               "r"(add), "n"(kMajorA), "n"(kMajorB));                           \
        }                                                                                       \
        template <int kMajorB>                                                                  \
        __device__ __forceinline__ static void registers(                                       \
            float (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, int add) {                   \
            CARAVAN_WGMMA_BODY(n, CARAVAN_NAMES_##g, CARAVAN_WGMMA_SUMS(CARAVAN_SUMS_##g),      \
                               "{" p0 ", " p1 ", " p2 ", " p3 "}, " p4 ", add, 1, 1, " p6, p5,  \
                               "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add),    \
                               "n"(kMajorB));                                                   \
        }                                                                                       \
    };

CARAVAN_WGMMA(16, 0, "%8", "%9", "%10", "%11", "%12", "%13", "%14")
CARAVAN_WGMMA(32, 1, "%16", "%17", "%18", "%19", "%20", "%21", "%22")
CARAVAN_WGMMA(48, 2, "%24", "%25", "%26", "%27", "%28", "%29", "%30")
CARAVAN_WGMMA(64, 3, "%32", "%33", "%34", "%35", "%36", "%37", "%38")
CARAVAN_WGMMA(80, 4, "%40", "%41", "%42", "%43", "%44", "%45", "%46")
CARAVAN_WGMMA(96, 5, "%48", "%49", "%50", "%51", "%52", "%53", "%54")
CARAVAN_WGMMA(112, 6, "%56", "%57", "%58", "%59", "%60", "%61", "%62")
CARAVAN_WGMMA(128, 7, "%64", "%65", "%66", "%67", "%68", "%69", "%70")
CARAVAN_WGMMA(144, 8, "%72", "%73", "%74", "%75", "%76", "%77", "%78")
CARAVAN_WGMMA(160, 9, "%80", "%81", "%82", "%83", "%84", "%85", "%86")
CARAVAN_WGMMA(176, 10, "%88", "%89", "%90", "%91", "%92", "%93", "%94")
CARAVAN_WGMMA(192, 11, "%96", "%97", "%98", "%99", "%100", "%101", "%102")
CARAVAN_WGMMA(208, 12, "%104", "%105", "%106", "%107", "%108", "%109", "%110")
CARAVAN_WGMMA(224, 13, "%112", "%113", "%114", "%115", "%116", "%117", "%118")
CARAVAN_WGMMA(240, 14, "%120", "%121", "%122", "%123", "%124", "%125", "%126")
CARAVAN_WGMMA(256, 15, "%128", "%129", "%130", "%131", "%132", "%133", "%134")

#undef CARAVAN_WGMMA
#undef CARAVAN_WGMMA_BODY
#undef CARAVAN_WGMMA_SUMS
// clang-format on

}  // namespace ptx

template <int kPending, typename... Sums>
__device__ void wgmma_wait(Sums&... sums) {
#if CARAVAN_SM90A
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
    (ptx::hold(sums), ...);
#else
    ptx::unavailable();
#endif
}

template <typename... Operands>
__device__ void wgmma_keep(Operands&... operands) {
    (ptx::hold(operands), ...);
}

template <int kN, Major kMajorA, Major kMajorB>
__device__ void wgmma(float (&sums)[kN / 2], uint64_t a, uint64_t b, bool add) {
    ptx::Wgmma<kN>::template shared<static_cast<int>(kMajorA), static_cast<int>(kMajorB)>(
        sums, a, b, add ? 1 : 0);
}

template <int kN, Major kMajorB>
__device__ void wgmma(float (&sums)[kN / 2], const uint32_t (&a)[4], uint64_t b, bool add) {
    ptx::Wgmma<kN>::template registers<static_cast<int>(kMajorB)>(sums, a, b, add ? 1 : 0);
}

}  // namespace caravan::tile
