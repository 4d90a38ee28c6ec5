// The kernels of the gated units, out = f(gate) * up, over the function f and its derivative.
// Bytes: forward gate, up and out once; backward d_out, gate, up, d_gate and d_up once.
#pragma once

#include "core/activations.h"
#include "cuda/kernels.h"
#include "cuda/row_parts.cuh"

namespace caravan {
namespace cuda {

// What core/activations.h needs of numbers.
struct DeviceMath {
    static __device__ __forceinline__ float exp(float x) {
        return expf(x > 88.37f ? 88.37f : x);  // this way a NaN stays one
    }
    // Within 2 units in the last place; 0 above 2^126.
    static __device__ __forceinline__ float inverse(float x) { return __fdividef(1.0f, x); }
    static __device__ __forceinline__ float clamp(float x, float low, float high) {
        x = x < low ? low : x;
        return x > high ? high : x;
    }
};

struct Silu {
    static __device__ __forceinline__ Activation<float> of(float x) { return silu<DeviceMath>(x); }
};
struct Gelu {
    static __device__ __forceinline__ Activation<float> of(float x) { return gelu<DeviceMath>(x); }
};
struct GeluTanh {
    static __device__ __forceinline__ Activation<float> of(float x) {
        return gelu_tanh<DeviceMath>(x);
    }
};

inline constexpr int kGluIlp = 2;  // 4 loads of 16 bytes before the first use, 6 in the backward

template <typename T, typename F, bool kWide>
__global__ void __launch_bounds__(RowParts::kThreads)
    glu_fwd_kernel(Rows<const T> gate, Rows<const T> up, Rows<T> out, RowParts shape) {
    constexpr int N = tile::kLanes<T>;
    tile::Vector<T, N> gates[kGluIlp] = {}, ups[kGluIlp] = {};
#pragma unroll
    for (int k = 0; k < kGluIlp; ++k) {
        const auto at = shape.place<kGluIlp, N>(k);
        if (!at.inside) continue;
        gates[k] = tile::load_part<kWide, N>(gate[at.row], at.first, shape.width);
        ups[k] = tile::load_part<kWide, N>(up[at.row], at.first, shape.width);
    }
#pragma unroll
    for (int k = 0; k < kGluIlp; ++k) {
        const auto at = shape.place<kGluIlp, N>(k);
        if (!at.inside) continue;
        tile::Vector<float, N> result;
#pragma unroll
        for (int j = 0; j < N; ++j) {
            result[j] = F::of(tile::to_float(gates[k][j])).value * tile::to_float(ups[k][j]);
        }
        tile::store_part<kWide>(out[at.row], at.first, shape.width, tile::from_floats<T>(result));
    }
}

// d_gate and d_up may lie where gate and up do: a thread reads all of its own before it writes.
template <typename T, typename F, bool kWide>
__global__ void __launch_bounds__(RowParts::kThreads)
    glu_bwd_kernel(Rows<const T> d_out, Rows<const T> gate, Rows<const T> up, Rows<T> d_gate,
                   Rows<T> d_up, RowParts shape) {
    constexpr int N = tile::kLanes<T>;
    tile::Vector<T, N> outs[kGluIlp] = {}, gates[kGluIlp] = {}, ups[kGluIlp] = {};
#pragma unroll
    for (int k = 0; k < kGluIlp; ++k) {
        const auto at = shape.place<kGluIlp, N>(k);
        if (!at.inside) continue;
        outs[k] = tile::load_part<kWide, N>(d_out[at.row], at.first, shape.width);
        gates[k] = tile::load_part<kWide, N>(gate[at.row], at.first, shape.width);
        ups[k] = tile::load_part<kWide, N>(up[at.row], at.first, shape.width);
    }
#pragma unroll
    for (int k = 0; k < kGluIlp; ++k) {
        const auto at = shape.place<kGluIlp, N>(k);
        if (!at.inside) continue;
        tile::Vector<float, N> to_gate, to_up;
#pragma unroll
        for (int j = 0; j < N; ++j) {
            const float d = tile::to_float(outs[k][j]);
            const Activation<float> f = F::of(tile::to_float(gates[k][j]));
            to_gate[j] = d * tile::to_float(ups[k][j]) * f.derivative;
            to_up[j] = d * f.value;
        }
        tile::store_part<kWide>(d_gate[at.row], at.first, shape.width,
                                tile::from_floats<T>(to_gate));
        tile::store_part<kWide>(d_up[at.row], at.first, shape.width, tile::from_floats<T>(to_up));
    }
}

template <typename F>
void glu_forward(tile::Launcher& launcher, const caravan_glu_forward_args& args) {
    if (element_count(args.gate) == 0) return;
    with_storage(args.gate.dtype, [&](auto* tag) {
        using T = StorageOf<decltype(tag)>;
        const bool one = joined(args.gate, args.up, args.out);
        const auto shape = row_parts<tile::kLanes<T>>(args.gate, one);
        const auto start = [&](auto kernel) {
            launcher.run(kernel, shape.template config<kGluIlp>(), rows_of<const T>(args.gate),
                         rows_of<const T>(args.up), rows_of<T>(args.out), shape);
        };
        if (wide_parts(one, args.gate, args.up, args.out)) {
            start(glu_fwd_kernel<T, F, true>);
        } else {
            start(glu_fwd_kernel<T, F, false>);
        }
    });
}

template <typename F>
void glu_backward(tile::Launcher& launcher, const caravan_glu_backward_args& args) {
    if (element_count(args.gate) == 0) return;
    with_storage(args.gate.dtype, [&](auto* tag) {
        using T = StorageOf<decltype(tag)>;
        const bool one = joined(args.d_out, args.gate, args.up, args.d_gate, args.d_up);
        const auto shape = row_parts<tile::kLanes<T>>(args.gate, one);
        const auto start = [&](auto kernel) {
            launcher.run(kernel, shape.template config<kGluIlp>(), rows_of<const T>(args.d_out),
                         rows_of<const T>(args.gate), rows_of<const T>(args.up),
                         rows_of<T>(args.d_gate), rows_of<T>(args.d_up), shape);
        };
        if (wide_parts(one, args.d_out, args.gate, args.up, args.d_gate, args.d_up)) {
            start(glu_bwd_kernel<T, F, true>);
        } else {
            start(glu_bwd_kernel<T, F, false>);
        }
    });
}

}  // namespace cuda
}  // namespace caravan
