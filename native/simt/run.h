// The machine that runs launches, as its parts see it. One launch runs at a time, on the thread
// that asked.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "simt/knowledge.h"
#include "simt/machine.h"

namespace simt {

struct Block;
struct Pending;
struct Thread;
class DeviceMemory;

// Whether the compiler reports loads and stores to hooks.cpp. Under AddressSanitizer it does not, and
// what is written in shared memory by a plain store is then not known to be.
#ifdef __SANITIZE_ADDRESS__
constexpr bool kInstrumented = false;
#else
constexpr bool kInstrumented = true;
#endif

// Chosen by the environment, once; tests set them directly.
struct Settings {
    uint64_t seed;  // CARAVAN_SIMT_SEED
    bool in_order;  // CARAVAN_SIMT_ORDER=in-order: blocks and threads by number
    bool checks;    // CARAVAN_SIMT_CHECKS=0 leaves out what the compiler's instrumentation reports
    bool late;      // CARAVAN_SIMT_STREAMS=late: streams run behind the host, at random
    int32_t capability;    // CARAVAN_SIMT_CAPABILITY
    int64_t memory_bytes;  // CARAVAN_SIMT_MEMORY_BYTES
    bool own_products;     // CARAVAN_SIMT_PRODUCTS=kernel: ours, not the host's stand-in for the
                           // vendor's
    int64_t lost_at;       // CARAVAN_SIMT_LOST_AT=N: the device fails at launch N, counted from 1
    int64_t held_bytes;    // CARAVAN_SIMT_HELD_BYTES: of the memory, by other processes
    int64_t held_from;     // CARAVAN_SIMT_HELD_FROM=N: from this process's allocation N on
    int32_t devices;       // CARAVAN_SIMT_DEVICES: how many there seem to be, of one memory
    int32_t driver;        // CARAVAN_SIMT_DRIVER=12040: no later CUDA than 12.4
    int32_t resident;      // CARAVAN_SIMT_RESIDENT=N: blocks without a cluster run N at a time
};
Settings& settings();

// Most dynamic shared memory of a block, by capability; 0 for one that is not known. CUDA C++
// Programming Guide, table "Technical Specifications per Compute Capability".
int64_t shared_limit(int32_t capability);

DeviceMemory& device_memory();

// Runs a launch to its end. Empty, or what was wrong; `lost`: the device cannot be used any more.
std::string run(const Launch& launch, bool& lost);

// ---------------------------------------------------------------- for the running cluster

int cluster_threads();
Block& cluster_block(int rank);

// The clock moves on.
Clock tick();

// A random number below `bound`; 0 when threads run in order.
uint32_t random_below(uint32_t bound);

// The running thread, which must be there.
Thread& running_thread(const char* what);

// Suspends the running thread until make_ready(thread).
void suspend(Thread& thread, const char* waits_for, Site site, const void* caller);
void make_ready(Thread& thread);

// Work that the machine may do whenever it likes, and does before it calls a halt.
void add_pending(const std::shared_ptr<Pending>& pending);

// Gives the launch up with a message, to which the place of `caller` is added.
[[noreturn]] void leave_launch(std::string message, const void* caller);

}  // namespace simt
