#include "simt/check.h"

#include <link.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "simt/memory.h"
#include "simt/report.h"
#include "simt/run.h"
#include "simt/state.h"

namespace simt {
namespace {

constexpr const char* kKindNames[] = {"read", "write", "atomic", "reduction"};

bool is_atomic(Kind kind) { return kind == Kind::kAtomic || kind == Kind::kReduce; }

struct Attempt {
    Thread& thread;
    const void* address;
    size_t bytes;
    Kind kind;
    const char* what;
    const void* caller;
};

[[noreturn]] void refuse(const Attempt& attempt, const char* problem, const char* where) {
    raise_fault(&attempt.thread, attempt.caller, "%s: %s of %zu bytes (%s), %s", problem,
                kKindNames[static_cast<int>(attempt.kind)], attempt.bytes, attempt.what, where);
}

std::string shared_place(const Attempt& attempt, const Block& block, size_t offset) {
    std::string text = text_of("byte %zu of %zu of shared memory", offset, cluster.shared_bytes);
    if (block.rank != attempt.thread.block->rank)
        text += text_of(" of block (%u,%u,%u)", block.index.x, block.index.y, block.index.z);
    return text;
}

// ---------------------------------------------------------------- shared memory

[[noreturn]] void refuse_bytes(const Attempt& attempt, const Block& block, size_t offset) {
    for (size_t i = offset; i < offset + attempt.bytes; ++i) {
        const uint8_t byte = block.shadow.bytes[i];
        const char* problem = nullptr;
        if ((byte & kByteKind) == kBarrier) {
            problem = "mbarrier touched by a plain access";
        } else if ((byte & kByteKind) == kInFlight) {
            problem = attempt.kind == Kind::kRead
                          ? "asynchronous copy read before it was waited for"
                          : "asynchronous copy overwritten before it was waited for";
        } else if (attempt.kind != Kind::kRead && byte >= kOneReader) {
            problem = "overwritten while asynchronous work reads it";
        } else if (attempt.kind != Kind::kWrite && (byte & kByteKind) == kUnwritten) {
            problem = "shared memory read before it was written";
        }
        if (problem != nullptr) refuse(attempt, problem, shared_place(attempt, block, i).c_str());
    }
    refuse(attempt, "shared memory in an unknown state",
           shared_place(attempt, block, offset).c_str());
}

[[noreturn]] void refuse_race(const Attempt& attempt, const Block& block, size_t offset,
                              Access other, bool other_writes) {
    std::string before = "asynchronous work";
    if (other.thread() != kAsyncThread) {
        const int per_block = cluster.threads / cluster.blocks;
        before =
            thread_name(
                cluster_block(other.thread() / per_block).threads[other.thread() % per_block]) +
            " at " + place_of_number(other.place());
    }
    const std::string where = shared_place(attempt, block, offset) + ", which was " +
                              (other_writes ? "written" : "read") + " with no barrier between by " +
                              before;
    refuse(attempt, "race", where.c_str());
}

// The state of 1, 2, 4, 8 or 16 bytes at once, where it is the usual one.
template <typename Word>
bool usual(const uint8_t* bytes, size_t count, bool reads) {
    constexpr Word kOnes = static_cast<Word>(0x0101010101010101ull);
    bool good = true;
    for (size_t i = 0; i < count; i += sizeof(Word)) {
        Word word;
        std::memcpy(&word, bytes + i, sizeof word);
        good = good && (reads ? word == kOnes : (word & static_cast<Word>(~kOnes)) == 0);
    }
    return good;
}

bool usual_bytes(const uint8_t* bytes, size_t count, bool reads) {
    if (count % 8 == 0) return usual<uint64_t>(bytes, count, reads);
    if (count == 4) return usual<uint32_t>(bytes, count, reads);
    if (count == 2) return usual<uint16_t>(bytes, count, reads);
    return usual<uint8_t>(bytes, count, reads);
}

bool known(const Thread& thread, Access access) {
    if (access.none()) return true;
    if (access.clock() < thread.knows.block && cluster.blocks == 1 &&
        access.thread() != kAsyncThread) {
        return true;
    }
    return knows_of(thread, access.thread(), access.clock());
}

void check_shared(const Attempt& attempt, Block& block, size_t offset) {
    Thread& thread = attempt.thread;
    if (block.rank != thread.block->rank) {
        const char* problem = nullptr;
        if (cluster.barrier.phase == 0)
            problem = "another block's shared memory before a cluster barrier";
        if (block.ended == block.count) problem = "shared memory of a block that has ended";
        if (problem != nullptr)
            refuse(attempt, problem, shared_place(attempt, block, offset).c_str());
    }
    Shadow& shadow = block.shadow;
    uint8_t* const bytes = shadow.bytes.data() + offset;
    const bool reads = attempt.kind != Kind::kWrite, writes = attempt.kind != Kind::kRead;
    if (!usual_bytes(bytes, attempt.bytes, reads)) {
        for (size_t i = 0; i < attempt.bytes; ++i) {
            const uint8_t byte = bytes[i];
            const bool kind_is_good =
                reads ? (byte & kByteKind) == kWritten : (byte & kByteKind) <= kWritten;
            if (!kind_is_good || (writes && byte >= kOneReader))
                refuse_bytes(attempt, block, offset);
        }
    }
    if (writes) std::memset(bytes, kWritten, attempt.bytes);
    if (attempt.bytes == 1) return;  // races are told apart by two bytes

    const bool atomic = is_atomic(attempt.kind);
    const Access now(thread.number, thread.clock, atomic, place_number(attempt.caller));
    const size_t first = offset / 2, last = (offset + attempt.bytes - 1) / 2;
    Access seen_write, seen_read;
    for (size_t i = first; i <= last; ++i) {
        Access& write = shadow.writes[i];
        Access& read = shadow.reads[i];
        if (write != seen_write) {
            seen_write = write;
            if (!known(thread, write) && !(atomic && write.atomic())) {
                refuse_race(attempt, block, i * 2, write, true);
            }
        }
        if (!writes) {
            // Of two readers that do not know of each other, either may meet the next writer.
            if (read.none() || known(thread, read) || random_below(2) == 0) read = now;
            continue;
        }
        if (read != seen_read) {
            seen_read = read;
            if (!read.none() && !known(thread, read))
                refuse_race(attempt, block, i * 2, read, false);
        }
        write = now;
    }
}

// ---------------------------------------------------------------- device memory

// The clusters that updated each address by atomics in this launch, in their order: who comes later
// knows of what those before had done (a kernel's last block may add up what the others left).
std::unordered_map<const void*, std::vector<Owner>> atomics;
std::unordered_set<Owner> before_self;
Owner before_whom = 0;

void note_atomic(const void* address, Owner self) {
    std::vector<Owner>& owners = atomics[address];
    if (!owners.empty() && owners.back() == self) return;
    owners.push_back(self);
    before_whom = 0;
}

bool ordered_by_atomics(Owner other, Owner self) {
    if (atomics.empty()) return false;
    if (before_whom != self) {
        before_whom = self;
        before_self.clear();
        for (const auto& [address, owners] : atomics) {
            const auto last = std::find(owners.rbegin(), owners.rend(), self);
            before_self.insert(last, owners.rend());
        }
    }
    return before_self.count(other) != 0;
}

[[noreturn]] void refuse_block_race(const Attempt& attempt, Owner other, bool other_writes) {
    const bool atomics = (other & kByAtomics) != 0;
    const std::string where =
        cluster.memory->describe(attempt.address) + ", which " +
        (atomics ? "atomics update in the same launch"
                 : text_of("%s number %u of the same launch %s",
                           attempt.thread.cluster_size > 1 ? "cluster" : "block",
                           other - cluster.first_owner,
                           other_writes ? "wrote" : "read"));
    refuse(attempt, "race between blocks", where.c_str());
}

void check_device(const Attempt& attempt) {
    Allocation* const allocation = cluster.memory->find(attempt.address);
    const auto offset =
        allocation == nullptr
            ? size_t{0}
            : static_cast<size_t>(static_cast<const char*>(attempt.address) - allocation->data);
    if (allocation == nullptr || !allocation->live || offset > allocation->bytes ||
        attempt.bytes > allocation->bytes - offset) {
        refuse(
            attempt,
            allocation != nullptr && !allocation->live ? "use of released memory" : "out of bounds",
            cluster.memory->describe(attempt.address).c_str());
    }
    if (attempt.bytes == 1) return;
    if (allocation->writers == nullptr) cluster.memory->make_shadow(*allocation);
    if (allocation->writers == nullptr || allocation->readers == nullptr)
        return;  // no memory for it
    const bool writes = attempt.kind != Kind::kRead, atomic = is_atomic(attempt.kind);
    const size_t first = offset / 2, last = (offset + attempt.bytes - 1) / 2;
    const Owner least = cluster.first_owner, self = attempt.thread.block->owner;
    for (size_t i = first; i <= last; ++i) {
        Owner& writer = allocation->writers[i];
        Owner& reader = allocation->readers[i];
        const Owner wrote = writer & ~kByAtomics;
        const bool both_atomic = atomic && (writer & kByAtomics) != 0;
        if (wrote >= least && wrote != self && !both_atomic && !ordered_by_atomics(wrote, self)) {
            refuse_block_race(attempt, writer, true);
        }
        if (!writes) {
            reader = self;
            continue;
        }
        if (reader >= least && reader != self && !ordered_by_atomics(reader, self)) {
            refuse_block_race(attempt, reader, false);
        }
        writer = atomic ? self | kByAtomics : self;
    }
    if (attempt.kind == Kind::kAtomic) note_atomic(attempt.address, self);
}

// ---------------------------------------------------------------- other memory

struct Segment {
    uintptr_t first, last;
};

// What the program's files map as read-only: constants of kernels.
const std::vector<Segment>& constants(bool again) {
    static std::vector<Segment> segments;
    if (!again && !segments.empty()) return segments;
    segments.clear();
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void*) {
            for (int i = 0; i < info->dlpi_phnum; ++i) {
                const auto& header = info->dlpi_phdr[i];
                const bool constant = (header.p_type == PT_LOAD && (header.p_flags & PF_W) == 0) ||
                                      header.p_type == PT_GNU_RELRO;
                if (!constant) continue;
                const uintptr_t first = info->dlpi_addr + header.p_vaddr;
                segments.push_back({first, first + header.p_memsz});
            }
            return 0;
        },
        nullptr);
    return segments;
}

