// Rows to devices. One thread: a few operations for each assignment, as in the sort before it.
#include "core/expert_places.h"

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {

void expert_places_forward(Pool&, const caravan_expert_places_args& args) {
    const ExpertPlaces all = expert_places(args);
    for (int64_t i = 0; i < all.devices * all.each; ++i) all.fill(i);
    for (int64_t i = 0; i < all.rows; ++i) all.find(i);
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
