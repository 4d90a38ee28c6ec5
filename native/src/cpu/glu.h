// The loops of the gated units, out = f(gate) * up, over the function f and its derivative.
#pragma once

#include <type_traits>

#include "core/activations.h"
#include "core/blocks.h"
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {

// What core/activations.h needs of vectors.
struct VectorMath {
    static Vec exp(Vec x) { return CARAVAN_ISA::exp(x); }
    static Vec inverse(Vec x) { return 1.0f / x; }
    static Vec clamp(Vec x, float low, float high) {
        return min(broadcast(high), max(broadcast(low), x));  // this way a NaN stays one
    }
};

// Calls body(tag, r) for every row r, tag as with_storage gives it.
template <typename Body>
inline void for_rows(Pool& pool, const caravan_tensor& matrix, Body&& body) {
    const Blocks blocks = row_blocks(matrix.shape[0], matrix.shape[1]);
    with_storage(matrix.dtype, [&](auto tag) {
        pool.run(blocks.count, [&](int64_t block, int) {
            for (int64_t r = blocks.begin(block); r < blocks.end(block); ++r) body(tag, r);
        });
    });
}

template <typename F>
inline void glu_forward(Pool& pool, const caravan_glu_forward_args& args, F&& activation) {
    for_rows(pool, args.gate, [&](auto tag, int64_t r) {
        using T = std::remove_pointer_t<decltype(tag)>;
        const T* const gate = row<T>(args.gate, r);
        const T* const up = row<T>(args.up, r);
        T* const out = row<T>(args.out, r);
        for_vectors(args.gate.shape[1], [&](int64_t i, auto part) {
            store(out + i, activation(load(gate + i, part)).value * load(up + i, part), part);
        });
    });
}

template <typename F>
inline void glu_backward(Pool& pool, const caravan_glu_backward_args& args, F&& activation) {
    for_rows(pool, args.gate, [&](auto tag, int64_t r) {
        using T = std::remove_pointer_t<decltype(tag)>;
        const T* const d_out = row<T>(args.d_out, r);
        const T* const gate = row<T>(args.gate, r);
        const T* const up = row<T>(args.up, r);
        T* const d_gate = row<T>(args.d_gate, r);
        T* const d_up = row<T>(args.d_up, r);
        for_vectors(args.gate.shape[1], [&](int64_t i, auto part) {
            const Vec g = load(d_out + i, part);
            const Activation<Vec> f = activation(load(gate + i, part));
            const Vec to_gate = g * load(up + i, part) * f.derivative;
            store(d_up + i, g * f.value, part);
            store(d_gate + i, to_gate, part);
        });
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
