// Runs the cases of tile_cases.h on GPU 0 and compares them with the plain computation and with
// what the emulation recorded. A process of its own runs them, so that a case that hangs or kills
// its context costs that case alone.
//
//   tile_device_test [--json FILE] [--only PART_OF_NAME]
//
// Needs a driver and nothing else. Ends with 0 when all cases that the device serves are good, 77
// without a device, else 1.
#include <cuda_runtime.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/cuda/tile_cases.h"
#include "tests/cuda/tile_recorded.h"

namespace caravan::tile {

// For launches; the device library has its own.
caravan_status status_of(cudaError_t) { return CARAVAN_DEVICE_LOST; }

}  // namespace caravan::tile

namespace {

using tile_test::Case;
using tile_test::Result;

constexpr int kCaseMilliseconds = 30000;  // the first one loads the kernels
constexpr int kNoDevice = 77;

class CudaDevice : public tile_test::Device {
  public:
    CudaDevice() {
        check(cudaGetDeviceProperties(&properties_, 0));
        check(cudaSetDevice(0));
    }
    void* allocate(int64_t bytes) override {
        void* data = nullptr;
        check(cudaMalloc(&data, static_cast<size_t>(bytes)));
        return data;
    }
    void release(void* data) override { cudaFree(data); }
    void upload(void* to, const void* from, int64_t bytes) override {
        check(cudaMemcpy(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice));
    }
    void download(void* to, const void* from, int64_t bytes) override {
        check(cudaMemcpy(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost));
    }
    caravan::tile::Target target() const override {
        return {properties_.major * 10 + properties_.minor, properties_.multiProcessorCount,
                static_cast<int64_t>(properties_.sharedMemPerBlockOptin)};
    }
    void* stream() override { return nullptr; }
    std::string finish(const caravan::tile::Launcher& launcher) override {
        if (launcher.status() != CARAVAN_OK) return launcher.message();
        check(cudaDeviceSynchronize());
        return failed() ? cudaGetErrorName(error_) : "";
    }
    const char* name() const { return properties_.name; }
    bool failed() const { return error_ != cudaSuccess; }

  private:
    void check(cudaError_t error) {
        if (error_ == cudaSuccess) error_ = error;
    }

