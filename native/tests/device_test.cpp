// Which devices there are and what they say of themselves.
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/harness.h"

int main() {
    int32_t count = -1;
    CHECK_OK(caravan_device_count(CARAVAN_CPU, &count));
    CHECK_EQUAL(count, 1);
    CHECK_REFUSED(caravan_device_count(7, &count), "device_count: kind", "got 7");
    CHECK_REFUSED(caravan_device_count(CARAVAN_CPU, nullptr), "device_count: count");

    char name[200];
    int64_t memory = 0;
    CHECK_OK(caravan_device_info(CARAVAN_CPU, 0, name, sizeof name, &memory));
    const std::string text(name);
    const std::string isa = std::string("(x86-64-") + std::getenv("CARAVAN_ISA") + ")";
    CHECK(text.size() > isa.size() + 1);
    CHECK(text.compare(text.size() - isa.size(), isa.size(), isa) == 0);
    CHECK(text.front() != ' ');
    CHECK(memory > int64_t{1} << 28);

    char small[6] = {'#', '#', '#', '#', '#', '#'};
    CHECK_OK(caravan_device_info(CARAVAN_CPU, 0, small, 5, &memory));
    CHECK(std::strncmp(small, name, 4) == 0 && small[4] == '\0' && small[5] == '#');

    CHECK_REFUSED(caravan_device_info(CARAVAN_CPU, 1, name, sizeof name, &memory),
                  "device_info: index", "got 1");
    CHECK_REFUSED(caravan_device_info(CARAVAN_CPU, 0, nullptr, 5, &memory), "device_info: name");
    CHECK_REFUSED(caravan_device_info(CARAVAN_CPU, 0, name, 0, &memory), "device_info: capacity");
    CHECK_REFUSED(caravan_device_info(CARAVAN_CPU, 0, name, 5, nullptr), "device_info: memory_bytes");
    return test::finish();
}
