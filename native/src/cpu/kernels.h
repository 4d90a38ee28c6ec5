// The CPU kernels, one source compiled once for each instruction set: every kernel lives in
// caravan::v3 and caravan::v4, and the table of the better one that this processor has is chosen
// once. Arguments have passed the checks of src/api; kernels trust them.
#pragma once

#include "caravan/caravan.h"
#include "core/kernel_list.h"
#include "core/pool.h"

namespace caravan {

#define CARAVAN_DECLARE_KERNEL(name, Args) void name(Pool& pool, const Args& args);
namespace v3 {
CARAVAN_KERNELS(CARAVAN_DECLARE_KERNEL)
}
namespace v4 {
CARAVAN_KERNELS(CARAVAN_DECLARE_KERNEL)
}
#undef CARAVAN_DECLARE_KERNEL

struct CpuKernels {
    const char* isa;  // "x86-64-v3" or "x86-64-v4"
#define CARAVAN_KERNEL_FIELD(name, Args) void (*name)(Pool & pool, const Args& args);
    CARAVAN_KERNELS(CARAVAN_KERNEL_FIELD)
#undef CARAVAN_KERNEL_FIELD
};

// The table for this processor. Throws CARAVAN_UNSUPPORTED on one older than x86-64-v3. The
// environment variable CARAVAN_ISA (v3 or v4) narrows the choice to that level and no more, so that
// tests run each way that this processor has.
const CpuKernels& cpu_kernels();

// Whether the v4 kernels may use AVX512_BF16, which is not part of the level: the processor has it,
// and CARAVAN_ISA does not hold the kernels to a level.
bool cpu_has_bf16_dots();

// The product that the host set; throws CARAVAN_UNSUPPORTED when none is.
caravan_sgemm cpu_sgemm();

}  // namespace caravan
