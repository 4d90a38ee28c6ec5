// Attention of few queries over many keys, bf16, as generation does: its time goes into reading
// keys and values, so each is read once for all query heads that share it. A block takes 16 rows,
// each a query of a document and one of the query heads of a key/value head, and a split of the
// document's keys; its warps go over tiles of 16 keys in turn, each with sums of its own and copies
// ahead of its products. The warps' sums are added up in shared memory, those of the splits by a
// second kernel; both in a fixed order, and splits follow from shapes and lengths alone. Keys and
// values may lie in pages. Sources: Dao et al. 2023, "Flash-Decoding"; Kwon et al. 2023, arXiv
// 2309.06180, section 4.1, for pages.
#include "cuda/attention.h"
#include "cuda/attention_bias.cuh"
#include "cuda/attention_mma.cuh"
#include "cuda/attention_tiles.h"

namespace caravan {
namespace cuda {
namespace {

using namespace mma;

constexpr int kRows = static_cast<int>(kCudaDecodeRows);
constexpr int kKeys = attention_decode_tiles(AttentionWidths::k64).passed;  // of a warp's tile
constexpr int kStages = attention_decode_tiles(AttentionWidths::k64).stages;
constexpr int kSumThreads = 256;

static_assert(kCudaSplitKeys % kKeys == 0, "splits are whole tiles");

struct Decode : Forward {
    Bias bias;
    int32_t splits;
    float* partial;  // [splits, query rows, heads, cuda_decode_floats]

    // Where a split leaves what it found of a row and head.
    __device__ __forceinline__ float* at(int split, int64_t row, int64_t head) const {
        const int64_t number = (split * rules.query_rows + row) * rules.heads + head;
        return partial + number * cuda_decode_floats(rules.value_width);
    }
};

template <int kWidth_, int kValueWidth_, int kWarps_>
struct DecodeShape {
    static constexpr int kWidth = kWidth_, kValueWidth = kValueWidth_, kWarps = kWarps_;
    static constexpr int kThreads = kWarps * tile::kWarp;
    static constexpr int kQueryBytes = static_cast<int>(Tile<kWidth>::bytes(kRows));
    static constexpr int kStageBytes =
        static_cast<int>(Tile<kWidth>::bytes(kKeys) + Tile<kValueWidth>::bytes(kKeys));
    static constexpr int kTileBytes = kQueryBytes + kWarps * kStages * kStageBytes;
    static constexpr int kSumBytes = kWarps * kRows * kValueWidth * 4;
    static_assert(kSumBytes <= kWarps * kStages * kStageBytes, "sums lie where the tiles were");
    // Then what each warp subtracted from each row's scores, and its sum of weights.
    static constexpr int64_t kBytes = kTileBytes + 2 * kWarps * kRows * int64_t{sizeof(float)};
};

// The rows of a slot: numbered by query and query head of the key/value head.
struct DecodeRows {
    DocumentTile document;
    int group, count;

