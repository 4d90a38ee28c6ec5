// How caravan_adafactor_step cuts its work and its workspace; the ABI's size query and the CPU
// kernel both go by it.
#pragma once

#include "caravan/caravan.h"
#include "core/blocks.h"

namespace caravan {

struct AdafactorLayout {
    bool factored;
    int64_t rows, columns;  // a parameter that is not factored is one row of all its elements
    Blocks blocks;          // of rows when factored, else of elements

    // In the workspace, one after the other: sums of squares of parameter and of update by block
    // (double), then when factored partial column sums by block and factors of columns (float).
    int64_t sums() const { return 2 * blocks.count; }
    int64_t floats() const { return factored ? (blocks.count + 1) * columns : 0; }
    int64_t bytes() const {
        return sums() * static_cast<int64_t>(sizeof(double)) +
               floats() * static_cast<int64_t>(sizeof(float));
    }
};

// For a parameter of one or two dimensions.
inline AdafactorLayout adafactor_layout(int32_t kind, const caravan_tensor& param, bool factored) {
    if (factored && param.rank == 2) {
        return {true, param.shape[0], param.shape[1], partial_blocks(kind, param.shape[0])};
    }
    const int64_t elements = param.shape[0] * (param.rank == 2 ? param.shape[1] : 1);
    return {false, 1, elements, partial_element_blocks(kind, elements)};
}

}  // namespace caravan
