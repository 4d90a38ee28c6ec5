// wgmma of the emulation; cuda/tile/wgmma.cuh says what each wrapper means. Descriptors are decoded
// from their bits, and the places of elements written out, from PTX ISA, "Asynchronous Warpgroup
// Level Matrix Instructions: Register Fragments and Shared Memory Matrix Layouts", "Strides",
// "Matrix Descriptor".
//
// Each warp computes its own 16 of the 64 rows. A product reads shared memory when it runs, some
// time before its wait; sums are NaN from its start to a wait that names them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "simt/machine.h"

namespace caravan::tile {

namespace emulation {

// The matrix that a descriptor tells of. Elements are found by their 16-byte columns.
class Operand {
  public:
    Operand(uint64_t descriptor, Major major, const char* name)
        : major_(major),
          start_(static_cast<uint32_t>(descriptor & 0x3fff) << 4),
          leading_(static_cast<uint32_t>(descriptor >> 16 & 0x3fff) << 4),
          stride_(static_cast<uint32_t>(descriptor >> 32 & 0x3fff) << 4),
          swizzle_(static_cast<Swizzle>(descriptor >> 62)) {
        const uint32_t width = swizzle_width(swizzle_);
        if ((descriptor >> 49 & 7) != 0) {
            simt::fault("wgmma %s: base offset %d, needs 0", name,
                        static_cast<int>(descriptor >> 49 & 7));
        }
        if (swizzle_ != Swizzle::kNone && start_ % (8 * width) >= width) {
            simt::fault(
                "wgmma %s: tile at shared address %#x, needs its pattern to start at a multiple"
                " of %u",
                name, start_, 8 * width);
        }
        if (swizzle_ != Swizzle::kNone && major_ == Major::kK && start_ % width + 32 > width) {
            simt::fault("wgmma %s: 16 of K at byte %u of a row of %u", name, start_ % width, width);
        }
        const simt::Self& self = simt::self();
        bytes_ = self.shared_bytes;
        origin_ = simt::shared_address(self.shared) & 0x3ffff;
        shared_ = self.shared;
    }

    // Shared address of 8 elements: 8 of K at `k` (0 or 8) in row mn when K lies contiguous, else 8
    // of M or N from `mn` on in row k.
    uint32_t chunk(int mn, int k) const {
        const auto place = [](int n, uint32_t step) { return static_cast<uint32_t>(n) * step; };
        const uint32_t width = swizzle_width(swizzle_);
        uint32_t address = start_;
        if (major_ == Major::kK) {
            address += place(mn % 8, width) + place(mn / 8, stride_) +
                       place(k / 8, swizzle_ == Swizzle::kNone ? leading_ : 16);
        } else if (swizzle_ == Swizzle::kNone) {
            address += place(mn / 8, stride_) + place(k % 8, 16) + place(k / 8, leading_);
        } else {
            const int columns = static_cast<int>(width / 16);
            address += place(mn / 8 % columns, 16) + place(mn / 8 / columns, leading_) +
                       place(k % 8, width) + place(k / 8, stride_);
        }
        return swizzled(swizzle_, address) & 0x3ffff;
    }

    // fn(shared address of 8 elements, mn, k) for all of [extent, 16].
    template <typename Fn>
    void each_chunk(int first, int extent, Fn&& fn) const {
        if (major_ == Major::kK) {
            for (int mn = first; mn < first + extent; ++mn) {
                for (int k = 0; k < 16; k += 8) fn(chunk(mn, k), mn, k);
            }
        } else {
            for (int k = 0; k < 16; ++k) {
                for (int mn = first; mn < first + extent; mn += 8) fn(chunk(mn, k), mn, k);
            }
        }
    }

