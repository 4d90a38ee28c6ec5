// How a failure leaves the library: thrown as Failure inside, turned into a status and a message by
// `guarded` at the ABI, so that nothing is ever thrown across it.
#pragma once

#include <cstdarg>
#include <exception>
#include <string>

#include "caravan/caravan.h"

namespace caravan {

class Failure : public std::exception {
  public:
    Failure(caravan_status status, std::string message)
        : status_(status), message_(std::move(message)) {}
    caravan_status status() const { return status_; }
    const char* what() const noexcept override { return message_.c_str(); }

  private:
    caravan_status status_;
    std::string message_;
};

// Throws a Failure with a printf-style message.
[[noreturn]] void fail(caravan_status status, const char* format, ...)
    __attribute__((format(printf, 2, 3)));

void set_last_error(const char* message) noexcept;

// Maps the exception in flight to a status and keeps its message for caravan_last_error.
caravan_status status_of_current_exception() noexcept;

template <typename Body>
caravan_status guarded(Body&& body) noexcept {
    try {
        body();
        return CARAVAN_OK;
    } catch (...) {
        return status_of_current_exception();
    }
}

}  // namespace caravan
