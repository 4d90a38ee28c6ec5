// Products of each expert's rows with its weights. A task is a tile of an expert's rows and of the
// columns; tiles follow from the counts of rows alone.
// The activation, or its gradient, is applied to a tile while it is in the cache.
#include "cpu/glu.h"
#include "cpu/grouped.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

constexpr int64_t kColumns = 1024;  // most columns of a tile; times 256 rows they are kTileArea

// Calls body(activation of a Vec) with the function of an activation.
template <typename Body>
void with_activation(int32_t activation, Body&& body) {
    switch (activation) {
        case CARAVAN_EXPERT_SWIGLU:
        case CARAVAN_EXPERT_SILU:
            return body([](Vec x) { return silu<VectorMath>(x); });
        case CARAVAN_EXPERT_GEGLU:
        case CARAVAN_EXPERT_GELU:
            return body([](Vec x) { return gelu<VectorMath>(x); });
        default:
            return body([](Vec x) { return gelu_tanh<VectorMath>(x); });
    }
}

template <typename T>
void narrow_row(const float* from, int64_t n, T* to) {
    for_vectors(n, [&](int64_t i, auto part) { store(to + i, load(from + i, part), part); });
}

// act = f(h) for one row: gate, and up where the unit is gated, are float.
template <typename T>
void activate(int32_t activation, const float* gate, const float* up, int64_t n, T* act) {
    with_activation(activation, [&](auto f) {
        for_vectors(n, [&](int64_t i, auto part) {
            const Vec value = f(load(gate + i, part)).value;
            store(act + i, up == nullptr ? value : value * load(up + i, part), part);
        });
    });
}

// The tile's product in the columns of out, and its activation. T is the storage of out.
template <typename T>
void forward_tile(const caravan_grouped_matmul_forward_args& args, const RowTile& tile,
                  int64_t expert, float* scratch) {
    const Rows x = {&args.x, data<int32_t>(args.assignments), args.choices};
    const ExpertWeights w = {&args.w, expert};
    const bool transpose = args.transpose_w == 0, gated = expert_gated(args.activation);
    const bool direct = args.out.dtype == CARAVAN_F32;
    const int64_t units = expert_units(args.activation, args.out.shape[1]);
    const int64_t parts = gated ? 2 : 1, ldc = row_stride(args.out);
    float* const operands = scratch + kTileArea;
    T* const out = data<T>(args.out) + tile.first * ldc;
    // A whole row of a gated unit is one product, its halves side by side.
    const bool one = !gated || tile.columns == units;
    float* c[2];
    int64_t ld;
    if (direct) {
        c[0] = reinterpret_cast<float*>(out) + tile.column;
        c[1] = c[0] + units;
        ld = ldc;
    } else {
        c[0] = scratch;
        c[1] = scratch + tile.columns;
        ld = parts * tile.columns;
    }
    RowTile product = tile;
    if (one) {
        product.columns = parts * tile.columns;
        expert_product(x, w, transpose, product, c[0], ld, operands);
    } else {
        expert_product(x, w, transpose, product, c[0], ld, operands);
        product.column += units;
        expert_product(x, w, transpose, product, c[1], ld, operands);
    }
    for (int64_t r = 0; r < tile.rows; ++r) {
        for (int64_t half = 0; half < parts && !direct; ++half) {
            narrow_row(c[half] + r * ld, tile.columns, out + r * ldc + half * units + tile.column);
        }
        if (args.activation == CARAVAN_EXPERT_NONE) continue;
        activate(args.activation, c[0] + r * ld, gated ? c[1] + r * ld : nullptr, tile.columns,
                 row<T>(args.act, tile.first + r) + tile.column);
    }
}

// Tiles of every expert's rows; each is cut into `columns` further tasks.
ExpertTasks tile_tasks(const int32_t* offsets, int64_t experts, int64_t rows, int64_t columns) {
    return ExpertTasks(experts, [&](int64_t e) {
        return row_tiles(offsets[e + 1] - offsets[e], grouped_tile_rows(rows)).tiles * columns;
    });
}

}  // namespace