    __device__ __forceinline__ int query(int r) const {
        return (static_cast<int>(document.begin) + r) / group;
    }
    __device__ __forceinline__ int head(int kv_head, int r) const {
        return kv_head * group + (static_cast<int>(document.begin) + r) % group;
    }
};

// Starts a warp's copies of `rows` rows; the rest of the tile becomes 0.
template <int kWidth>
__device__ __forceinline__ void copy_warp_tile(const Tile<kWidth>& to, const bf16* from,
                                               int64_t stride, int rows, int width) {
    constexpr int kChunks = kWidth / kChunk;
    const int own = tile::opaque(lane());  // so that no addresses are kept from tile to tile
#pragma unroll 4
    for (int i = 0; i < kKeys * kChunks / tile::kWarp; ++i) {
        const int at = own + i * tile::kWarp, row = at / kChunks, chunk = at % kChunks;
        tile::copy_async_filled<16>(to.at(row, chunk), from + row * stride + chunk * kChunk,
                                    row < rows && chunk * kChunk < width ? 16 : 0);
    }
}

// NaN for the rows of a slot, for offsets that are no documents.
__device__ __forceinline__ void spoil_decode(const Decode& a, int64_t slot, int kv_head) {
    const int group = a.rules.group;
    for (int r = 0; r < kRows; ++r) {
        const int64_t number = slot * kRows + r, row = number / group;
        const int64_t head = kv_head * group + number % group;
        if (row >= a.rules.query_rows) return;
        for (int i = threadIdx.x; i < a.rules.value_width; i += blockDim.x) {
            a.out.at(row, head)[i] = tile::from_float<bf16>(NAN);
        }
        if (a.lse != nullptr && threadIdx.x == 0) a.lse[head * a.lse_stride + row] = NAN;
    }
}

template <typename Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    attention_decode_kernel(const __grid_constant__ Decode a) {
    constexpr int kWidth = Shape::kWidth, kValueWidth = Shape::kValueWidth;
    constexpr int kWarps = Shape::kWarps, kThreads = Shape::kThreads;
    const AttentionRules& rules = a.rules;
    const int kv_head = blockIdx.y, split = blockIdx.z;
    if (!documents_hold(rules)) {
        if (a.splits == 1) spoil_decode(a, blockIdx.x, kv_head);
        return;
    }
    DecodeRows rows;
    rows.group = rules.group;
    rows.document = find_tile<Side::kQueries>(rules, blockIdx.x, kRows, rows.group);
    const DocumentTile& document = rows.document;
    if (document.begin >= document.queries * rows.group) return;
    rows.count =
        static_cast<int>(min(document.queries * rows.group - document.begin, int64_t{kRows}));
    const int64_t split_keys = cuda_split_keys(document.keys, a.splits);
    if (split > 0 && split * split_keys >= document.keys) return;
    const int keys = static_cast<int>(document.keys);
    const int shift = static_cast<int>(document.shift());
    const int left = static_cast<int>(rules.left), right = static_cast<int>(rules.right);
    const Span seen = keys_seen(rules, document, rows.query(0), rows.query(rows.count - 1) + 1);
    const int first = static_cast<int>(max(seen.from, split * split_keys)) / kKeys * kKeys;
    const int last = static_cast<int>(min(seen.to, (split + 1) * split_keys));
    const bool all = reaches_last_quarter<kWidth>(rules.width);
    const bool all_values = reaches_last_quarter<kValueWidth>(rules.value_width);

    unsigned char* const memory = tile::shared_memory();
    const Tile<kWidth> queries = {memory};
    unsigned char* const stages =
        memory + Shape::kQueryBytes + warp() * kStages * Shape::kStageBytes;
    bool bad = false;  // a page that is none was met
    const auto copy_stage = [&](int key, int stage) {
        if (key < last) {
            const int64_t row = row_of_key(rules, document, key);
            bad |= row < 0;
            const int there = row < 0 ? 0 : keys - key;
            const int64_t from = row < 0 ? 0 : row;
            unsigned char* const to = stages + stage * Shape::kStageBytes;
            copy_warp_tile(Tile<kWidth>{to}, a.k.at(from, kv_head), a.k.row, there, rules.width);
            copy_warp_tile(Tile<kValueWidth>{to + Tile<kWidth>::bytes(kKeys)},
                           a.v.at(from, kv_head), a.v.row, there, rules.value_width);
        }
        tile::copy_async_commit();
    };
    constexpr int kChunks = kWidth / kChunk;
    for (int i = threadIdx.x; i < kRows * kChunks; i += kThreads) {
        const int r = i / kChunks, chunk = i % kChunks;
        const bool there = r < rows.count && chunk * kChunk < rules.width;
        const bf16* const from =
            a.q.at(document.first_query + rows.query(there ? r : 0), rows.head(kv_head, r));
        tile::copy_async_filled<16>(queries.at(r, chunk), from + chunk * kChunk, there ? 16 : 0);
    }
    tile::copy_async_commit();
    copy_stage(first + warp() * kKeys, 0);
    tile::copy_async_wait<1>();
    __syncthreads();  // the queries are there
    Left<1, kWidth, (kWidth <= 64)> query_operand(queries, 0);
    query_operand.keep();

    // Of a lane's two rows: their positions and heads, the keys that they see, what is subtracted
    // from scores, and the sum of weights in its columns.
    int position[2], head[2], from[2], to[2];
    float base[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int r = half * 8 + lane() / 4;
        const bool there = r < rows.count;
        position[half] = rows.query(there ? r : 0) + shift;
        head[half] = rows.head(kv_head, there ? r : 0);
        from[half] = position[half] - left;
        to[half] = there ? min(position[half] + right, keys - 1) : -1;
    }
    float sums[1][kValueWidth / 8][4];
    clear(sums);
    for (int key = first + warp() * kKeys, stage = 0; key < last;
         key += kWarps * kKeys, stage ^= 1) {
        copy_stage(key + kWarps * kKeys, stage ^ 1);
        tile::copy_async_wait<1>();
        __syncwarp();  // this stage is there
        unsigned char* const at = stages + stage * Shape::kStageBytes;
        float scores[1][kKeys / 8][4];
        const int zero = tile::opaque(0);
        multiply(scores, query_operand, Tile<kWidth>{at}, zero, all);
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int column = key + n * 8 + lane() % 4 * 2 + e % 2;
                float& score = scores[0][n][e];
                if (a.scores.cap > 0) {
                    score = a.scores.cap * tile::tanh_of_cap(score * a.scores.bend);
                }
                if (a.bias.table != nullptr) {
                    const int bucket = a.bias.bucket.of(column - position[e / 2]);
                    score = score * a.scores.unbiased + a.bias.value(bucket, head[e / 2]);
                }
                if (column < from[e / 2] || column > to[e / 2]) score = -INFINITY;
            }
        }
        float shrink[2];
        bool grown = false;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float high = -INFINITY;
#pragma unroll
            for (int n = 0; n < kKeys / 8; ++n) {
                high = fmaxf(high, fmaxf(scores[0][n][half * 2], scores[0][n][half * 2 + 1]));
            }
            high = fmaxf(high, __shfl_xor_sync(tile::kFullMask, high, 1));
            high = fmaxf(high, __shfl_xor_sync(tile::kFullMask, high, 2));
            const float next = fmaxf(base[half], high * a.scores.scale);
            grown |= next != base[half];
            shrink[half] = next == base[half] ? 1.0f : tile::exp2_flushed(base[half] - next);
            base[half] = next;
            const float subtracted = next == -INFINITY ? 0.0f : next;
            float sum = 0;
#pragma unroll
            for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
                for (int e = half * 2; e < half * 2 + 2; ++e) {
                    float& weight = scores[0][n][e];
                    weight = tile::exp2_flushed(weight * a.scores.scale - subtracted);
                    sum += weight;
                }
            }
            total[half] = total[half] * shrink[half] + sum;
        }
        if (__any_sync(tile::kFullMask, grown)) {
#pragma unroll
            for (int n = 0; n < kValueWidth / 8; ++n) {
#pragma unroll
                for (int e = 0; e < 4; ++e) sums[0][n][e] *= shrink[e / 2];
            }
        }
        uint32_t weights[1][4];
        to_left(weights, scores, 0);
        accumulate(sums, weights, Tile<kValueWidth>{at + Tile<kWidth>::bytes(kKeys)}, 0, zero,
                   all_values);
        __syncwarp();  // the stage is free
    }
    tile::copy_async_wait<0>();

    auto* const bases = reinterpret_cast<float*>(memory + Shape::kTileBytes);  // [warps][rows]
    float* const totals = bases + kWarps * kRows;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float& sum = total[half];
        sum += __shfl_xor_sync(tile::kFullMask, sum, 1);
        sum += __shfl_xor_sync(tile::kFullMask, sum, 2);
        if (lane() % 4 != 0) continue;
        const int r = warp() * kRows + half * 8 + lane() / 4;
        bases[r] = base[half];
        totals[r] = bad ? NAN : sum;
    }
    __syncthreads();  // also: the tiles have been read
    // The largest base of a row, and what a warp's sums count beside it.
    const auto highest = [&](int r) {
        float most = -INFINITY;
        for (int w = 0; w < kWarps; ++w) most = fmaxf(most, bases[w * kRows + r]);
        return most;
    };
    const auto share = [&](int w, int r, float most) {
        const float own = bases[w * kRows + r];
        return own == most ? 1.0f : tile::exp2_flushed(own - most);
    };
    auto* const all_sums = reinterpret_cast<float*>(memory + Shape::kQueryBytes);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int r = half * 8 + lane() / 4;
        const float by = share(warp(), r, highest(r));
        float* const row = all_sums + (warp() * kRows + r) * kValueWidth + lane() % 4 * 2;