    // The bytes that rows `first` on touch, from the first to the last.
    simt::Range range(int first, int extent, const char* what) const {
        uint32_t low = UINT32_MAX, high = 0;
        each_chunk(first, extent, [&](uint32_t address, int, int) {
            low = std::min(low, address);
            high = std::max(high, address + 16);
        });
        if (low < origin_ || high - origin_ > bytes_) {
            simt::fault("%s: shared addresses %#x to %#x, the block has %#x to %#x", what, low,
                        high, origin_, origin_ + static_cast<unsigned>(bytes_));
        }
        return {shared_ + (low - origin_), high - low, 16};
    }

    // fn(mn, k, value) for all elements.
    template <typename Fn>
    void each_element(int first, int extent, Fn&& fn) const {
        each_chunk(first, extent, [&](uint32_t address, int mn, int k) {
            uint16_t bits[8];
            std::memcpy(bits, shared_ + (address - origin_), sizeof bits);
            for (int i = 0; i < 8; ++i) {
                const float value = __builtin_bit_cast(float, static_cast<uint32_t>(bits[i]) << 16);
                if (major_ == Major::kK) {
                    fn(mn, k + i, value);
                } else {
                    fn(mn + i, k, value);
                }
            }
        });
    }

  private:
    Major major_;
    uint32_t start_, leading_, stride_;
    Swizzle swizzle_;
    size_t bytes_;
    uint32_t origin_;
    const unsigned char* shared_;
};

// One product of a warp: its 16 rows of a, from shared memory or from registers.
struct Product {
    bool add;
    bool a_in_registers;
    Operand a, b;
    float a_rows[16][16];  // what the registers held
};

// The sums of a warp's lanes while products on them are in flight: their arrays hold NaN meanwhile.
class Sums {
  public:
    Sums(int n, int first_row, float* const* lanes)
        : n_(n),
          first_row_(first_row),
          lanes_(lanes, lanes + 32),
          values_(static_cast<size_t>(32 * n / 2)) {
        for (int lane = 0; lane < 32; ++lane) {
            std::memcpy(own(lane), lanes_[lane], static_cast<size_t>(n_) * 2);
            for (int i = 0; i < n_ / 2; ++i) std::memcpy(lanes_[lane] + i, &kMark, 4);
        }
    }

    // Whether nobody wrote to the arrays.
    bool untouched() const {
        for (const float* lane : lanes_) {
            for (int i = 0; i < n_ / 2; ++i) {
                if (std::memcmp(lane + i, &kMark, 4) != 0) return false;
            }
        }
        return true;
    }

    bool idle() const { return products_.empty(); }
    int n() const { return n_; }

    void start(Product product) {
        products_.push_back(std::move(product));
        ++started_;
    }
    int64_t started() const { return started_; }

    // Products of one warp run in order, so all up to this one.
    void run_until(int64_t count) {
        while (done_ < count) {
            run(products_.front());
            products_.pop_front();
            ++done_;
        }
    }

    void give_back() const {
        for (int lane = 0; lane < 32; ++lane) {
            std::memcpy(lanes_[lane], &values_[static_cast<size_t>(lane * n_ / 2)],
                        static_cast<size_t>(n_) * 2);
        }
    }

  private:
    static constexpr uint32_t kMark = 0x7fe0dead;

    float* own(int lane) { return &values_[static_cast<size_t>(lane * n_ / 2)]; }

    void run(const Product& product) {
        float a[16][16];
        std::memcpy(a, product.a_rows, sizeof a);
        if (!product.a_in_registers) {
            product.a.each_element(
                first_row_, 16, [&](int m, int k, float value) { a[m - first_row_][k] = value; });
        }
        std::vector<float> b(static_cast<size_t>(16 * n_));
        product.b.each_element(
            0, n_, [&](int n, int k, float value) { b[static_cast<size_t>(k * n_ + n)] = value; });
        std::vector<double> row(static_cast<size_t>(n_));
        for (int m = 0; m < 16; ++m) {
            std::fill(row.begin(), row.end(), 0.0);
            for (int k = 0; k < 16; ++k) {
                const float* values = &b[static_cast<size_t>(k * n_)];
                for (int n = 0; n < n_; ++n) {
                    row[static_cast<size_t>(n)] += static_cast<double>(a[m][k]) * values[n];
                }
            }
            // Row m of the warp lies in the lanes of group m % 8; each holds two of every eight
            // columns.
            for (int n = 0; n < n_; ++n) {
                const int lane = m % 8 * 4 + n % 8 / 2;
                float& sum = own(lane)[n / 8 * 4 + m / 8 * 2 + n % 2];
                sum = static_cast<float>(row[static_cast<size_t>(n)] + (product.add ? sum : 0.0));
            }
        }
    }

