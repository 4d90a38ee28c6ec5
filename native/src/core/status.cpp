#include "core/status.h"

#include <cstdio>
#include <cstring>
#include <new>

namespace caravan {
namespace {

constexpr int kMessageBytes = 1024;
thread_local char last_error[kMessageBytes] = "";

}  // namespace

void set_last_error(const char* message) noexcept {
    std::snprintf(last_error, kMessageBytes, "%s", message);
}

void fail(caravan_status status, const char* format, ...) {
    char message[kMessageBytes];
    va_list values;
    va_start(values, format);
    std::vsnprintf(message, sizeof message, format, values);
    va_end(values);
    throw Failure(status, message);
}

caravan_status status_of_current_exception() noexcept {
    try {
        throw;
    } catch (const Failure& failure) {
        set_last_error(failure.what());
        return failure.status();
    } catch (const std::bad_alloc&) {
        set_last_error("out of host memory");
        return CARAVAN_OUT_OF_MEMORY;
    } catch (const std::exception& other) {
        set_last_error(other.what());
        return CARAVAN_INTERNAL;
    } catch (...) {
        set_last_error("unknown failure");
        return CARAVAN_INTERNAL;
    }
}

}  // namespace caravan

int32_t caravan_abi_version(void) { return CARAVAN_ABI_VERSION; }

const char* caravan_last_error(void) { return caravan::last_error; }