#pragma unroll
        for (int n = 0; n < kValueWidth / 8; ++n) {
            row[n * 8] = sums[0][n][half * 2] * by;
            row[n * 8 + 1] = sums[0][n][half * 2 + 1] * by;
        }
    }
    __syncthreads();
    const int chunks = rules.value_width / kChunk;
    for (int i = threadIdx.x; i < rows.count * chunks; i += kThreads) {
        const int r = i / chunks, column = i % chunks * kChunk;
        const float most = highest(r);
        float all_weights = 0;
        tile::Vector<float, kChunk> sum = {};
        for (int w = 0; w < kWarps; ++w) {
            all_weights += totals[w * kRows + r] * share(w, r, most);
            const float* const row = all_sums + (w * kRows + r) * kValueWidth + column;
#pragma unroll
            for (int e = 0; e < kChunk; ++e) sum[e] += row[e];
        }
        const int64_t query_row = document.first_query + rows.query(r);
        const int head = rows.head(kv_head, r);
        if (a.splits > 1) {
            float* const to = a.at(split, query_row, head);
#pragma unroll
            for (int e = 0; e < kChunk; e += 4) {
                tile::store(to + column + e,
                            tile::Vector<float, 4>{{sum[e], sum[e + 1], sum[e + 2], sum[e + 3]}});
            }
            if (column != 0) continue;
            to[rules.value_width] = most;
            to[rules.value_width + 1] = all_weights;
            continue;
        }
        const Finish finish = finish_row(rules, head, most, all_weights);
        tile::Vector<bf16, kChunk> result;
#pragma unroll
        for (int e = 0; e < kChunk; ++e) {
            result[e] = tile::from_float<bf16>(sum[e] * finish.factor);
        }
        tile::store(a.out.at(query_row, head) + column, result);
        if (a.lse != nullptr && column == 0) a.lse[head * a.lse_stride + query_row] = finish.lse;
    }
}