bool is_constant(const void* address, size_t bytes) {
    const auto first = reinterpret_cast<uintptr_t>(address);
    for (const bool again : {false, true}) {
        for (const Segment& segment : constants(again)) {
            if (first >= segment.first && first + bytes <= segment.last) return true;
        }
    }
    return false;
}

bool within(const void* address, size_t bytes, const void* from, size_t size) {
    const auto offset = reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(from);
    return offset < size && bytes <= size - offset;
}

void check_other(const Attempt& attempt) {
    const Thread& thread = attempt.thread;
    int rank = 0;
    size_t offset = 0;
    if (in_shared(attempt.address, rank, offset)) {
        // The shared memory of the cluster, but not within what the launch asked for.
        refuse(attempt, "out of bounds",
               shared_place(attempt, cluster_block(rank), offset).c_str());
    }
    if (cluster.stacks->contains(attempt.address)) {
        refuse(attempt, "local memory of another thread", "");
    }
    if (attempt.kind == Kind::kRead) {
        if (within(attempt.address, attempt.bytes, cluster.closure, cluster.closure_bytes)) return;
        if (within(attempt.address, attempt.bytes, &thread, sizeof thread)) return;
        if (is_constant(attempt.address, attempt.bytes)) return;
    }
    refuse(attempt, "out of bounds",
           text_of("at address %p, which is in no memory of the device", attempt.address).c_str());
}

