// The compiler may know everything; cuda/tile/opaque.cuh says what each wrapper means.
#pragma once

namespace caravan {
namespace tile {

inline int opaque(int x) { return x; }

template <int kCount>
inline void computed(float (&)[kCount]) {}

}  // namespace tile
}  // namespace caravan
