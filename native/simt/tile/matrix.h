// ldmatrix and stmatrix of the emulation; cuda/tile/matrix.cuh says what each wrapper means.
// Layouts: PTX ISA, "Warp-level Matrix Instructions: ldmatrix", figure of the fragment of one 8x8
// matrix.
#pragma once

#include <cstdint>
#include <cstring>

#include "simt/machine.h"

namespace caravan::tile {

namespace emulation {

// What a lane brings to a load or a store: the address of a row, and its registers.
struct MatrixLane {
    unsigned char* row;
    uint32_t* registers;
};

inline constexpr uint32_t kAllLanes = 0xffffffffu;

// Where element (row, column) of matrix m lies: lane 8 m + row brought the address of its row.
inline unsigned char* matrix_element(MatrixLane* const* lanes, int m, int row, int column) {
    return lanes[m * 8 + row]->row + column * 2;
}

// The element that a half of a lane's register stands for.
struct MatrixPlace {
    int row, column;
};
inline MatrixPlace matrix_place(int lane, int half, bool transposed) {
    const int row = lane / 4, column = lane % 4 * 2 + half;
    return transposed ? MatrixPlace{column, row} : MatrixPlace{row, column};
}

template <int kCount, bool kTransposed>
inline void load_matrices(uint32_t* to, const void* row) {
    static_assert(kCount == 1 || kCount == 2 || kCount == 4, "ldmatrix loads 1, 2 or 4 matrices");
    MatrixLane own = {static_cast<unsigned char*>(const_cast<void*>(row)), to};
    simt::warp_collective(
        "ldmatrix", kAllLanes, own,
        [](MatrixLane* const* lanes) {
            for (int i = 0; i < kCount * 8; ++i) {
                simt::check_read(lanes[i]->row, 16, 16, "ldmatrix row", i);
            }
            for (int lane = 0; lane < 32; ++lane) {
                for (int m = 0; m < kCount; ++m) {
                    uint16_t halves[2];
                    for (int half = 0; half < 2; ++half) {
                        const MatrixPlace at = matrix_place(lane, half, kTransposed);
                        std::memcpy(&halves[half], matrix_element(lanes, m, at.row, at.column), 2);
                    }
                    lanes[lane]->registers[m] = halves[0] | static_cast<uint32_t>(halves[1]) << 16;
                }
            }
        },
        true);
}

template <int kCount, bool kTransposed>
inline void store_matrices(void* row, const uint32_t* from) {
    static_assert(kCount == 1 || kCount == 2 || kCount == 4, "stmatrix stores 1, 2 or 4 matrices");
    MatrixLane own = {static_cast<unsigned char*>(row), const_cast<uint32_t*>(from)};
    simt::warp_collective(
        "stmatrix", kAllLanes, own,
        [](MatrixLane* const* lanes) {
            for (int i = 0; i < kCount * 8; ++i) {
                simt::check_write(lanes[i]->row, 16, 16, "stmatrix row", i);
            }
            for (int lane = 0; lane < 32; ++lane) {
                for (int m = 0; m < kCount; ++m) {
                    for (int half = 0; half < 2; ++half) {
                        const MatrixPlace at = matrix_place(lane, half, kTransposed);
                        const auto bits =
                            static_cast<uint16_t>(lanes[lane]->registers[m] >> (16 * half));
                        std::memcpy(matrix_element(lanes, m, at.row, at.column), &bits, 2);
                    }
                }
            }
        },
        true);
}

}  // namespace emulation

template <int kCount>
inline void load_matrices(uint32_t (&to)[kCount], const void* row) {
    const simt::Trusted trusted;
    emulation::load_matrices<kCount, false>(to, row);
}

template <int kCount>
inline void load_matrices_transposed(uint32_t (&to)[kCount], const void* row) {
    const simt::Trusted trusted;
    emulation::load_matrices<kCount, true>(to, row);
}

template <int kCount>
inline void store_matrices(void* row, const uint32_t (&from)[kCount]) {
    const simt::Trusted trusted;
    emulation::store_matrices<kCount, false>(row, from);
}

template <int kCount>
inline void store_matrices_transposed(void* row, const uint32_t (&from)[kCount]) {
    const simt::Trusted trusted;
    emulation::store_matrices<kCount, true>(row, from);
}

}  // namespace caravan::tile