// What threads wrote is visible to the asynchronous proxy only behind their own fence: without one
// it is not read, or lands on top of what the proxy writes later.
void check_proxy(Thread& thread, const Shadow& shadow, const Range& range, size_t offset,
                 bool writes, const char* what, const void* caller) {
    for (size_t i = offset / 2; i <= (offset + range.bytes - 1) / 2; ++i) {
        const Access write = shadow.writes[i];
        if (write.none() || write.thread() == kAsyncThread) continue;
        const int per_block = cluster.threads / cluster.blocks;
        const Thread& writer =
            cluster_block(write.thread() / per_block).threads[write.thread() % per_block];
        if (write.clock() < writer.proxy_fence) continue;
        raise_fault(&thread, caller,
                    "no fence.proxy.async: %s %s byte %zu of shared memory, which %s wrote at "
                    "%s without "
                    "one after it",
                    what, writes ? "writes" : "reads", i * 2, thread_name(writer).c_str(),
                    place_of_number(write.place()).c_str());
    }
}

}  // namespace

void begin_checks() {
    atomics.clear();
    before_whom = 0;
}

bool in_shared(const void* address, int& rank, size_t& offset) {
    const auto at =
        static_cast<size_t>(static_cast<const unsigned char*>(address) - cluster.windows);
    if (at >= kWindowBytes * static_cast<size_t>(cluster.blocks)) return false;
    rank = static_cast<int>(at / kWindowBytes);
    offset = at % kWindowBytes;
    return true;
}