    int n_;
    int first_row_;  // of the warp's 16, in the 64
    std::vector<float*> lanes_;
    std::vector<float> values_;
    std::deque<Product> products_;
    int64_t started_ = 0, done_ = 0;
};

// What is known of the warps of a launch that use wgmma. Its blocks share a system thread.
struct WgmmaState {
    uint64_t launch = 0;
    std::map<const float*, std::shared_ptr<Sums>> sums;  // by the first lane's array
    std::map<std::pair<const void*, int>, bool> fenced;  // by block and warp

    bool& fence_of_this_warp() {
        const simt::Self& self = simt::self();
        return fenced[{self.shared, self.warp}];
    }
};

inline WgmmaState& wgmma_state() {
    static thread_local WgmmaState state;
    if (state.launch != simt::launch_number()) state = {simt::launch_number(), {}, {}};
    return state;
}

struct WgmmaLane {
    float* sums;
    uint64_t a, b;
    uint32_t registers[4];
    bool add;
};

inline constexpr uint32_t kWholeWarp = 0xffffffffu;

// The warp's 16 rows of a, from the registers of its lanes.
inline void take_registers(WgmmaLane* const* lanes, float (&rows)[16][16]) {
    for (int lane = 0; lane < 32; ++lane) {
        const int group = lane >> 2, pair = (lane & 3) << 1;
        const uint32_t* r = lanes[lane]->registers;
        for (int half = 0; half < 2; ++half) {
            const auto value = [half](uint32_t bits) {
                return __builtin_bit_cast(float, half == 0 ? bits << 16 : bits & 0xffff0000u);
            };
            rows[group][pair + half] = value(r[0]);
            rows[group + 8][pair + half] = value(r[1]);
            rows[group][pair + 8 + half] = value(r[2]);
            rows[group + 8][pair + 8 + half] = value(r[3]);
        }
    }
}

template <int kN, bool kRegisters>
inline void start_product(WgmmaLane& own, Major major_a, Major major_b) {
    static_assert(kN >= 16 && kN <= 256 && kN % 16 == 0, "N is 16 to 256 in steps of 16");
    const simt::Trusted trusted;
    simt::warp_collective(
        "wgmma", kWholeWarp, own,
        [=](WgmmaLane* const* lanes) {
            WgmmaState& state = wgmma_state();
            float* arrays[32];
            for (int i = 0; i < 32; ++i) {
                arrays[i] = lanes[i]->sums;
                if (lanes[i]->a != lanes[0]->a || lanes[i]->b != lanes[0]->b ||
                    lanes[i]->add != lanes[0]->add) {
                    simt::fault("wgmma: lanes 0 and %d of a warp disagree about the operands", i);
                }
            }
            if (!state.fence_of_this_warp()) {
                simt::fault("wgmma: no wgmma_fence since the last wgmma_wait");
            }
            std::shared_ptr<Sums>& sums = state.sums[arrays[0]];
            if (sums != nullptr && !sums->untouched()) {
                if (!sums->idle()) simt::fault("wgmma: sums were written before wgmma_wait");
                sums = nullptr;  // of a wait that did not name them
            }
            const int first = simt::self().warp % 4 * 16;
            if (sums == nullptr || sums->n() != kN) {
                sums = std::make_shared<Sums>(kN, first, arrays);
            }

            const Operand b(lanes[0]->b, major_b, "b");
            Product product = {lanes[0]->add,
                               kRegisters,
                               kRegisters ? b : Operand(lanes[0]->a, major_a, "a"),
                               b,
                               {}};
            if (kRegisters) take_registers(lanes, product.a_rows);
            simt::Work work;
            work.what = "wgmma";
            work.async_proxy = true;
            work.reads[0] = b.range(0, kN, "wgmma b");
            if (!kRegisters) work.reads[1] = product.a.range(first, 16, "wgmma a");
            sums->start(std::move(product));
            work.run = [sums = sums, count = sums->started()] { sums->run_until(count); };
            simt::async_start(simt::Group::kWgmma, std::move(work));
        },
        true);
}

inline void collect(WgmmaState& state, const float* first_lane) {
    const auto found = state.sums.find(first_lane);
    if (found == state.sums.end()) return;
    if (!found->second->idle()) {
        simt::fault("wgmma_wait names sums whose products may still be in flight");
    }
    if (!found->second->untouched()) simt::fault("wgmma: sums were written before wgmma_wait");
    found->second->give_back();
    state.sums.erase(found);
}

}  // namespace emulation

inline void wgmma_fence() {
    const simt::Trusted trusted;
    char none = 0;
    simt::warp_collective(
        "wgmma.fence", emulation::kWholeWarp, none,
        [](char* const*) { emulation::wgmma_state().fence_of_this_warp() = true; }, true);
}

inline void wgmma_commit() {
    const simt::Trusted trusted;
    char none = 0;
    simt::warp_collective(
        "wgmma.commit_group", emulation::kWholeWarp, none,
        [](char* const*) { simt::async_commit(simt::Group::kWgmma); }, true);
}

namespace emulation {

// The arrays of sums that a wait names, one or several at a time.
struct Named {
    static constexpr int kMost = 32;
    const float* arrays[kMost];
    int count = 0;

