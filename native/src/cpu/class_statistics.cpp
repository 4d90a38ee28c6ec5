// Maximum, sum and the target's logit of a chunk of rows, of a part of the classes.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/blocks.h"
#include "cpu/kernels.h"
#include "cpu/soft_max.h"

namespace caravan {
namespace CARAVAN_ISA {

void class_statistics_forward(Pool& pool, const caravan_class_statistics_args& args) {
    const int64_t rows = args.logits.shape[0];
    const int64_t columns = args.logits.shape[1];
    const int64_t own = std::min(columns, std::max<int64_t>(args.classes - args.first_class, 0));
    const int64_t left = *data<int32_t>(args.count) - args.first;
    const int64_t used = std::min(std::max<int64_t>(left, 0), rows);
    const Blocks blocks = row_blocks(rows, columns);
    with_storage(args.logits.dtype, [&](auto tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        pool.run(blocks.count, [&](int64_t block, int) {
            for (int64_t i = blocks.begin(block); i < blocks.end(block); ++i) {
                float* const to = data<float>(args.statistics) + 3 * i;
                SoftMax s = {-INFINITY, 0.0};
                float target_logit = -INFINITY;
                if (i < used) {
                    const T* const logits = row<T>(args.logits, i);
                    s = soft_max(logits, own);
                    const int64_t target =
                        data<int32_t>(args.targets)[args.first + i] - args.first_class;
                    if (target >= 0 && target < own) target_logit = to_float(logits[target]);
                }
                to[0] = s.max;
                to[1] = static_cast<float>(s.sum);
                to[2] = target_logit;
            }
        });
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
