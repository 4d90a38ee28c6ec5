// out = a + b. Forward only: its gradient is the identity, for which the graph moves no data.
#include <algorithm>
#include <type_traits>

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

constexpr int64_t kChunk = 16384;  // elements a task: large enough to hide its start, small enough to share

template <typename T>
void add(const T* a, const T* b, T* out, int64_t n) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(out + i, load(a + i) + load(b + i));
    store_part(out + i, load_part(a + i, n - i) + load_part(b + i, n - i), n - i);
}

}  // namespace

void add_forward(Pool& pool, const caravan_add_args& args) {
    int64_t n = 1;
    for (int i = 0; i < args.a.rank; ++i) n *= args.a.shape[i];
    with_storage(args.a.dtype, [&](auto tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        pool.run((n + kChunk - 1) / kChunk, [&](int64_t task, int) {
            const int64_t from = task * kChunk;
            add(data<T>(args.a) + from, data<T>(args.b) + from, data<T>(args.out) + from,
                std::min(kChunk, n - from));
        });
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
