// Small kernels that use one wrapper of cuda/tile each, and what they must put out by a plain
// computation. The same sources run on the emulation (simt/tests/tile_test.cpp) and on a GPU
// (tile_device_test.cu). Inputs are small integers, so that every result is exact and the two agree
// in every bit, registers by thread included: a layout that is wrong in both is seen by the hash
// that the emulation recorded and the plain computation that the hardware must meet.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cuda/tile/launch.cuh"

namespace tile_test {

using Words = std::vector<uint32_t>;

// Device memory, and kernels on it.
class Device {
  public:
    virtual ~Device() = default;
    virtual void* allocate(int64_t bytes) = 0;
    virtual void release(void* data) = 0;
    virtual void upload(void* to, const void* from, int64_t bytes) = 0;
    virtual void download(void* to, const void* from, int64_t bytes) = 0;
    virtual caravan::tile::Target target() const = 0;
    virtual void* stream() = 0;
    // Waits; empty, or what went wrong since the last call.
    virtual std::string finish(const caravan::tile::Launcher& launcher) = 0;
};

// A buffer of words on the device, filled with ones bit for bit where it is not given values.
class Buffer {
  public:
    Buffer(Device& device, Words values) : device_(device), words_(std::move(values)) {
        data_ = device_.allocate(bytes());
        device_.upload(data_, words_.data(), bytes());
    }
    Buffer(Device& device, int64_t count)
        : Buffer(device, Words(static_cast<size_t>(count), 0xffffffffu)) {}
    ~Buffer() { device_.release(data_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    template <typename T>
    T* as() {
        return static_cast<T*>(data_);
    }
    Words read() {
        device_.download(words_.data(), data_, bytes());
        return words_;
    }

  private:
    int64_t bytes() const { return static_cast<int64_t>(words_.size()) * 4; }

    Device& device_;
    Words words_;
    void* data_;
};

// What a case saw.
struct Result {
    std::string fault;  // empty when the kernel ran to its end
    Words got, expected;
    bool good() const { return fault.empty() && got == expected; }
};

struct Case {
    std::string name;
    int32_t capability;  // the least; 90 with `only` for sm_90a alone
    bool only;
    Result (*run)(Device& device);
};

// One list a source file.
std::vector<Case> copy_cases();
std::vector<Case> bulk_cases();
std::vector<Case> wgmma_cases();

inline std::vector<Case> all_cases() {
    std::vector<Case> all = copy_cases();
    for (const auto& more : {bulk_cases(), wgmma_cases()}) {
        all.insert(all.end(), more.begin(), more.end());
    }
    return all;
}

inline bool served(const Case& test, int32_t capability) {
    return test.only ? capability == test.capability : capability >= test.capability;
}

// FNV-1a over the words' bytes, lowest first (Fowler, Noll, Vo; 64 bits).
inline uint64_t hash(const Words& words) {
    uint64_t value = 0xcbf29ce484222325u;
    for (uint32_t word : words) {
        for (int i = 0; i < 4; ++i) value = (value ^ (word >> (8 * i) & 0xff)) * 0x100000001b3u;
    }
    return value;
}

// ------------------------------------------------------------------------------- inputs

// A small integer in -4 .. 4, the same for the same i everywhere.
inline int small(int64_t i) {
    auto z = static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    return static_cast<int>((z ^ (z >> 31)) % 9) - 4;
}

inline uint32_t bits_of(float value) {
    uint32_t bits;
    __builtin_memcpy(&bits, &value, 4);
    return bits;
}

// An integer of at most 8 bits as bf16: exact.
inline uint16_t bf16_of(int value) {
    return static_cast<uint16_t>(bits_of(static_cast<float>(value)) >> 16);
}

// 16-bit values, two in a word.
inline Words packed(const std::vector<uint16_t>& halves) {
    Words words(halves.size() / 2);
    for (size_t i = 0; i < words.size(); ++i) {
        words[i] = halves[2 * i] | static_cast<uint32_t>(halves[2 * i + 1]) << 16;
    }
    return words;
}

// rows x columns of small integers, as bf16 words; `which` tells matrices apart.
inline Words matrix(int rows, int columns, int64_t which) {
    std::vector<uint16_t> halves(static_cast<size_t>(rows) * static_cast<size_t>(columns));
    for (size_t i = 0; i < halves.size(); ++i) {
        halves[i] = bf16_of(small(static_cast<int64_t>(i) + (which << 32)));
    }
    return packed(halves);
}

// Words that are all different.
inline Words counting(int64_t count, uint32_t first = 1) {
    Words words(static_cast<size_t>(count));
    for (size_t i = 0; i < words.size(); ++i) words[i] = first + static_cast<uint32_t>(i);
    return words;
}

// Runs one launch and gathers what came of it.
template <typename Kernel, typename... Args>
std::string launch(Device& device, Kernel kernel, const caravan::tile::Config& config,
                   Args... args) {
    caravan::tile::Launcher launcher(device.target(), device.stream());
    launcher.run(kernel, config, args...);
    return device.finish(launcher);
}

}  // namespace tile_test
