// The emulation has registers enough; cuda/tile/registers.cuh says what each wrapper means.
#pragma once

namespace caravan::tile {

template <int kCount>
inline void registers_release() {
    static_assert(kCount >= 24 && kCount <= 256 && kCount % 8 == 0, "24 to 256 in steps of 8");
}

template <int kCount>
inline void registers_claim() {
    static_assert(kCount >= 24 && kCount <= 256 && kCount % 8 == 0, "24 to 256 in steps of 8");
}

}  // namespace caravan::tile
