// Checks of accesses to memory: those that wrappers ask for and those that the compiler's
// instrumentation reports go the same way.
#pragma once

#include <cstddef>
#include <cstdint>

#include "simt/machine.h"

namespace simt {

struct Thread;

// kReduce: an atomic that brings nothing back, so that who makes it learns nothing of others.
enum class Kind : uint8_t { kRead, kWrite, kAtomic, kReduce };

// A launch begins.
void begin_checks();

// One access by a thread, at an instruction.
void check_access(Thread& thread, const void* address, size_t bytes, size_t alignment, Kind kind,
                  const char* what, const void* caller);

// Asynchronous work begins: its destination in shared memory is in flight, its sources are being
// read.
void begin_flight(Thread& thread, const Range& range, bool writes, bool async_proxy,
                  const char* what, const void* caller);
// It is over: the destination counts as written, or the source as read, by a thread (or by
// kAsyncThread) at a clock.
void end_flight(const Range& range, bool writes, int thread, uint32_t clock);

// The block of the cluster in whose shared memory an address lies, and the offset there.
bool in_shared(const void* address, int& rank, size_t& offset);

}  // namespace simt
