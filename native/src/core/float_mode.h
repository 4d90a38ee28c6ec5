// How a thread of the CPU treats the smallest numbers while it computes.
#pragma once

#include <immintrin.h>

namespace caravan {

// While it lives, results of its thread below 2^-126 are zero, and so are such operands, as on a
// GPU that flushes and in the processor's own products of bfloat16. A soft-max makes such numbers
// wherever one logit lies 87 or more below the greatest, and a product that meets them takes a
// hundred times as long on some processors (bench/LOG.md). The caller's mode is given back: a JVM
// needs its own.
class FlushSubnormals {
  public:
    FlushSubnormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | kFlush); }
    ~FlushSubnormals() { _mm_setcsr(before_); }
    FlushSubnormals(const FlushSubnormals&) = delete;
    FlushSubnormals& operator=(const FlushSubnormals&) = delete;

  private:
    static constexpr unsigned kFlush = _MM_FLUSH_ZERO_ON | 0x0040;  // results, and operands (DAZ)

    unsigned before_;
};

}  // namespace caravan
