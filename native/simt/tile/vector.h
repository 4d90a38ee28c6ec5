// Accesses of 2 to 16 bytes, checked as one: within an allocation and aligned to their size.
#pragma once

#include <cstring>

#include "simt/machine.h"

namespace caravan {
namespace tile {

template <int kBytes>
inline void load_bytes(void* to, const void* from) {
    simt::check_read(from, kBytes, kBytes, "vector load");
    __builtin_memcpy(to, from, kBytes);
}

template <int kBytes>
inline void load_streaming_bytes(void* to, const void* from) {
    load_bytes<kBytes>(to, from);
}

template <int kBytes>
inline void store_bytes(void* to, const void* from) {
    simt::check_write(to, kBytes, kBytes, "vector store");
    __builtin_memcpy(to, from, kBytes);
}

template <int kBytes>
inline void store_streaming_bytes(void* to, const void* from) {
    store_bytes<kBytes>(to, from);
}

}  // namespace tile
}  // namespace caravan
