// Rows of a table by id, and the sum of gradients back into it.
//
// Backward adds the rows of one id in the order of their tokens, each sum rounded to the table's
// dtype as on the CPU, and without atomics. For that it sorts the tokens by (id, token): chunks of
// 256 by counting smaller keys, then eight sorted runs at a time into one, where each key finds its
// place by searching the other seven. Then the first token of each id adds all of them. An id that
// cannot be makes its row of out NaN, and is skipped backward; a number of rows that cannot be
// makes every row of d_table NaN that has a token.
//
// Bytes: forward reads a row of the table and writes a row of out for each token; backward reads
// d_out once and the rows of d_table that have a token once, and writes these. Besides, 4 bytes an
// id, and backward 16 bytes a token for each pass of the sort: one for 256 tokens, 2 to 2,048, 3 to
// 16,384, 4 to 131,072.
#include <algorithm>

#include "core/embedding_layout.h"
#include "cuda/kernels.h"
#include "cuda/rows.cuh"
#include "cuda/tensors.h"
#include "cuda/tile/shared.cuh"

namespace caravan {
namespace cuda {
namespace {

constexpr int kChunk = 256;  // tokens that a block sorts
constexpr int kWays = 8;     // sorted runs that become one
constexpr int kAddThreads = 256;
constexpr int kPlaces = 4;  // in the sorted keys, of a block that adds
constexpr int kBatch = 6;   // rows of an id that are loaded together
constexpr uint32_t kNone = 0xffffffffu;

template <typename T, typename U, int kVector>
__global__ void __launch_bounds__(kRowThreads)
    embedding_fwd_kernel(const int32_t* ids, int64_t tokens, const T* table, int64_t table_stride,
                         int64_t vocabulary, int64_t first_id, int64_t whole, U* out,
                         int64_t out_stride, int64_t width, int shift) {
    const RowPlace at = row_place(shift);
    if (at.row >= tokens) return;
    U* const to = out + at.row * out_stride;
    const int64_t id = ids[at.row], place = id - first_id;
    if (id < 0 || id >= whole) return fill_row<kVector>(to, width, NAN, at);
    if (place < 0 || place >= vocabulary) return fill_row<kVector>(to, width, 0.0f, at);
    copy_row<kVector>(table + place * table_stride, to, width, at);
}

// How many leading tokens count; all, and `bad`, when the number cannot be.
struct Used {
    int64_t tokens;
    bool bad;
};

__device__ __forceinline__ Used used_tokens(const int32_t* rows, int64_t tokens) {
    if (rows == nullptr) return {tokens, false};
    const int64_t count = *rows;
    if (count < 0 || count > tokens) return {tokens, true};
    return {count, false};
}

// A token's key: its id, or kNone when it does not count, and then its number, so that no two are
// equal.
__device__ __forceinline__ uint32_t id_of(uint64_t key) { return static_cast<uint32_t>(key >> 32); }
__device__ __forceinline__ int64_t token_of(uint64_t key) {
    return static_cast<int64_t>(key & kNone);
}

__global__ void __launch_bounds__(kChunk)
    embedding_sort_kernel(const int32_t* ids, int64_t tokens, const int32_t* rows,
                          int64_t vocabulary, int64_t first_id, uint64_t* sorted) {
    tile::Shared shared;
    auto* const keys = shared.take<uint64_t>(kChunk);
    const int64_t first = static_cast<int64_t>(blockIdx.x) * kChunk;
    const auto thread = static_cast<int>(threadIdx.x);
    const int64_t t = first + thread;
    uint32_t id = kNone;
    if (t < used_tokens(rows, tokens).tokens) {
        const int64_t given = ids[t] - first_id;
        if (given >= 0 && given < vocabulary) id = static_cast<uint32_t>(given);
    }
    const uint64_t key = static_cast<uint64_t>(id) << 32 | static_cast<uint64_t>(t);
    keys[thread] = key;
    __syncthreads();
    int place = 0;
#pragma unroll 8
    for (int i = 0; i < kChunk; ++i) place += keys[i] < key ? 1 : 0;
    if (t < tokens) sorted[first + place] = key;
}

// Merges each kWays runs of `run` keys, a power of two.
__global__ void __launch_bounds__(kChunk)
    embedding_merge_kernel(const uint64_t* from, uint64_t* to, int64_t tokens, int64_t run) {
    const int64_t at = static_cast<int64_t>(blockIdx.x) * kChunk + threadIdx.x;
    if (at >= tokens) return;
    const uint64_t key = from[at];
    const int64_t begin = at / (kWays * run) * (kWays * run);
    int64_t smaller[kWays] = {};  // keys of each run, by a search that halves its steps
    for (int64_t step = run; step > 0; step /= 2) {
#pragma unroll
        for (int way = 0; way < kWays; ++way) {
            const int64_t probe = begin + way * run + smaller[way] + step - 1;
            if (smaller[way] + step <= run && probe < tokens && from[probe] < key) {
                smaller[way] += step;
            }
        }
    }
    int64_t place = begin;
#pragma unroll
    for (int way = 0; way < kWays; ++way) place += smaller[way];
    to[place] = key;
}

// sum + part as the table stores it.
template <typename T, int kVector, typename U>
__device__ __forceinline__ tile::Vector<float, kVector> added(
    const tile::Vector<float, kVector>& sum, const tile::Vector<U, kVector>& part) {
    auto total = tile::to_floats(part);
#pragma unroll
    for (int j = 0; j < kVector; ++j) total[j] += sum[j];
    return tile::to_floats(tile::from_floats<T>(total));
}

// Adds d_out's rows to sum, in the order of their keys from number `at` on, as long as they are of
// `id`.
template <typename T, int kVector, typename U>
__device__ __forceinline__ void add_run(const uint64_t* sorted, int64_t tokens, uint32_t id,
                                        const U* d_out, int64_t out_stride, int64_t at,
                                        tile::Vector<float, kVector>& sum) {
    bool more = true;
    for (; more; at += kBatch) {
        tile::Vector<U, kVector> parts[kBatch];
        bool counts[kBatch];
#pragma unroll
        for (int i = 0; i < kBatch; ++i) {
            const uint64_t key = at + i < tokens ? sorted[at + i] : ~uint64_t{0};
            counts[i] = id_of(key) == id;
            if (counts[i]) parts[i] = tile::load<kVector>(d_out + token_of(key) * out_stride);
        }
#pragma unroll
        for (int i = 0; i < kBatch; ++i) {
            if (counts[i]) sum = added<T>(sum, parts[i]);
        }
        more = counts[kBatch - 1];
    }
}

// Blocks: (kPlaces places in the sorted keys, run of columns). A block adds all tokens of those ids
// whose first key is at one of its places. The keys come together, and then the rows of all places
// together: one row at a time, what is under way would not fill the memory.
template <typename T, typename U, int kVector>
__global__ void __launch_bounds__(kAddThreads, 3)
    embedding_bwd_kernel(const uint64_t* sorted, int64_t tokens, const int32_t* rows,
                         const U* d_out, int64_t out_stride, T* d_table, int64_t table_stride,
                         int64_t width) {
    const int64_t first = static_cast<int64_t>(blockIdx.x) * kPlaces;
    const int64_t column = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * kVector;
    if (column >= width) return;
    d_out += column;
    d_table += column;
    uint64_t keys[kPlaces];
    uint32_t before = first > 0 ? id_of(sorted[first - 1]) : kNone;
#pragma unroll
    for (int i = 0; i < kPlaces; ++i) {
        keys[i] = first + i < tokens ? sorted[first + i] : ~uint64_t{0};
    }
    const bool bad = used_tokens(rows, tokens).bad;

    tile::Vector<T, kVector> held[kPlaces];   // of the table
    tile::Vector<U, kVector> parts[kPlaces];  // of d_out
    bool begins[kPlaces], counts[kPlaces];
#pragma unroll
    for (int i = 0; i < kPlaces; ++i) {
        const uint32_t id = id_of(keys[i]);
        begins[i] = id != kNone && id != before;
        counts[i] = begins[i] || (i > 0 && counts[i - 1] && id == before);
        before = id;
        if (begins[i]) held[i] = tile::load<kVector>(d_table + id * table_stride);
        if (counts[i]) {
            parts[i] = tile::load<kVector>(d_out + token_of(keys[i]) * out_stride);
        }
    }
    tile::Vector<float, kVector> sum = {};
#pragma unroll
    for (int i = 0; i < kPlaces; ++i) {
        if (!counts[i]) continue;
        if (begins[i]) sum = tile::to_floats(held[i]);
        sum = added<T>(sum, parts[i]);
        const uint32_t id = id_of(keys[i]);
        if (i + 1 == kPlaces) {
            add_run<T>(sorted, tokens, id, d_out, out_stride, first + kPlaces, sum);
        } else if (id_of(keys[i + 1]) == id) {
            continue;
        }
        if (bad) {
#pragma unroll
            for (int j = 0; j < kVector; ++j) sum[j] = NAN;
        }
        tile::store(d_table + id * table_stride, tile::from_floats<T>(sum));
    }
}

// start(table tag, other tag, vector): storage, and the elements of one access as a constant.
template <typename Start>
void choose(const caravan_tensor& table, const caravan_tensor& other, Start&& start) {
    with_storage(table.dtype, [&](auto* table_tag) {
        with_storage(other.dtype, [&](auto* tag) {
            using T = StorageOf<decltype(table_tag)>;
            using U = StorageOf<decltype(tag)>;
            // As many as the wider of the two moves in 16 bytes.
            constexpr int kWide = std::min(tile::kLanes<T>, tile::kLanes<U>);
            if (wide_rows(table) && wide_rows(other)) {
                start(table_tag, tag, std::integral_constant<int, kWide>{});
            } else {
                start(table_tag, tag, std::integral_constant<int, 1>{});
            }
        });
    });
}

// The keys in order: in one half of the workspace or the other.
const uint64_t* sort_tokens(tile::Launcher& launcher, const caravan_embedding_backward_args& args) {
    const int64_t tokens = args.ids.shape[0];
    const tile::Config config = tile::config((tokens + kChunk - 1) / kChunk, kChunk);
    // Of a part of a table, rows behind the whole one's last are padding, which no id can mean.
    const int64_t vocabulary = args.d_table.shape[0];
    const int64_t own = args.whole > 0 ? std::min(vocabulary, args.whole - args.first) : vocabulary;
    auto* from = data<uint64_t>(args.workspace);
    uint64_t* to = from + tokens;
    tile::Config with_keys = config;
    with_keys.shared_bytes = tile::SharedLayout().take<uint64_t>(kChunk).bytes();
    launcher.run(embedding_sort_kernel, with_keys, data<int32_t>(args.ids), tokens,
                 data<int32_t>(args.rows), own, args.first, from);
    for (int64_t run = kChunk; run < tokens; run *= kWays) {
        launcher.run(embedding_merge_kernel, config, from, to, tokens, run);
        std::swap(from, to);
    }
    return from;
}

}  // namespace

void embedding_forward(tile::Launcher& launcher, const caravan_embedding_forward_args& args) {
    const int64_t tokens = args.ids.shape[0], width = args.table.shape[1];
    if (tokens * width == 0) return;
    const int64_t whole = args.whole > 0 ? args.whole : args.table.shape[0];
    choose(args.table, args.out, [&](auto* table_tag, auto* tag, auto vector) {
        using T = StorageOf<decltype(table_tag)>;
        using U = StorageOf<decltype(tag)>;
        const int shift = row_shift(width / vector);
        launcher.run(embedding_fwd_kernel<T, U, vector>, row_config(tokens, shift),
                     data<int32_t>(args.ids), tokens, data<T>(args.table), row_stride(args.table),
                     args.table.shape[0], args.first, whole, data<U>(args.out),
                     row_stride(args.out), width, shift);
    });
}

void embedding_backward(tile::Launcher& launcher, const caravan_embedding_backward_args& args) {
    const int64_t tokens = args.ids.shape[0], width = args.d_table.shape[1];
    if (tokens * width == 0) return;
    constexpr int64_t kMostTokens = INT32_MAX, kMostColumns = int64_t{65535} * kAddThreads;
    if (tokens > kMostTokens || width > kMostColumns) {
        return launcher.refuse("needs at most %lld tokens of %lld columns, got %lld of %lld",
                               static_cast<long long>(kMostTokens),
                               static_cast<long long>(kMostColumns), static_cast<long long>(tokens),
                               static_cast<long long>(width));
    }
    const uint64_t* const sorted = sort_tokens(launcher, args);
    choose(args.d_table, args.d_out, [&](auto* table_tag, auto* tag, auto vector) {
        using T = StorageOf<decltype(table_tag)>;
        using U = StorageOf<decltype(tag)>;
        const int64_t pieces = width / vector;
        const int64_t warps = (pieces + tile::kWarp - 1) / tile::kWarp;
        const int threads = static_cast<int>(std::min<int64_t>(kAddThreads, warps * tile::kWarp));
        tile::Config config = tile::config((tokens + kPlaces - 1) / kPlaces, threads);
        config.grid.y = static_cast<unsigned>((pieces + threads - 1) / threads);
        launcher.run(embedding_bwd_kernel<T, U, vector>, config, sorted, tokens,
                     data<int32_t>(args.rows), data<U>(args.d_out), row_stride(args.d_out),
                     data<T>(args.d_table), row_stride(args.d_table), width);
    });
}

}  // namespace cuda
}  // namespace caravan
