// Which devices there are and what they say of themselves.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/cuda_library.h"
#include "tests/harness.h"

namespace {

// Without libcaravan_cuda.so beside it (this program is in a folder of its own) there is no CUDA,
// which is an answer and no failure.
void cuda_says_why_not() {
    int32_t count = -1;
    CHECK_OK(caravan_device_count(CARAVAN_CUDA, &count));
    CHECK_EQUAL(count, 0);
    CHECK(std::string(caravan_last_error()) == "built without CUDA (no nvcc when it was built)");
    char name[100];
    int64_t memory = 0;
    CHECK_UNSUPPORTED(caravan_device_info(CARAVAN_CUDA, 0, name, sizeof name, &memory),
                      "device_info: no CUDA because: built without CUDA");
    caravan_stream stream = nullptr;
    CHECK_UNSUPPORTED(caravan_stream_create(CARAVAN_CUDA, 0, 1, &stream), "stream_create");
    void* data = nullptr;
    CHECK_UNSUPPORTED(caravan_malloc(CARAVAN_CUDA, 0, 64, &data), "malloc");
    caravan_event event = nullptr;
    CHECK_UNSUPPORTED(caravan_event_create(CARAVAN_CUDA, 0, &event), "event_create");
    CHECK(stream == nullptr && data == nullptr && event == nullptr);
}

// A file of that name that is no library is told apart from one that is absent.
void a_broken_library_says_so() {
    char folder[] = "/tmp/caravan_test_XXXXXX";
    if (!CHECK(mkdtemp(folder) != nullptr)) return;
    const std::string file = std::string(folder) + "/libcaravan_cuda.so";
    std::FILE* out = std::fopen(file.c_str(), "w");
    std::fputs("not a library", out);
    std::fclose(out);
    const caravan::CudaLibrary opened = caravan::open_cuda_library(file);
    CHECK(opened.entry == nullptr);
    CHECK_EQUAL(opened.devices, 0);
    CHECK(opened.reason.find(file) != std::string::npos);
    std::remove(file.c_str());
    rmdir(folder);
}

// The library that this build made, if nvcc was there: it loads on any machine, and has devices or
// a reason.
void the_built_library_answers() {
    const char* file = std::getenv("CARAVAN_CUDA_FILE");
    if (file == nullptr) return;
    const caravan::CudaLibrary opened = caravan::open_cuda_library(file);
    CHECK(opened.entry != nullptr);
    CHECK((opened.devices > 0) == opened.reason.empty());
    std::printf("cuda: %d devices %s\n", opened.devices, opened.reason.c_str());
}

}  // namespace

int main() {
    cuda_says_why_not();
    a_broken_library_says_so();
    the_built_library_answers();

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

    int32_t capability = -1;
    CHECK_OK(caravan_device_capability(CARAVAN_CPU, 0, &capability));
    CHECK_EQUAL(capability, 0);
    CHECK_REFUSED(caravan_device_capability(CARAVAN_CPU, 0, nullptr), "capability: got null");
    int64_t free = -1, total = -1;
    CHECK_OK(caravan_memory_info(CARAVAN_CPU, 0, &free, &total));
    CHECK(free > 0 && free <= total && total == memory);
    CHECK_REFUSED(caravan_memory_info(CARAVAN_CPU, 0, nullptr, &total), "free_bytes: got null");
    CHECK_OK(caravan_range_push(CARAVAN_CUDA, "a range"));
    CHECK_OK(caravan_range_pop(CARAVAN_CUDA));
    CHECK_REFUSED(caravan_range_push(CARAVAN_CPU, nullptr), "range_push: name");
    CHECK_REFUSED(caravan_range_push(5, "x"), "range_push: kind");

    CHECK_REFUSED(caravan_device_info(CARAVAN_CPU, 1, name, sizeof name, &memory),
                  "device_info: index", "got 1");
    CHECK_REFUSED(caravan_device_info(CARAVAN_CPU, 0, nullptr, 5, &memory), "device_info: name");
    CHECK_REFUSED(caravan_device_info(CARAVAN_CPU, 0, name, 0, &memory), "device_info: capacity");
    CHECK_REFUSED(caravan_device_info(CARAVAN_CPU, 0, name, 5, nullptr),
                  "device_info: memory_bytes");
    return test::finish();
}
