// The kernels of the gated units, out = f(gate) * up, over the function f and its derivative.
// Bytes: forward gate, up and out once; backward d_out, gate, up, d_gate and d_up once.
#pragma once

#include "core/activations.h"
#include "cuda/kernels.h"
#include "cuda/row_parts.cuh"
#include "cuda/tile/math.cuh"

namespace caravan {
namespace cuda {

// What core/activations.h needs of numbers, for results of float32.
template <typename T>
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

// For results of bfloat16: where issuing instructions would take longer than moving bytes. exp
// loses |x| * 2^-24 of its value, 5e-6 at most where that is a normal number. It makes a number of
// a NaN, but every activation multiplies by x itself.
template <>
struct DeviceMath<tile::bf16> {
    static __device__ __forceinline__ float exp(float x) {
        return tile::exp2_flushed(fminf(x * 1.4426950408889634f, 126.0f));
    }
    static __device__ __forceinline__ float inverse(float x) { return tile::reciprocal(x); }
    static __device__ __forceinline__ float clamp(float x, float low, float high) {
        return DeviceMath<float>::clamp(x, low, high);
    }
};

struct Silu {
    template <typename T>
    static __device__ __forceinline__ Activation<float> of(float x) {
        return silu<DeviceMath<T>>(x);
    }
};
struct Gelu {
    template <typename T>
    static __device__ __forceinline__ Activation<float> of(float x) {
        return gelu<DeviceMath<T>, float, std::is_same_v<T, tile::bf16>>(x);
    }
};
struct GeluTanh {
    template <typename T>
    static __device__ __forceinline__ Activation<float> of(float x) {
        return gelu_tanh<DeviceMath<T>>(x);
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
        const auto g = tile::to_floats(gates[k]), u = tile::to_floats(ups[k]);
        tile::Vector<float, N> result;
#pragma unroll
        for (int j = 0; j < N; ++j) result[j] = F::template of<T>(g[j]).value * u[j];
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
        const auto d = tile::to_floats(outs[k]), g = tile::to_floats(gates[k]),
                   u = tile::to_floats(ups[k]);
        tile::Vector<float, N> to_gate, to_up;
#pragma unroll
        for (int j = 0; j < N; ++j) {
            const Activation<float> f = F::template of<T>(g[j]);
            to_gate[j] = d[j] * u[j] * f.derivative;
            to_up[j] = d[j] * f.value;
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
