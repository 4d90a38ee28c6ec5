// 8x8 matrices of 16-bit elements between shared memory and the registers of a warp: ldmatrix and
// stmatrix (PTX ISA, "Warp-level Matrix Instructions: ldmatrix", "stmatrix").
//
// All 32 lanes call, converged. Lane i names row i % 8 of matrix i / 8 by its address: 16 bytes,
// aligned to 16. With fewer than four matrices the lanes beyond give addresses that are not used.
// Register r of a lane holds two neighbours of one row of matrix r, at the places that matrix_row
// and matrix_column tell; the transposed forms exchange row and column.
//
// A load is free of bank conflicts when the eight rows of one matrix lie in different 16-byte
// columns of the 128 bytes that the banks span; the swizzles of swizzle.cuh see to that.
#pragma once

#include <cstdint>

#include "cuda/tile/arch.cuh"

namespace caravan::tile {

// Where a lane's half (0 low, 1 high) of a register lies in its matrix.
__host__ __device__ constexpr int matrix_row(int lane) { return lane / 4; }
__host__ __device__ constexpr int matrix_column(int lane, int half) { return lane % 4 * 2 + half; }

// Loads kCount (1, 2 or 4) matrices; to[r] is this lane's share of matrix r.
template <int kCount>
__device__ __forceinline__ void load_matrices(uint32_t (&to)[kCount], const void* row);

// The same, each matrix transposed: a lane's share is what matrix_row and matrix_column tell of the
// transpose.
template <int kCount>
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&to)[kCount], const void* row);

// Stores kCount (1, 2 or 4) matrices; sm_90 on.
template <int kCount>
__device__ __forceinline__ void store_matrices(void* row, const uint32_t (&from)[kCount]);
template <int kCount>
__device__ __forceinline__ void store_matrices_transposed(void* row,
                                                          const uint32_t (&from)[kCount]);

}  // namespace caravan::tile

#ifdef CARAVAN_SIMT
#include "simt/tile/matrix.h"
#else
#include "cuda/tile/ptx/matrix.cuh"
#endif
