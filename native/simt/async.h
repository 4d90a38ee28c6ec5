// Asynchronous work: what the machine does with it.
#pragma once

namespace simt {

struct Pending;
struct Thread;

// Does the work, and where it completes on an mbarrier, tells that.
void land(Pending& pending);

// A thread ends: nothing may wait for it, and it may leave no work behind.
void check_end(Thread& thread);

}  // namespace simt