// Adds up what the splits of each row and head found: a warp for each.
__global__ void __launch_bounds__(kSumThreads)
    attention_decode_sum_kernel(const __grid_constant__ Decode a) {
    const AttentionRules& rules = a.rules;
    const bool holds = documents_hold(rules);
    const int64_t number = (int64_t{blockIdx.x} * kSumThreads + threadIdx.x) / tile::kWarp;
    if (number >= rules.query_rows * rules.heads) return;
    const int64_t row = number / rules.heads;
    const int head = static_cast<int>(number - row * rules.heads);
    int splits = 0;
    if (holds) {
        const int64_t document = document_of_row(rules, row);
        const int64_t keys =
            document < rules.documents ? rules.cu_k[document + 1] - rules.cu_k[document] : 0;
        const int64_t each = cuda_split_keys(keys, a.splits);
        splits = static_cast<int>((keys + each - 1) / each);
    }
    const int width = rules.value_width;
    float most = -INFINITY;
    for (int split = lane(); split < splits; split += tile::kWarp) {
        most = fmaxf(most, a.at(split, row, head)[width]);
    }
    most = tile::warp_max(most);
    const auto share = [&](float base) {
        return base == most ? 1.0f : tile::exp2_flushed(base - most);
    };
    float total = 0;
    for (int split = lane(); split < splits; split += tile::kWarp) {
        const float* const found = a.at(split, row, head);
        total += found[width + 1] * share(found[width]);
    }
    total = tile::warp_sum(total);
    Finish finish = finish_row(rules, head, most, total);
    if (!holds) finish = {NAN, NAN};
    for (int column = lane() * 4; column < width; column += tile::kWarp * 4) {
        tile::Vector<float, 4> sum = {};
        for (int split = 0; split < splits; ++split) {
            const float* const found = a.at(split, row, head);
            const float by = share(found[width]);
            const auto part = tile::load<4>(found + column);
#pragma unroll
            for (int e = 0; e < 4; ++e) sum[e] += part[e] * by;
        }
        tile::Vector<bf16, 4> result;
#pragma unroll
        for (int e = 0; e < 4; ++e) result[e] = tile::from_float<bf16>(sum[e] * finish.factor);
        tile::store(a.out.at(row, head) + column, result);
    }
    if (a.lse != nullptr && lane() == 0) a.lse[head * a.lse_stride + row] = finish.lse;
}

template <typename Shape>
void run(tile::Launcher& launcher, const Decode& a) {
    const AttentionRules& rules = a.rules;
    const int64_t slots = attention_slots(rules.query_rows * rules.group, rules.documents, kRows);
    launcher.run(
        attention_decode_kernel<Shape>,
        {dim3(static_cast<unsigned>(slots), static_cast<unsigned>(rules.heads / rules.group),
              static_cast<unsigned>(a.splits)),
         dim3(Shape::kThreads), Shape::kBytes, 1},
        a);
    if (a.splits == 1) return;
    constexpr int64_t kWarps = kSumThreads / tile::kWarp;
    launcher.run(attention_decode_sum_kernel,
                 tile::config((rules.query_rows * rules.heads + kWarps - 1) / kWarps, kSumThreads),
                 a);
}

}  // namespace

void attention_decode(tile::Launcher& launcher, const caravan_attention_forward_args& args,
                      AttentionWidths widths) {
    Decode a = {};
    static_cast<Forward&>(a) = forward_of(args);
    a.bias = bias_of(a.rules);
    const int64_t most_keys =
        args.pages.data != nullptr ? args.pages.shape[1] * args.page_rows : args.k.shape[0];
    a.splits = static_cast<int32_t>(cuda_decode_splits(a.rules.query_rows, a.rules.heads,
                                                       a.rules.heads / a.rules.group,
                                                       a.rules.documents, most_keys));
    a.partial = data<float>(args.workspace);
    with_widths(widths, [&](auto chosen) {
        constexpr AttentionTiles kTiles = attention_decode_tiles(decltype(chosen)::value);
        run<DecodeShape<kTiles.width, kTiles.value_width, kTiles.warps>>(launcher, a);
    });
}

}  // namespace cuda
}  // namespace caravan
