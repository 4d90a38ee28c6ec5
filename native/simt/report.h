// Faults and their words: who, where, what the others were doing.
#pragma once

#include <cstdint>
#include <string>

#include "simt/machine.h"

namespace simt {

struct Thread;

std::string text_of(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Stops the launch on behalf of a thread (null: of none). `caller`: an address in the code that did
// it.
[[noreturn]] void raise_fault(const Thread* thread, const void* caller, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

// "rmsnorm_fwd_kernel at cuda/rmsnorm.cu:57", and what it is inlined into.
std::string place_of(const void* address);
std::string site_name(Site site);
std::string kernel_name(const void* kernel);

// Where the library with that address begins.
uintptr_t image_of(const void* address);

// Places of accesses: offsets in the kernel's library, 0 for what is elsewhere.
uint32_t place_number(const void* address);
std::string place_of_number(uint32_t place);

std::string thread_name(const Thread& thread);

// What all threads of the cluster wait for.
std::string describe_waiting();

}  // namespace simt
