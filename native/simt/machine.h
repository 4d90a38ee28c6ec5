// The emulated machine, as tile wrappers and the CUDA vocabulary (cuda.h) see it. Kernels do not
// include this: they use src/cuda/tile. What is a fault stops the launch; none of these functions
// then returns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned width = 1, unsigned height = 1, unsigned depth = 1)
        : x(width), y(height), z(depth) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
    constexpr operator uint3() const { return {x, y, z}; }
};

namespace simt {

// ---------------------------------------------------------------- who am I

// What a device thread knows of itself. The first part is read by index registers in cuda.h.
struct Self {
    uint3 thread_index, block_index, block_dim, grid_dim;
    int thread;             // in the block, x fastest
    int threads;            // of the block
    int lane;               // thread % 32
    int warp;               // thread / 32
    int block_rank;         // in the cluster
    int cluster_size;       // blocks of the cluster
    unsigned char* shared;  // the block's dynamic shared memory, aligned to 1,024 bytes
    size_t shared_bytes;
};

// The running device thread; null on the host.
extern thread_local Self* running __attribute__((tls_model("initial-exec")));

// Read by an instruction that no instrumentation sees; a thread never becomes another one.
inline Self* current() {
    Self* self;
    asm("movq _ZN4simt7runningE@gottpoff(%%rip), %0\n\tmovq %%fs:(%0), %0" : "=r"(self));
    return self;
}

inline const Self& self() { return *current(); }

// Where in the source something was called. Taken by default arguments.
struct Site {
    const char* file;
    int line;
    static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
        return {file, line};
    }
};

// Stops the launch with a message in printf's manner: kind, then the thread and where it is.
[[noreturn]] void fault(const char* format, ...) __attribute__((format(printf, 1, 2)));

// ---------------------------------------------------------------- memory

inline unsigned char* shared_memory() { return current()->shared; }

// Shared memory by 32-bit addresses, as PTX takes them: the block's rank in bits 24 and up, an
// offset below. Offset 0 is not in use, so that a null pointer is no address.
uint32_t shared_address(const void* pointer);
void* shared_pointer(uint32_t address, const char* what);

// The same place in the shared memory of another block of the cluster.
void* map_shared_rank(const void* pointer, unsigned rank);

// Whose access a check is for: in a warp's collective the last lane to come acts for all of them.
constexpr int kOwnLane = -1;

// An access of this thread. Within one live device or pinned allocation, the shared memory of the
// cluster or the thread's own variables; aligned; not in a race; for shared memory, written before
// it is read and not in flight. `what` names it in messages.
void check_read(const void* address, size_t bytes, size_t alignment, const char* what,
                int lane = kOwnLane);
void check_write(const void* address, size_t bytes, size_t alignment, const char* what,
                 int lane = kOwnLane);
// One that other threads may make at the same time, as atomics do.
void check_atomic(const void* address, size_t bytes, const char* what);
// The same of additions to a range, of which nothing comes back.
void check_reduction(const void* address, size_t bytes, size_t alignment, const char* what);

// While one of these lives, memory is not checked by itself: the wrapper checks what it touches by
// the functions above.
class Trusted {
  public:
    Trusted();
    ~Trusted();
    Trusted(const Trusted&) = delete;
    Trusted& operator=(const Trusted&) = delete;
};

// ---------------------------------------------------------------- threads that meet

using Collective = void (*)(void* context, void* const* payloads);

// Whether a meeting of lanes also orders their memory accesses, as __syncwarp does and shuffles do
// not.
enum class Order { kNone, kMemory };

// The lanes of the mask meet; the last one to come runs body(context, payloads) with the payload of
// each lane (null for those not in the mask), then all go on. All of the mask must come by the same
// `what`.
void warp_meet(const char* what, uint32_t mask, const void* payload, Collective body, void* context,
               Order order, Site site, bool aligned);

// fn(Payload* const* lanes) runs once. `aligned`: an instruction that all lanes must reach at the
// same place.
template <typename Payload, typename Fn>
void warp_collective(const char* what, uint32_t mask, Payload& payload, Fn&& fn,
                     bool aligned = false, Site site = Site::here()) {
    warp_meet(
        what, mask, &payload,
        [](void* context, void* const* payloads) {
            Payload* lanes[32];
            for (int i = 0; i < 32; ++i) lanes[i] = static_cast<Payload*>(payloads[i]);
            (*static_cast<std::remove_reference_t<Fn>*>(context))(lanes);
        },
        &fn, Order::kNone, site, aligned);
}

