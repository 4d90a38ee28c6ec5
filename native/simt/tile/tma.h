// cp.async.bulk and its tensor forms for the emulation; cuda/tile/tma.cuh says what each wrapper
// means. Boxes and swizzles: PTX ISA, "Tensors: Tiled mode", "Swizzling modes".
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "simt/machine.h"
#include "simt/tile/tensor_map.h"

namespace caravan::tile {

namespace emulation {

// Copies out of shared memory read it before they write; what they read is kept until then.
using Kept = std::shared_ptr<std::vector<unsigned char>>;

inline Kept keep_source(simt::Work& work, const void* from_shared, uint32_t bytes) {
    const auto kept = std::make_shared<std::vector<unsigned char>>();
    const auto* const first = static_cast<const unsigned char*>(from_shared);
    work.fetch = [=] { kept->assign(first, first + bytes); };
    return kept;
}

inline void check_bulk(const void* shared, const void* global, uint32_t bytes) {
    if (bytes == 0 || bytes % 16 != 0) {
        simt::fault("cp.async.bulk: %u bytes, needs a multiple of 16", bytes);
    }
    if (reinterpret_cast<uintptr_t>(shared) % 16 != 0 ||
        reinterpret_cast<uintptr_t>(global) % 16 != 0) {
        simt::fault("cp.async.bulk: %p and %p, needs both aligned to 16 bytes", shared, global);
    }
}

inline TensorMapShape read_map(const TensorMap& map) {
    if (reinterpret_cast<uintptr_t>(&map) % 64 != 0) {
        simt::fault("tensor map at %p, needs 64 bytes' alignment", static_cast<const void*>(&map));
    }
    MapContents contents;
    std::memcpy(static_cast<void*>(&contents), &map, sizeof contents);
    if (contents.mark != kMapMark) simt::fault("not a tensor map: it was never made");
    return contents.shape;
}

// One tensor copy: the box of a map at (x, y, z), against a place in shared memory.
class Box {
  public:
    Box(const TensorMap& map, int rank, int x, int y, int z) : at_{x, y, z} {
        shape_ = read_map(map);
        if (shape_.rank != rank) {
            simt::fault("a copy of %d dimensions by a tensor map of %d", rank, shape_.rank);
        }
        for (int i = rank; i < 3; ++i) shape_.extent[i] = shape_.box[i] = 1;
        width_ = shape_.type == TensorMapType::kBf16 ? 2 : 4;
        if (x * width_ % 16 != 0) {
            simt::fault(
                "cp.async.bulk.tensor: x = %d is byte %lld of a row, needs a multiple of 16", x,
                static_cast<long long>(x * width_));
        }
    }

    uint32_t bytes() const {
        return static_cast<uint32_t>(int64_t{1} * shape_.box[0] * shape_.box[1] * shape_.box[2] *
                                     width_);
    }

    void check_shared(const void* shared) const {
        if (reinterpret_cast<uintptr_t>(shared) % 128 != 0) {
            simt::fault("cp.async.bulk.tensor: shared memory at %p, needs 128 bytes' alignment",
                        shared);
        }
    }

    // A store writes whole granules of 16 bytes, so it may write beyond the extent of a row; a
    // negative coordinate is no place to store to. Both as an H200 does.
    void prepare_store() {
        for (int i = 0; i < 3; ++i) {
            if (at_[i] < 0) {
                simt::fault("cp.async.bulk.tensor store: coordinate %d is %lld, needs 0 or more", i,
                            static_cast<long long>(at_[i]));
            }
        }
        const int64_t granule = 16 / width_;
        shape_.extent[0] = (shape_.extent[0] + granule - 1) / granule * granule;
    }