    cudaDeviceProp properties_ = {};
    cudaError_t error_ = cudaSuccess;
};

const char* recorded(const std::string& name, uint64_t hash) {
    for (const auto& entry : tile_test::kRecorded) {
        if (name == entry.name) return entry.hash == hash ? "same" : "differs";
    }
    return "missing";
}

// One line of JSON: what became of a case.
std::string line(const Case& test, const char* status, const std::string& rest) {
    return "{\"case\": \"" + test.name + "\", \"status\": \"" + status + "\"" + rest + "}";
}

std::string report(const Case& test, const Result& result) {
    if (!result.fault.empty()) return line(test, "fault", ", \"why\": \"" + result.fault + "\"");
    size_t wrong = 0, first = 0;
    const size_t count = result.expected.size();
    for (size_t i = 0; i < count; ++i) {
        if (i < result.got.size() && result.got[i] == result.expected[i]) continue;
        if (wrong++ == 0) first = i;
    }
    char text[256] = "";
    if (wrong > 0 || result.got.size() != count) {
        std::snprintf(text, sizeof text,
                      ", \"wrong\": %zu, \"words\": %zu, \"first\": %zu, \"got\": \"%08x\", "
                      "\"expected\": \"%08x\"",
                      wrong, count, first, first < result.got.size() ? result.got[first] : 0,
                      first < count ? result.expected[first] : 0);
        return line(test, "wrong", text);
    }
    const uint64_t hash = tile_test::hash(result.got);
    std::snprintf(text, sizeof text,
                  ", \"words\": %zu, \"hash\": \"%016llx\", \"recorded\": \"%s\"", count,
                  static_cast<unsigned long long>(hash), recorded(test.name, hash));
    const bool same = std::strcmp(recorded(test.name, hash), "same") == 0;
    return line(test, same ? "good" : "unrecorded", text);
}

// The child: runs cases from `first` on, a line each, until one breaks the context.
int run_cases(const std::vector<Case>& cases, size_t first, int out) {
    CudaDevice device;
    for (size_t i = first; i < cases.size(); ++i) {
        std::string text = line(cases[i], "skipped", "");
        if (tile_test::served(cases[i], device.target().capability)) {
            text = report(cases[i], cases[i].run(device));
        }
        text += "\n";
        if (write(out, text.data(), text.size()) < 0) return 1;
        if (device.failed()) return 1;
    }
    return 0;
}

// Reads lines until the child ends or is silent for too long.
void watch(int in, pid_t child, std::vector<std::string>& lines) {
    std::string pending;
    char buffer[4096];
    for (;;) {
        pollfd waiting = {in, POLLIN, 0};
        const int ready = poll(&waiting, 1, kCaseMilliseconds);
        if (ready == 0) {
            kill(child, SIGKILL);
            return;
        }
        const ssize_t count = read(in, buffer, sizeof buffer);
        if (count <= 0) return;
        pending.append(buffer, static_cast<size_t>(count));
        for (size_t end; (end = pending.find('\n')) != std::string::npos;) {
            lines.push_back(pending.substr(0, end));
            pending.erase(0, end + 1);
        }
    }
}

std::vector<std::string> run_all(const std::vector<Case>& cases) {
    std::vector<std::string> lines;
    while (lines.size() < cases.size()) {
        int ends[2];
        if (pipe(ends) != 0) break;
        const size_t first = lines.size();
        const pid_t child = fork();
        if (child == 0) {
            close(ends[0]);
            _exit(run_cases(cases, first, ends[1]));
        }
        close(ends[1]);
        watch(ends[0], child, lines);
        close(ends[0]);
        int status = 0;
        waitpid(child, &status, 0);
        const bool killed = WIFSIGNALED(status) && lines.size() < cases.size();
        if (killed) {
            lines.push_back(
                line(cases[lines.size()], "fault",
                     ", \"why\": \"ended by signal " + std::to_string(WTERMSIG(status)) + "\""));
        } else if (lines.size() == first) {
            lines.push_back(line(cases[first], "fault", ", \"why\": \"the process ended\""));
        }
    }
    return lines;
}

// Asks in a child, so that this process has no context to fork with.
bool describe_device(std::string& text) {
    int ends[2];
    if (pipe(ends) != 0) return false;
    const pid_t child = fork();
    if (child == 0) {
        int count = 0, driver = 0;
        if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) _exit(kNoDevice);
        CudaDevice device;
        cudaDriverGetVersion(&driver);
        char line[512];
        const int size = std::snprintf(
            line, sizeof line, "\"device\": \"%s\", \"capability\": %d, \"driver\": %d",
            device.name(), static_cast<int>(device.target().capability), driver);
        _exit(write(ends[1], line, static_cast<size_t>(size)) == size ? 0 : 1);
    }
    close(ends[1]);
    char buffer[512];
    ssize_t count;
    while ((count = read(ends[0], buffer, sizeof buffer)) > 0) {
        text.append(buffer, static_cast<size_t>(count));
    }
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

int main(int count, char** arguments) {
    const char *json = nullptr, *only = "";
    for (int i = 1; i < count; ++i) {
        const bool more = i + 1 < count;
        if (std::strcmp(arguments[i], "--json") == 0 && more) {
            json = arguments[++i];
        } else if (std::strcmp(arguments[i], "--only") == 0 && more) {
            only = arguments[++i];
        } else {
            std::fprintf(stderr, "usage: tile_device_test [--json FILE] [--only PART_OF_NAME]\n");
            return 2;
        }
    }
    std::string device;
    if (!describe_device(device)) {
        std::fprintf(stderr, "no CUDA device\n");
        return kNoDevice;
    }
    std::vector<Case> cases;
    for (const Case& test : tile_test::all_cases()) {
        if (test.name.find(only) != std::string::npos) cases.push_back(test);
    }
    const std::vector<std::string> lines = run_all(cases);
    int good = 0, skipped = 0;
    std::string all = "{" + device + ", \"cases\": [\n";
    for (size_t i = 0; i < lines.size(); ++i) {
        good += lines[i].find("\"status\": \"good\"") != std::string::npos;
        skipped += lines[i].find("\"status\": \"skipped\"") != std::string::npos;
        all += "  " + lines[i] + (i + 1 < lines.size() ? ",\n" : "\n");
    }
    all += "]}\n";
    std::fputs(all.c_str(), stdout);
    const int bad = static_cast<int>(cases.size()) - good - skipped;
    std::printf("%d good, %d bad, %d not for this device\n", good, bad, skipped);
    if (json != nullptr) {
        std::FILE* file = std::fopen(json, "w");
        if (file == nullptr || std::fputs(all.c_str(), file) < 0 || std::fclose(file) != 0) {
            std::fprintf(stderr, "cannot write %s\n", json);
            return 1;
        }
    }
    return bad == 0 && good > 0 ? 0 : 1;
}