// __syncthreads; returns how many of the block's threads brought a predicate that is not 0.
int block_barrier(const char* what, int predicate, Site site = Site::here());

// PTX barrier.cta.sync / arrive: `threads` of the block, a multiple of 32, meet at barrier `id` (0
// to 15).
void named_barrier_sync(int id, int threads, Site site = Site::here());
void named_barrier_arrive(int id, int threads, Site site = Site::here());

// PTX barrier.cluster: all threads of the cluster.
void cluster_arrive(Site site = Site::here());
void cluster_wait(Site site = Site::here());

// Blocks until the predicate holds. It is asked again and again, and must have no effects.
void wait_until(const std::function<bool()>& predicate, const char* what, Site site = Site::here());

// Lets other threads run.
void yield();

// Counts launches: what a wrapper keeps between calls is of no use to another one.
uint64_t launch_number();

// ---------------------------------------------------------------- mbarrier

// Objects of 8 bytes in shared memory. PTX ISA, section "Parallel Synchronization and Communication
// Instructions: mbarrier". The address may be that of another block of the cluster where PTX allows
// it.
void mbarrier_init(void* barrier, uint32_t count);
void mbarrier_invalidate(void* barrier);
void mbarrier_expect(void* barrier, uint32_t bytes);
// Returns the phase that the arrival counted for, as the token of mbarrier.arrive.
uint64_t mbarrier_arrive(void* barrier, uint32_t count = 1);
// Whether the phase of that parity has completed. Acquires what was released to it when it has.
bool mbarrier_test(void* barrier, uint32_t parity);
// Blocks until it has; a phase that can never complete is reported.
void mbarrier_wait(void* barrier, uint32_t parity, Site site = Site::here());

// ---------------------------------------------------------------- asynchronous work

// Shared memory that asynchronous work touches.
struct Range {
    const void* address = nullptr;
    size_t bytes = 0;
    size_t alignment = 1;
};

// Work that is done at a random time between its start and the moment at which it must be done.
// From its start until it has been waited for, reading or writing what it writes in shared memory
// is a fault, and so is writing what it reads. `run` moves the data; the wrapper has checked what
// it touches in global memory. With `fetch`, which reads the sources, `run` may come later than
// these are free again, and reads them no more.
struct Work {
    const char* what = "";
    std::function<void()> fetch, run;
    Range writes[2];
    Range reads[4];
    // By the asynchronous proxy (bulk copies, wgmma): what threads wrote to `reads` must have been
    // followed by their fence_proxy_async. PTX ISA, "Async proxy".
    bool async_proxy = false;
    // What its thread did before it is known to those who see it counted by the barrier on which it
    // completes. PTX ISA, "st.async": complete-tx with release at the scope of the cluster.
    bool releases = false;
};

// The kinds of groups that can be committed and waited for: cp.async and cp.async.bulk by each
// thread for itself; wgmma by each warp, so call these from within its warp_collective.
enum class Group { kCopy, kBulk, kWgmma };

void async_start(Group kind, Work work);        // into the open group
void async_commit(Group kind);                  // closes the open group
void async_wait(Group kind, int pending);       // for all but the last `pending` groups
void async_wait_read(Group kind, int pending);  // only until their sources have been read
// Completes by counting `bytes` of the barrier's transactions.
void async_start(void* barrier, uint32_t bytes, Work work);
// cp.async.mbarrier.arrive(.noinc): an arrival when this thread's cp.async so far have landed.
void async_arrive(void* barrier, bool counted_at_init);

// fence.proxy.async by this thread.
void fence_proxy_async();

// ---------------------------------------------------------------- launches

// Enqueues a kernel on a stream of the emulated device; `body` calls it. Returns null, or what is
// wrong (valid until this thread's next call); `kernel` is its address, for names in messages.
struct Launch {
    void* stream;
    const void* kernel;
    dim3 grid, block;
    int64_t shared_bytes;
    int cluster;
    std::shared_ptr<void> closure;
    size_t closure_bytes;
    void (*call)(void* closure);
};
const char* enqueue(Launch launch);

template <typename Body>
const char* launch(void* stream, const void* kernel, dim3 grid, dim3 block, int64_t shared_bytes,
                   int cluster, Body body) {
    return enqueue({stream, kernel, grid, block, shared_bytes, cluster,
                    std::make_shared<Body>(std::move(body)), sizeof(Body),
                    [](void* closure) { (*static_cast<Body*>(closure))(); }});
}

}  // namespace simt
