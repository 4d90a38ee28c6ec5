// cp.async of the emulation; cuda/tile/copy_async.cuh says what each wrapper means.
#pragma once

#include <cstdint>
#include <cstring>

#include "simt/machine.h"

namespace caravan::tile {

template <int kBytes>
inline void copy_async_filled(void* to_shared, const void* from_global, int valid) {
    static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "cp.async moves 4, 8 or 16 bytes");
    const simt::Trusted trusted;
    if (valid < 0 || valid > kBytes) {
        simt::fault("cp.async: %d bytes to read, needs 0 to %d", valid, kBytes);
    }
    if (reinterpret_cast<uintptr_t>(from_global) % kBytes != 0) {
        simt::fault("cp.async: source %p is not aligned to %d bytes", from_global, kBytes);
    }
    if (valid > 0) simt::check_read(from_global, kBytes, kBytes, "cp.async source");
    simt::Work work;
    work.what = "cp.async";
    work.writes[0] = {to_shared, kBytes, kBytes};
    work.run = [=] {
        unsigned char bytes[kBytes] = {};
        std::memcpy(bytes, from_global, static_cast<size_t>(valid));
        std::memcpy(to_shared, bytes, kBytes);
    };
    simt::async_start(simt::Group::kCopy, std::move(work));
}

template <int kBytes>
inline void copy_async(void* to_shared, const void* from_global) {
    copy_async_filled<kBytes>(to_shared, from_global, kBytes);
}

inline void copy_async_commit() { simt::async_commit(simt::Group::kCopy); }

template <int kPending>
inline void copy_async_wait() {
    const simt::Trusted trusted;
    simt::async_wait(simt::Group::kCopy, kPending);
}

}  // namespace caravan::tile
