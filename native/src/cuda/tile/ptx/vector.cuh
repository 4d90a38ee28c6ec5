// Accesses of 2 to 16 bytes, aligned to their size. PTX ISA, "Data Movement: ld, st", "Cache
// Operators".
#pragma once

#include <cstdint>

namespace caravan {
namespace tile {

template <int kBytes>
struct WordOf;
template <>
struct WordOf<2> {
    using Type = unsigned short;
};
template <>
struct WordOf<4> {
    using Type = unsigned int;
};
template <>
struct WordOf<8> {
    using Type = uint2;
};
template <>
struct WordOf<16> {
    using Type = uint4;
};

template <int kBytes>
__device__ __forceinline__ void load_bytes(void* to, const void* from) {
    using Word = typename WordOf<kBytes>::Type;
    *static_cast<Word*>(to) = *static_cast<const Word*>(from);
}

template <int kBytes>
__device__ __forceinline__ void load_streaming_bytes(void* to, const void* from) {
    using Word = typename WordOf<kBytes>::Type;
    *static_cast<Word*>(to) = __ldcs(static_cast<const Word*>(from));
}

template <int kBytes>
__device__ __forceinline__ void store_bytes(void* to, const void* from) {
    using Word = typename WordOf<kBytes>::Type;
    *static_cast<Word*>(to) = *static_cast<const Word*>(from);
}

template <int kBytes>
__device__ __forceinline__ void store_streaming_bytes(void* to, const void* from) {
    using Word = typename WordOf<kBytes>::Type;
    __stcs(static_cast<Word*>(to), *static_cast<const Word*>(from));
}

}  // namespace tile
}  // namespace caravan
