#include "simt/intrinsics.h"

#include <cstring>

#include "simt/report.h"
#include "simt/run.h"
#include "simt/state.h"

namespace simt {
namespace {

// What a lane brings and takes: one word each.
struct Exchange {
    uint64_t value;
    int operand;
    int width;
    uint64_t result;
};

constexpr const char* kShuffleNames[] = {"__shfl_sync", "__shfl_up_sync", "__shfl_down_sync",
                                         "__shfl_xor_sync"};

// The lane that `lane` reads; itself where the rules say that it keeps its own value. CUDA C++
// Programming Guide, "Warp Shuffle Functions"; PTX ISA, "shfl.sync".
int source_lane(Shuffle kind, int lane, int operand, int width) {
    const int first = lane / width * width, last = first + width - 1;
    switch (kind) {
        case Shuffle::kIndex:
            return first + (operand & (width - 1));
        case Shuffle::kUp:
            return lane - operand < first ? lane : lane - operand;
        case Shuffle::kDown:
            return lane + operand > last ? lane : lane + operand;
        case Shuffle::kXor:
            return (lane ^ operand) > last ? lane : lane ^ operand;
    }
    return lane;
}

template <typename T>
T apply(Atomic operation, T old, T value, T expected) {
    switch (operation) {
        case Atomic::kAdd:
            return static_cast<T>(old + value);
        case Atomic::kSubtract:
            return static_cast<T>(old - value);
        case Atomic::kExchange:
            return value;
        case Atomic::kMin:
            return value < old ? value : old;
        case Atomic::kMax:
            return value > old ? value : old;
        case Atomic::kIncrement:
            return old >= value ? T{0} : static_cast<T>(old + T{1});
        case Atomic::kCompareExchange:
            return old == expected ? value : old;
        default:
            break;
    }
    if constexpr (std::is_integral_v<T>) {
        if (operation == Atomic::kAnd) return old & value;
        if (operation == Atomic::kOr) return old | value;
        if (operation == Atomic::kXor) return old ^ value;
    }
    return old;
}

template <typename T>
uint64_t update(Atomic operation, void* address, uint64_t value, uint64_t expected) {
    T old;
    std::memcpy(&old, address, sizeof old);
    // Unsigned, so that sums wrap round.
    const T made = apply<T>(operation, old, from_bits<T>(value), from_bits<T>(expected));
    std::memcpy(address, &made, sizeof made);
    return bits_of(old);
}

}  // namespace

uint64_t shuffle_bits(Shuffle kind, uint32_t mask, uint64_t bits, int operand, int width,
                      Site site) {
    const void* const caller = __builtin_return_address(0);
    const char* const name = kShuffleNames[static_cast<int>(kind)];
    Thread& thread = running_thread(name);
    if (width < 1 || width > 32 || (width & (width - 1)) != 0) {
        raise_fault(&thread, caller, "%s: width %d; needs a power of two up to 32", name, width);
    }
    const int source = source_lane(kind, thread.lane, operand, width);
    if (source < 0 || (mask >> source & 1) == 0) {
        raise_fault(&thread, caller, "%s: lane %d reads lane %d, which is not in the mask %#x",
                    name, thread.lane, source, mask);
    }
    Exchange mine = {bits, source, width, 0};
    warp_meet(
        name, mask, &mine,
        [](void*, void* const* payloads) {
            for (int i = 0; i < 32; ++i) {
                auto* const lane = static_cast<Exchange*>(payloads[i]);
                if (lane == nullptr) continue;
                lane->result = static_cast<Exchange*>(payloads[lane->operand])->value;
            }
        },
        nullptr, Order::kNone, site, false);
    return mine.result;
}

uint32_t ballot(const char* what, uint32_t mask, bool predicate, Site site) {
    Exchange mine = {predicate, 0, 0, 0};
    warp_meet(
        what, mask, &mine,
        [](void*, void* const* payloads) {
            uint64_t votes = 0;
            for (int i = 0; i < 32; ++i) {
                if (payloads[i] == nullptr) continue;
                votes |= static_cast<Exchange*>(payloads[i])->value << i;
            }
            for (int i = 0; i < 32; ++i) {
                if (payloads[i] != nullptr) static_cast<Exchange*>(payloads[i])->result = votes;
            }
        },
        nullptr, Order::kNone, site, false);
    return static_cast<uint32_t>(mine.result);
}

uint32_t match(const char* what, uint32_t mask, uint64_t bits, Site site) {
    Exchange mine = {bits, 0, 0, 0};
    warp_meet(
        what, mask, &mine,
        [](void*, void* const* payloads) {
            for (int i = 0; i < 32; ++i) {
                auto* const lane = static_cast<Exchange*>(payloads[i]);
                if (lane == nullptr) continue;
                for (int j = 0; j < 32; ++j) {
                    const auto* const other = static_cast<const Exchange*>(payloads[j]);
                    if (other != nullptr && other->value == lane->value) lane->result |= 1ull << j;
                }
            }
        },
        nullptr, Order::kNone, site, false);
    return static_cast<uint32_t>(mine.result);
}

int64_t reduce(const char* what, uint32_t mask, int64_t value, Reduce operation, Site site) {
    Exchange mine = {static_cast<uint64_t>(value), static_cast<int>(operation), 0, 0};
    warp_meet(
        what, mask, &mine,
        [](void*, void* const* payloads) {
            bool first = true;
            int64_t total = 0;
            for (int i = 0; i < 32; ++i) {
                const auto* const lane = static_cast<const Exchange*>(payloads[i]);
                if (lane == nullptr) continue;
                const auto next = static_cast<int64_t>(lane->value);
                const auto kind = static_cast<Reduce>(lane->operand);
                if (first) {
                    total = next;
                } else if (kind == Reduce::kAdd) {
                    total += next;
                } else if (kind == Reduce::kMin) {
                    total = next < total ? next : total;
                } else if (kind == Reduce::kMax) {
                    total = next > total ? next : total;
                } else if (kind == Reduce::kAnd) {
                    total &= next;
                } else if (kind == Reduce::kOr) {
                    total |= next;
                } else {
                    total ^= next;
                }
                first = false;
            }
            for (int i = 0; i < 32; ++i) {
                if (payloads[i] == nullptr) continue;
                static_cast<Exchange*>(payloads[i])->result = static_cast<uint64_t>(total);
            }
        },
        nullptr, Order::kNone, site, false);
    return static_cast<int64_t>(mine.result);
}

uint64_t atomic_bits(Atomic operation, Number number, void* address, uint64_t value,
                     uint64_t expected) {
    const bool wide = number == Number::kI64 || number == Number::kU64 || number == Number::kF64;
    check_atomic(address, wide ? 8 : 4, "atomic");
    // Others may come between an atomic and what follows it.
    if (random_below(8) == 1) yield();
    switch (number) {
        case Number::kF32:
            return update<float>(operation, address, value, expected);
        case Number::kF64:
            return update<double>(operation, address, value, expected);
        case Number::kU64:
            return update<uint64_t>(operation, address, value, expected);
        case Number::kU32:
            return update<uint32_t>(operation, address, value, expected);
        case Number::kI32:
        case Number::kI64:
            break;
    }
    // Signed sums wrap round; only the order of signed numbers differs.
    const bool ordered = operation == Atomic::kMin || operation == Atomic::kMax;
    if (number == Number::kI32) {
        return ordered ? update<int32_t>(operation, address, value, expected)
                       : update<uint32_t>(operation, address, value, expected);
    }
    return ordered ? update<int64_t>(operation, address, value, expected)
                   : update<uint64_t>(operation, address, value, expected);
}

void thread_fence() {
    if (random_below(8) == 1) yield();
}

}  // namespace simt