    // fn(global, column_bytes, bytes, row): the part of each row of the box that lies in the
    // tensor.
    template <typename Fn>
    void each_row(Fn&& fn) const {
        const int64_t first = std::max<int64_t>(0, -at_[0]);
        const int64_t last = std::min<int64_t>(shape_.box[0], shape_.extent[0] - at_[0]);
        if (first >= last) return;
        for (int64_t z = 0; z < shape_.box[2]; ++z) {
            for (int64_t y = 0; y < shape_.box[1]; ++y) {
                const int64_t row = at_[1] + y, plane = at_[2] + z;
                if (row < 0 || row >= shape_.extent[1]) continue;
                if (plane < 0 || plane >= shape_.extent[2]) continue;
                const int64_t offset = (at_[0] + first) * width_ + row * shape_.stride_bytes[1] +
                                       plane * shape_.stride_bytes[2];
                auto* global =
                    const_cast<unsigned char*>(static_cast<const unsigned char*>(shape_.data)) +
                    offset;
                fn(global, first * width_, (last - first) * width_, z * shape_.box[1] + y);
            }
        }
    }

    // Where a byte of a row lies in shared memory that begins at `shared`, whose address is
    // `address`.
    unsigned char* place(unsigned char* shared, uint32_t address, int64_t row,
                         int64_t column) const {
        const uint32_t plain =
            address + static_cast<uint32_t>(row * shape_.box[0] * width_ + column);
        return shared + (swizzled(shape_.swizzle, plain) - address);
    }

    void load(unsigned char* shared, uint32_t address) const {
        std::memset(shared, 0, bytes());
        each_row([&](const unsigned char* global, int64_t column, int64_t count, int64_t row) {
            for (int64_t i = 0; i < count; i += width_) {
                std::memcpy(place(shared, address, row, column + i), global + i,
                            static_cast<size_t>(width_));
            }
        });
    }

    void store(unsigned char* shared, uint32_t address) const {
        each_row([&](unsigned char* global, int64_t column, int64_t count, int64_t row) {
            for (int64_t i = 0; i < count; i += width_) {
                std::memcpy(global + i, place(shared, address, row, column + i),
                            static_cast<size_t>(width_));
            }
        });
    }