    template <int kCount>
    void add(float (&sums)[kCount]) {
        if (count == kMost) simt::fault("wgmma_wait: more than %d arrays of sums", kMost);
        arrays[count++] = sums;
    }
    template <int kRows, int kCount>
    void add(float (&sums)[kRows][kCount]) {
        for (int i = 0; i < kRows; ++i) add(sums[i]);
    }
};

}  // namespace emulation

// Beyond the manual, the lanes of the warp are ordered too: one of them waits for all.
template <int kPending, typename... Arrays>
inline void wgmma_wait(Arrays&... sums) {
    const simt::Trusted trusted;
    emulation::Named own;
    (own.add(sums), ...);
    simt::warp_meet(
        "wgmma.wait_group", emulation::kWholeWarp, &own,
        [](void*, void* const* lanes) {
            simt::async_wait(simt::Group::kWgmma, kPending);
            emulation::WgmmaState& state = emulation::wgmma_state();
            state.fence_of_this_warp() = false;
            const auto& named = *static_cast<const emulation::Named*>(lanes[0]);
            for (int i = 0; i < named.count; ++i) emulation::collect(state, named.arrays[i]);
        },
        nullptr, simt::Order::kMemory, simt::Site{"wgmma_wait", 0}, true);
}

// Products took operands in registers when they were started.
template <typename... Operands>
inline void wgmma_keep(Operands&...) {}

template <int kN, Major kMajorA, Major kMajorB>
inline void wgmma(float (&sums)[kN / 2], uint64_t a, uint64_t b, bool add) {
    emulation::WgmmaLane own = {sums, a, b, {}, add};
    emulation::start_product<kN, false>(own, kMajorA, kMajorB);
}

template <int kN, Major kMajorB>
inline void wgmma(float (&sums)[kN / 2], const uint32_t (&a)[4], uint64_t b, bool add) {
    emulation::WgmmaLane own = {sums, 0, b, {a[0], a[1], a[2], a[3]}, add};
    emulation::start_product<kN, true>(own, Major::kK, kMajorB);
}

}  // namespace caravan::tile
