// The status of a failed call and its message, through the ABI.
#include <cstdio>
#include <cstring>

#include "caravan/caravan.h"

namespace {

int failures = 0;

void expect(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "failed: %s (last error: '%s')\n", what, caravan_last_error());
    ++failures;
}

bool says(const char* part) { return std::strstr(caravan_last_error(), part) != nullptr; }

}  // namespace

int main() {
    expect(caravan_abi_version() == CARAVAN_ABI_VERSION, "the library has the header's version");
    expect(std::strcmp(caravan_last_error(), "") == 0, "no error before the first call");

    expect(caravan_add_forward(nullptr, nullptr) == CARAVAN_INVALID_ARGUMENT, "null args refused");
    expect(says("add_forward: args"), "the message names the op and the argument");

    caravan_add_args args = {};
    args.size = 3;
    expect(caravan_add_forward(nullptr, &args) == CARAVAN_INVALID_ARGUMENT, "a size of 3 refused");
    expect(says("got 3"), "the message has what it got");

    args.size = sizeof args;
    expect(caravan_add_forward(nullptr, &args) == CARAVAN_INVALID_ARGUMENT, "no tensor refused");
    expect(says("add_forward: a"), "the message names the absent tensor");
    return failures == 0 ? 0 : 1;
}