void grouped_matmul_forward(Pool& pool, const caravan_grouped_matmul_forward_args& args) {
    const int64_t rows = args.out.shape[0], experts = args.w.shape[0];
    const int64_t units = expert_units(args.activation, args.out.shape[1]);
    const int64_t depth = args.x.shape[1];
    const auto* const offsets = data<int32_t>(args.offsets);
    const int64_t most = expert_gated(args.activation) ? kColumns / 2 : kColumns;
    const int64_t pieces = (units + most - 1) / most;
    const int64_t columns = ((units + pieces - 1) / pieces + 15) / 16 * 16;
    const ExpertTasks tasks = tile_tasks(offsets, experts, rows, pieces);
    pool.run(tasks.count(), [&](int64_t number, int thread) {
        const auto task = tasks.of(number);
        const RowTiles tiles =
            row_tiles(offsets[task.expert + 1] - offsets[task.expert], grouped_tile_rows(rows));
        const int64_t row = task.index / pieces * tiles.size;
        const int64_t column = task.index % pieces * columns;
        if (column >= units) return;
        const RowTile tile = {offsets[task.expert] + row, std::min(tiles.size, tiles.count - row),
                              column, std::min(columns, units - column), depth};
        auto* const scratch = static_cast<float*>(pool.scratch(thread));
        with_storage(args.out.dtype, [&](auto tag) {
            forward_tile<std::remove_pointer_t<decltype(tag)>>(args, tile, task.expert, scratch);
        });
    });
}

namespace {

// Given g [n], the gradient of act before its weight, for one row and some of its columns: writes
// d_h and the weighted act, and returns <g, act>.
template <typename T, typename F>
float back_row(F&& f, const float* g, float weight, const T* gate, const T* up, int64_t n,
               T* d_gate, T* d_up, T* act) {
    return sum_vectors(n, [&](int64_t i, auto part) {
        const Vec slope = load(g + i, part);
        const Activation<Vec> a = f(load(gate + i, part));
        const Vec by_weight = slope * weight;
        Vec value = a.value, to_gate = by_weight * a.derivative;
        if (up != nullptr) {
            const Vec other = load(up + i, part);
            value *= other;
            to_gate *= other;
            store(d_up + i, by_weight * a.value, part);
        }
        store(d_gate + i, to_gate, part);
        store(act + i, value * weight, part);
        return inside(slope * value, part);
    });
}

template <typename T>
void backward_tile(const caravan_grouped_matmul_backward_args& args, const RowTile& rows,
                   int64_t expert, float* scratch) {
    const int64_t choices = args.weights.shape[1], units = args.w.shape[2];
    const Rows d_y = {&args.d_y, data<int32_t>(args.assignments), choices};
    const ExpertWeights w = {&args.w, expert};
    const bool gated = expert_gated(args.activation);
    auto* const d_weights = data<float>(args.d_weights);
    for (int64_t column = 0; column < units; column += kColumns) {
        RowTile tile = rows;
        tile.column = column;
        tile.columns = std::min(kColumns, units - column);
        expert_product(d_y, w, false, tile, scratch, tile.columns, scratch + kTileArea);
        with_activation(args.activation, [&](auto f) {
            for (int64_t i = 0; i < tile.rows; ++i) {
                const int64_t r = tile.first + i;
                const T* const h = row<T>(args.h, r) + column;
                T* const d_h = row<T>(args.d_h, r) + column;
                const float weight = data<float>(args.weights)[data<int32_t>(args.assignments)[r]];
                const float sum = back_row(
                    f, scratch + i * tile.columns, weight, h, gated ? h + units : nullptr,
                    tile.columns, d_h, gated ? d_h + units : nullptr, row<T>(args.act, r) + column);
                d_weights[r] = column == 0 ? sum : d_weights[r] + sum;
            }
        });
    }
}

}  // namespace

void grouped_matmul_backward(Pool& pool, const caravan_grouped_matmul_backward_args& args) {
    const int64_t rows = args.h.shape[0], experts = args.w.shape[0], depth = args.w.shape[1];
    const auto* const offsets = data<int32_t>(args.offsets);
    const ExpertTasks tasks = tile_tasks(offsets, experts, rows, 1);
    pool.run(tasks.count(), [&](int64_t number, int thread) {
        const auto task = tasks.of(number);
        const RowTiles tiles =
            row_tiles(offsets[task.expert + 1] - offsets[task.expert], grouped_tile_rows(rows));
        const int64_t row = task.index * tiles.size;
        const RowTile tile = {offsets[task.expert] + row, std::min(tiles.size, tiles.count - row),
                              0, 0, depth};
        auto* const scratch = static_cast<float*>(pool.scratch(thread));
        with_storage(args.h.dtype, [&](auto tag) {
            backward_tile<std::remove_pointer_t<decltype(tag)>>(args, tile, task.expert, scratch);
        });
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