  private:
    TensorMapShape shape_;
    int64_t at_[3];
    int64_t width_;
};

inline void load_box(const Box& box, void* to_shared, Mbarrier* barrier) {
    const simt::Trusted trusted;
    box.check_shared(to_shared);
    box.each_row([](const unsigned char* global, int64_t, int64_t bytes, int64_t) {
        simt::check_read(global, static_cast<size_t>(bytes), 1, "cp.async.bulk.tensor source");
    });
    const uint32_t address = simt::shared_address(to_shared);
    auto* shared = static_cast<unsigned char*>(to_shared);
    simt::Work work;
    work.what = "cp.async.bulk.tensor load";
    work.writes[0] = {to_shared, box.bytes(), 128};
    work.async_proxy = true;
    work.run = [=] { box.load(shared, address); };
    simt::async_start(barrier, box.bytes(), std::move(work));
}

inline void store_box(Box box, const void* from_shared) {
    const simt::Trusted trusted;
    box.prepare_store();
    box.check_shared(from_shared);
    box.each_row([](const unsigned char* global, int64_t, int64_t bytes, int64_t) {
        simt::check_write(global, static_cast<size_t>(bytes), 1, "cp.async.bulk.tensor target");
    });
    const uint32_t address = simt::shared_address(from_shared);
    simt::Work work;
    work.what = "cp.async.bulk.tensor store";
    work.reads[0] = {from_shared, box.bytes(), 128};
    work.async_proxy = true;
    const Kept kept = keep_source(work, from_shared, box.bytes());
    work.run = [=] { box.store(kept->data(), address); };
    simt::async_start(simt::Group::kBulk, std::move(work));
}

}  // namespace emulation

inline void tma_copy_in(void* to_shared, const void* from_global, uint32_t bytes,
                        Mbarrier* barrier) {
    const simt::Trusted trusted;
    emulation::check_bulk(to_shared, from_global, bytes);
    simt::check_read(from_global, bytes, 16, "cp.async.bulk source");
    simt::Work work;
    work.what = "cp.async.bulk load";
    work.writes[0] = {to_shared, bytes, 16};
    work.async_proxy = true;
    work.run = [=] { std::memcpy(to_shared, from_global, bytes); };
    simt::async_start(barrier, bytes, std::move(work));
}

inline void tma_load(void* to_shared, const TensorMap& map, int x, Mbarrier* barrier) {
    emulation::load_box({map, 1, x, 0, 0}, to_shared, barrier);
}

inline void tma_load(void* to_shared, const TensorMap& map, int x, int y, Mbarrier* barrier) {
    emulation::load_box({map, 2, x, y, 0}, to_shared, barrier);
}

inline void tma_load(void* to_shared, const TensorMap& map, int x, int y, int z,
                     Mbarrier* barrier) {
    emulation::load_box({map, 3, x, y, z}, to_shared, barrier);
}

inline void tma_load_multicast(void* to_shared, const TensorMap& map, int x, int y,
                               Mbarrier* barrier, uint16_t blocks) {
    const emulation::Box box(map, 2, x, y, 0);
    for (unsigned rank = 0; rank < 16; ++rank) {
        if ((blocks >> rank & 1) == 0) continue;
        emulation::load_box(box, simt::map_shared_rank(to_shared, rank),
                            static_cast<Mbarrier*>(simt::map_shared_rank(barrier, rank)));
    }
}

inline void tma_copy_out(void* to_global, const void* from_shared, uint32_t bytes) {
    const simt::Trusted trusted;
    emulation::check_bulk(from_shared, to_global, bytes);
    simt::check_write(to_global, bytes, 16, "cp.async.bulk target");
    simt::Work work;
    work.what = "cp.async.bulk store";
    work.reads[0] = {from_shared, bytes, 16};
    work.async_proxy = true;
    const emulation::Kept kept = emulation::keep_source(work, from_shared, bytes);
    work.run = [=] { std::memcpy(to_global, kept->data(), bytes); };
    simt::async_start(simt::Group::kBulk, std::move(work));
}

inline void tma_store(const TensorMap& map, int x, const void* from_shared) {
    emulation::store_box({map, 1, x, 0, 0}, from_shared);
}

inline void tma_store(const TensorMap& map, int x, int y, const void* from_shared) {
    emulation::store_box({map, 2, x, y, 0}, from_shared);
}

inline void tma_store(const TensorMap& map, int x, int y, int z, const void* from_shared) {
    emulation::store_box({map, 3, x, y, z}, from_shared);
}

inline void tma_add_out(float* to_global, const float* from_shared, uint32_t bytes) {
    const simt::Trusted trusted;
    emulation::check_bulk(from_shared, to_global, bytes);
    simt::check_reduction(to_global, bytes, 16, "cp.reduce.async.bulk target");
    simt::Work work;
    work.what = "cp.reduce.async.bulk";
    work.reads[0] = {from_shared, bytes, 16};
    work.async_proxy = true;
    const emulation::Kept kept = emulation::keep_source(work, from_shared, bytes);
    work.run = [=] {
        for (uint32_t i = 0; i < bytes / 4; ++i) {
            float value;
            std::memcpy(&value, kept->data() + i * 4, sizeof value);
            to_global[i] += value;
        }
    };
    simt::async_start(simt::Group::kBulk, std::move(work));
}

inline void tma_commit() { simt::async_commit(simt::Group::kBulk); }

template <int kPending>
inline void tma_wait_read() {
    const simt::Trusted trusted;
    simt::async_wait_read(simt::Group::kBulk, kPending);
}

template <int kPending>
inline void tma_wait() {
    const simt::Trusted trusted;
    simt::async_wait(simt::Group::kBulk, kPending);
}

inline void tma_prefetch(const TensorMap& map) { emulation::read_map(map); }

}  // namespace caravan::tile
