// How caravan_adafactor_step cuts its work and its workspace; the ABI's size query and the kernels
// go by it.
#pragma once

#include "caravan/caravan.h"
#include "core/blocks.h"
#include "core/host_device.h"

namespace caravan {

struct AdafactorLayout {
    bool device;  // CUDA, whose kernels leave more in the workspace
    bool factored;
    int64_t rows, columns;  // a parameter that is not factored is one row of all its elements
    Blocks blocks;          // of rows when factored, else of elements
    Blocks chunks;          // of columns, into which a block of rows is cut; one on the CPU
    Blocks finishers;       // of rows whose means one block of threads finishes; none on the CPU

    // In the workspace, one after the other. Double: sums of squares of the parameter by block and
    // chunk; those of the update; on CUDA sums of row means by finisher, then two that hold four
    // floats of the step.
    CARAVAN_HOST_DEVICE int64_t partials() const { return blocks.count * chunks.count; }
    int64_t sums() const {
        const int64_t more = device ? finishers.count + 2 : 0;
        return 2 * partials() + (more + 1) / 2 * 2;  // even, so that the floats begin at 16 bytes
    }
    // Float, when factored: partial column sums by block, factors of columns, and on CUDA partial
    // row sums by chunk.
    int64_t floats() const {
        if (!factored) return 0;
        return (blocks.count + 1) * columns + (device ? chunks.count * rows : 0);
    }
    int64_t bytes() const {
        return sums() * static_cast<int64_t>(sizeof(double)) +
               floats() * static_cast<int64_t>(sizeof(float));
    }
};

// Columns that one warp of the CUDA kernels goes down, and rows that one of their blocks finishes.
inline constexpr int64_t kAdafactorColumns = 256;
inline constexpr int64_t kAdafactorRows = 256;

// For a parameter of one or two dimensions.
inline AdafactorLayout adafactor_layout(int32_t kind, const caravan_tensor& param, bool factored) {
    const bool device = kind == CARAVAN_CUDA;
    AdafactorLayout layout = {};
    layout.factored = factored && param.rank == 2;
    if (layout.factored) {
        layout.rows = param.shape[0];
        layout.columns = param.shape[1];
        layout.blocks = partial_blocks(kind, layout.rows);
        layout.finishers = blocks_of(device ? layout.rows : 0, kAdafactorRows);
    } else {
        layout.rows = 1;
        layout.columns = param.shape[0] * (param.rank == 2 ? param.shape[1] : 1);
        layout.blocks = partial_element_blocks(kind, layout.columns);
    }
    layout.chunks = {layout.columns, layout.columns, 1};
    if (layout.factored && device) layout.chunks = blocks_of(layout.columns, kAdafactorColumns);
    layout.device = device;
    return layout;
}

}  // namespace caravan
