// What is known of every byte of a block's shared memory.
#pragma once

#include <cstdint>
#include <vector>

#include "simt/knowledge.h"

namespace simt {

// A byte's state: its kind in bits 0 and 1, above that how many asynchronous reads of it are under
// way.
enum Byte : uint8_t {
    kUnwritten = 0,
    kWritten = 1,
    kInFlight = 2,  // the destination of asynchronous work
    kBarrier = 3,   // part of an mbarrier
};
constexpr uint8_t kByteKind = 3;
constexpr uint8_t kOneReader = 4;
constexpr uint8_t kMostReaders = 63;

// The last access of two bytes: where (an offset in the kernel's library), by whom, when, whether
// atomic. 0 is none.
class Access {
  public:
    Access() = default;
    Access(int thread, Clock clock, bool atomic, uint32_t place)
        : bits_(clock | static_cast<uint64_t>(thread) << kClockBits |
                static_cast<uint64_t>(atomic) << (kClockBits + kThreadBits) |
                static_cast<uint64_t>(place) << (kClockBits + kThreadBits + 1)) {}
    bool none() const { return bits_ == 0; }
    Clock clock() const { return static_cast<Clock>(bits_) & kLastClock; }
    int thread() const { return static_cast<int>(bits_ >> kClockBits) & kAsyncThread; }
    bool atomic() const { return (bits_ >> (kClockBits + kThreadBits) & 1) != 0; }
    uint32_t place() const {
        return static_cast<uint32_t>(bits_ >> (kClockBits + kThreadBits + 1));
    }
    bool operator==(Access other) const { return bits_ == other.bits_; }
    bool operator!=(Access other) const { return bits_ != other.bits_; }

  private:
    uint64_t bits_ = 0;
};
constexpr int kPlaceBits = 64 - kClockBits - kThreadBits - 1;

struct Shadow {
    std::vector<uint8_t> bytes;
    std::vector<Access> writes, reads;  // one for two bytes

    // Where plain stores are not seen, no byte is known to be unwritten.
    void reset(size_t size, bool sees_stores) {
        bytes.assign(size, sees_stores ? kUnwritten : kWritten);
        writes.assign((size + 1) / 2, Access());
        reads.assign((size + 1) / 2, Access());
    }
    void forget_accesses() {
        writes.assign(writes.size(), Access());
        reads.assign(reads.size(), Access());
    }
};

}  // namespace simt