void check_access(Thread& thread, const void* address, size_t bytes, size_t alignment, Kind kind,
                  const char* what, const void* caller) {
    const Attempt attempt = {thread, address, bytes, kind, what, caller};
    if (within(address, bytes, thread.stack.low,
               static_cast<size_t>(thread.stack.high - thread.stack.low))) {
        return;
    }
    if (reinterpret_cast<uintptr_t>(address) % alignment != 0) {
        refuse(attempt, "misaligned",
               text_of("at address %p, needs a multiple of %zu", address, alignment).c_str());
    }
    int rank = 0;
    size_t offset = 0;
    if (in_shared(address, rank, offset) && offset + bytes <= cluster.shared_bytes) {
        return check_shared(attempt, cluster_block(rank), offset);
    }
    if (cluster.memory->reserved(address)) return check_device(attempt);
    check_other(attempt);
}

void begin_flight(Thread& thread, const Range& range, bool writes, bool async_proxy,
                  const char* what, const void* caller) {
    int rank = 0;
    size_t offset = 0;
    const bool shared = in_shared(range.address, rank, offset);
    if (shared && offset + range.bytes <= cluster.shared_bytes) {
        Shadow& shadow = cluster_block(rank).shadow;
        if (async_proxy) check_proxy(thread, shadow, range, offset, writes, what, caller);
    }
    check_access(thread, range.address, range.bytes, range.alignment,
                 writes ? Kind::kWrite : Kind::kRead, what, caller);
    if (!shared) return;
    uint8_t* const bytes = cluster_block(rank).shadow.bytes.data() + offset;
    if (writes) {
        std::memset(bytes, kInFlight, range.bytes);
        return;
    }
    for (size_t i = 0; i < range.bytes; ++i) {
        if (bytes[i] / kOneReader < kMostReaders)
            bytes[i] = static_cast<uint8_t>(bytes[i] + kOneReader);
    }
}

void end_flight(const Range& range, bool writes, int thread, Clock clock) {
    int rank = 0;
    size_t offset = 0;
    if (!in_shared(range.address, rank, offset)) return;
    Shadow& shadow = cluster_block(rank).shadow;
    uint8_t* const bytes = shadow.bytes.data() + offset;
    const Access now(thread, clock, false, 0);
    const size_t first = offset / 2, last = (offset + range.bytes - 1) / 2;
    if (writes) {
        std::memset(bytes, kWritten, range.bytes);
        for (size_t i = first; i <= last; ++i) shadow.writes[i] = now;
        return;
    }
    for (size_t i = 0; i < range.bytes; ++i) {
        if (bytes[i] >= kOneReader) bytes[i] = static_cast<uint8_t>(bytes[i] - kOneReader);
    }
    for (size_t i = first; i <= last; ++i) shadow.reads[i] = now;
}

}  // namespace simt
