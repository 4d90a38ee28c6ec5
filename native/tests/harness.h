// A tiny test harness: checks that print what they saw, fresh random inputs from a fixed seed,
// tensors with poisoned contents and guarded borders, and the comparison rule for kernels.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "caravan/caravan.h"
#include "core/check.h"

namespace test {

inline int& failures() {
    static int count = 0;
    return count;
}

// What is being tested just now ("bf16 [17, 64], 3 threads"); printed with a failure.
inline std::string& context() {
    static std::string text;
    return text;
}

inline bool check(bool condition, const char* file, int line, const std::string& what) {
    if (!condition && ++failures() <= 40) {
        std::fprintf(stderr, "%s:%d: failed: %s%s%s\n", file, line, what.c_str(),
                     context().empty() ? "" : "  in: ", context().c_str());
    }
    return condition;
}

template <typename A, typename B>
bool check_equal(const A& got, const B& expected, const char* file, int line, const char* what) {
    return check(got == expected, file, line,
                 std::string(what) + ": got " + std::to_string(got) + ", expected " +
                     std::to_string(expected));
}

inline bool check_near(double got, double expected, double tolerance, const char* file, int line,
                       const char* what) {
    char text[200];
    std::snprintf(text, sizeof text, "%s: got %.9g, expected %.9g +- %.3g", what, got, expected,
                  tolerance);
    return check(std::fabs(got - expected) <= tolerance, file, line, text);
}

#define CHECK(condition) ::test::check((condition), __FILE__, __LINE__, #condition)
#define CHECK_EQUAL(got, expected) ::test::check_equal(got, expected, __FILE__, __LINE__, #got)
#define CHECK_NEAR(got, expected, tolerance) \
    ::test::check_near(got, expected, tolerance, __FILE__, __LINE__, #got)
#define CHECK_OK(call)                                      \
    ::test::check((call) == CARAVAN_OK, __FILE__, __LINE__, \
                  std::string(#call) + ": " + caravan_last_error())

// The call is refused with `status` and a message that holds every one of `parts`.
inline bool check_refused(caravan_status got, caravan_status status,
                          std::initializer_list<const char*> parts, const char* file, int line) {
    const std::string message = caravan_last_error();
    bool good =
        check(got == status, file, line,
              "status: got " + std::to_string(got) + ", expected " + std::to_string(status));
    for (const char* part : parts) {
        good = check(message.find(part) != std::string::npos, file, line,
                     "message '" + message + "' has no '" + part + "'") &&
               good;
    }
    return good;
}

#define CHECK_REFUSED(call, ...) \
    ::test::check_refused((call), CARAVAN_INVALID_ARGUMENT, {__VA_ARGS__}, __FILE__, __LINE__)
#define CHECK_UNSUPPORTED(call, ...) \
    ::test::check_refused((call), CARAVAN_UNSUPPORTED, {__VA_ARGS__}, __FILE__, __LINE__)

// What main returns.
inline int finish() {
    if (failures() > 0) std::fprintf(stderr, "%d checks failed\n", failures());
    return failures() == 0 ? 0 : 1;
}

// ------------------------------------------------------------------------------- random inputs

// SplitMix64 (Steele, Lea and Flood 2014, OOPSLA): small, and good enough for inputs.
class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed) {}

    uint64_t next() {
        uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }

    // In 0 .. bound-1.
    int64_t below(int64_t bound) {
        return static_cast<int64_t>(next() % static_cast<uint64_t>(bound));
    }

    // In [low, high).
    double uniform(double low, double high) {
        return low + (high - low) * static_cast<double>(next() >> 11) * 0x1p-53;
    }

    // Standard normal by Box and Muller.
    double normal() {
        const double radius = std::sqrt(-2 * std::log(uniform(0x1p-60, 1)));
        return radius * std::cos(6.283185307179586 * uniform(0, 1));
    }

    std::vector<double> normals(int64_t count, double scale = 1) {
        std::vector<double> values(static_cast<size_t>(count));
        for (double& value : values) value = scale * normal();
        return values;
    }

  private:
    uint64_t state_;
};

// ------------------------------------------------------------------------------- the device

// The environment variable CARAVAN_TEST_DEVICE says where ops run: cpu (the default) or cuda. With
// cuda, CARAVAN_CUDA_LIBRARY names the device library, which may be the emulation.
inline int32_t kind() {
    static const int32_t chosen = [] {
        const char* wish = std::getenv("CARAVAN_TEST_DEVICE");
        return wish != nullptr && std::strcmp(wish, "cuda") == 0 ? CARAVAN_CUDA : CARAVAN_CPU;
    }();
    return chosen;
}

// On the emulation a kernel takes thousands of times as long, so tests choose fewer and smaller
// shapes there: those that cross each border of a kernel's tiles. CARAVAN_TEST_SHAPES=few asks for
// them on any device, as under a tool that checks every access.
inline bool emulated() {
    static const bool is = [] {
        const char* shapes = std::getenv("CARAVAN_TEST_SHAPES");
        if (shapes != nullptr && std::strcmp(shapes, "few") == 0) return true;
        char name[200] = "";
        int64_t memory = 0;
        return kind() == CARAVAN_CUDA &&
               caravan_device_info(CARAVAN_CUDA, 0, name, sizeof name, &memory) == CARAVAN_OK &&
               std::strstr(name, "emulation") != nullptr;
    }();
    return is;
}

inline caravan_stream& latest_stream() {
    static caravan_stream stream = nullptr;
    return stream;
}

// Waits for what was enqueued, before a result is looked at.
inline void settle() {
    if (kind() == CARAVAN_CUDA && latest_stream() != nullptr) {
        CHECK_OK(caravan_stream_synchronize(latest_stream()));
    }
}

// Memory that both this program and the device reach. On the emulation it is of exactly the given
// size, so that every access beyond it is reported.
class Memory {
  public:
    explicit Memory(int64_t bytes) : bytes_(bytes) {
        void* data = nullptr;
        CHECK_OK(caravan_malloc_host(kind(), 0, bytes, &data));
        if (data == nullptr && bytes > 0) std::exit(1);  // said above; nothing can go on
        data_ = static_cast<unsigned char*>(data);
    }
    ~Memory() { caravan_free_host(kind(), 0, data_); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    unsigned char* data() { return data_; }
    const unsigned char* data() const { return data_; }
    int64_t size() const { return bytes_; }

  private:
    int64_t bytes_;
    unsigned char* data_ = nullptr;
};

// ------------------------------------------------------------------------------- tensors

inline float bf16_to_float(uint16_t bits) {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof value);
    return value;
}

// Nearest, ties to even, written apart from the kernels' own.
inline uint16_t float_to_bf16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40);
    const uint32_t low = bits & 0xffff;
    uint32_t high = bits >> 16;
    if (low > 0x8000 || (low == 0x8000 && (high & 1) != 0)) ++high;
    return static_cast<uint16_t>(high);
}

// A value as storage of this dtype keeps it.
inline double rounded(double value, int32_t dtype) {
    const auto single = static_cast<float>(value);
    return dtype == CARAVAN_BF16 ? bf16_to_float(float_to_bf16(single)) : single;
}

inline std::vector<double> rounded(std::vector<double> values, int32_t dtype) {
    for (double& value : values) value = rounded(value, dtype);
    return values;
}

inline std::vector<float> floats(const std::vector<double>& values) {
    return std::vector<float>(values.begin(), values.end());
}

inline std::vector<double> doubles(const std::vector<float>& values) {
    return std::vector<double>(values.begin(), values.end());
}

// A tensor that owns its memory. Its contents begin poisoned (NaN, or -1 bytes for integers);
// around it and in the gap behind each innermost-but-one row lie guard bytes that no op may touch.
class Tensor {
  public:
    Tensor(int32_t dtype, std::vector<int64_t> shape, int64_t gap = 0)
        : dtype_(dtype), shape_(std::move(shape)), gap_(gap) {
        width_ = caravan::dtype_bytes(dtype);
        row_ = shape_.back();
        rows_ = 1;
        for (size_t i = 0; i + 1 < shape_.size(); ++i) rows_ *= shape_[i];
        bytes_ = rows_ * (row_ + gap_) * width_;
        start_ = emulated() ? 0 : kGuard;
        const int64_t used = bytes_ == 0 ? 0 : bytes_ - (emulated() ? gap_ * width_ : 0);
        memory_ = std::make_unique<Memory>(used + 2 * start_);
        std::memset(memory_->data(), kGuardByte, static_cast<size_t>(memory_->size()));
        poison();
    }
    Tensor(const Tensor& other) : Tensor(other.dtype_, other.shape_, other.gap_) {
        for (int64_t i = 0; i < count(); ++i) {
            std::memcpy(at(i), other.at(i), static_cast<size_t>(width_));
        }
    }
    Tensor& operator=(const Tensor&) = delete;
    ~Tensor() { check(guarded(), __FILE__, __LINE__, "guard bytes around a tensor were written"); }

    static Tensor of(int32_t dtype, std::vector<int64_t> shape, const std::vector<double>& values,
                     int64_t gap = 0) {
        Tensor tensor(dtype, std::move(shape), gap);
        tensor.set(values);
        return tensor;
    }

    int64_t count() const { return rows_ * row_; }
    int32_t dtype() const { return dtype_; }

    // Every bit set: a NaN in f32, bf16 and f64, -1 in signed integers.
    void poison() {
        settle();
        for (int64_t i = 0; i < count(); ++i) std::memset(at(i), 0xff, static_cast<size_t>(width_));
    }

    double get(int64_t i) const {
        settle();
        return peek(i);
    }

    // Waits for the stream: what is enqueued may still read the old value.
    void set(int64_t i, double value) {
        settle();
        put(i, value);
    }

    void set(const std::vector<double>& values) {
        check(static_cast<int64_t>(values.size()) == count(), __FILE__, __LINE__, "size of values");
        settle();
        for (int64_t i = 0; i < count(); ++i) put(i, values[static_cast<size_t>(i)]);
    }

    std::vector<double> values() const {
        settle();
        std::vector<double> result(static_cast<size_t>(count()));
        for (int64_t i = 0; i < count(); ++i) result[static_cast<size_t>(i)] = peek(i);
        return result;
    }

    // The raw bits, for bit-for-bit comparison.
    std::string bits() const {
        settle();
        std::string result;
        for (int64_t i = 0; i < count(); ++i) {
            result.append(static_cast<const char*>(at(i)), static_cast<size_t>(width_));
        }
        return result;
    }

    bool guarded() const {
        settle();
        for (int64_t i = 0; i < memory_->size(); ++i) {
            const int64_t inside = i - start_;
            const bool body =
                inside >= 0 && inside < bytes_ && inside / width_ % (row_ + gap_) < row_;
            if (!body && memory_->data()[i] != kGuardByte) return false;
        }
        return true;
    }

    void* data() { return memory_->data() + start_; }

    template <typename T>
    T* as() {
        return static_cast<T*>(data());
    }

    // As an op sees it.
    caravan_tensor view() {
        caravan_tensor tensor = {};
        tensor.data = data();
        tensor.bytes = bytes_ == 0 ? 0 : bytes_ - gap_ * width_;
        tensor.dtype = dtype_;
        tensor.rank = static_cast<int32_t>(shape_.size());
        int64_t stride = 1;
        for (int i = tensor.rank - 1; i >= 0; --i) {
            tensor.shape[i] = shape_[static_cast<size_t>(i)];
            tensor.stride[i] = stride;
            stride *= tensor.shape[i] + (i == tensor.rank - 1 ? gap_ : 0);
        }
        return tensor;
    }

  private:
    static constexpr int64_t kGuard = 128;
    static constexpr unsigned char kGuardByte = 0xa7;

    void* at(int64_t i) {
        return memory_->data() + start_ + (i / row_ * (row_ + gap_) + i % row_) * width_;
    }
    const void* at(int64_t i) const { return const_cast<Tensor*>(this)->at(i); }

    void put(int64_t i, double value) {
        switch (dtype_) {
            case CARAVAN_F32:
                return write(i, static_cast<float>(value));
            case CARAVAN_BF16:
                return write(i, float_to_bf16(static_cast<float>(value)));
            case CARAVAN_I32:
                return write(i, static_cast<int32_t>(value));
            case CARAVAN_I64:
                return write(i, static_cast<int64_t>(value));
            case CARAVAN_F64:
                return write(i, value);
            case CARAVAN_U8:
                return write(i, static_cast<uint8_t>(value));
            default:
                return write(i, static_cast<uint16_t>(value));
        }
    }

    double peek(int64_t i) const {
        switch (dtype_) {
            case CARAVAN_F32:
                return read<float>(i);
            case CARAVAN_BF16:
                return bf16_to_float(read<uint16_t>(i));
            case CARAVAN_I32:
                return read<int32_t>(i);
            case CARAVAN_I64:
                return static_cast<double>(read<int64_t>(i));
            case CARAVAN_F64:
                return read<double>(i);
            case CARAVAN_U8:
                return read<uint8_t>(i);
            default:
                return read<uint16_t>(i);
        }
    }

    template <typename T>
    T read(int64_t i) const {
        T value;
        std::memcpy(&value, at(i), sizeof value);
        return value;
    }

    template <typename T>
    void write(int64_t i, T value) {
        std::memcpy(at(i), &value, sizeof value);
    }

    int32_t dtype_;
    std::vector<int64_t> shape_;
    int64_t gap_;  // elements between rows
    int64_t width_, row_, rows_, bytes_;
    int64_t start_;
    std::unique_ptr<Memory> memory_;
};

// A struct that ops read and write, such as the step state.
template <typename T>
class Box {
  public:
    Box() : memory_(sizeof(T)) { new (memory_.data()) T{}; }
    T& operator*() {
        settle();
        return *reinterpret_cast<T*>(memory_.data());
    }
    T* operator->() { return &**this; }

    // A u8 [n] tensor over it.
    caravan_tensor view() {
        caravan_tensor tensor = {};
        tensor.data = memory_.data();
        tensor.bytes = memory_.size();
        tensor.dtype = CARAVAN_U8;
        tensor.rank = 1;
        tensor.shape[0] = tensor.bytes;
        tensor.stride[0] = 1;
        return tensor;
    }

  private:
    Memory memory_;
};

// A u8 [n] tensor over a struct or an array of structs of this program, which only the CPU reaches.
template <typename T>
caravan_tensor bytes_of(T* items, int64_t count = 1) {
    caravan_tensor tensor = {};
    tensor.data = items;
    tensor.bytes = count * static_cast<int64_t>(sizeof(T));
    tensor.dtype = CARAVAN_U8;
    tensor.rank = 1;
    tensor.shape[0] = tensor.bytes;
    tensor.stride[0] = 1;
    return tensor;
}

// ------------------------------------------------------------------------------- streams

class Stream {
  public:
    explicit Stream(int32_t threads = 1) {
        CHECK_OK(caravan_stream_create(kind(), 0, threads, &stream_));
        before_ = latest_stream();
        latest_stream() = stream_;
    }
    ~Stream() {
        settle();
        latest_stream() = before_;
        caravan_stream_destroy(stream_);
    }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    operator caravan_stream() const { return stream_; }

  private:
    caravan_stream stream_ = nullptr;
    caravan_stream before_ = nullptr;
};

// Runs `body(stream)` with 1, 2, 3 and 5 threads, or on a device twice; it returns the bits of its
// outputs, which must be the same each time. The results of the first run are in the caller's
// hands.
inline void same_bits_for_threads(const std::function<std::string(caravan_stream)>& body) {
    const std::string before = context();
    std::string first;
    for (int threads : {1, 2, 3, 5}) {
        if (kind() == CARAVAN_CUDA && threads > 2) break;
        context() = before + ", " + std::to_string(threads) + " threads";
        Stream stream(threads);
        const std::string bits = body(stream);
        if (threads == 1) first = bits;
        CHECK(bits == first);
    }
    context() = before;
}

// ------------------------------------------------------------------------------- comparison

inline double largest_error(const std::vector<double>& got, const std::vector<double>& expected) {
    double largest = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
        const double error = std::fabs(got[i] - expected[i]);
        if (!(error <= largest)) largest = std::isnan(error) ? INFINITY : error;
    }
    return largest;
}

// The accuracy rule: against the double-precision reference, the kernel's largest error is at most
// twice that of a plain implementation at the same precision, plus four float32 roundings (a plain
// loop over few numbers may happen to be exact) of the largest value; `scale` is the size of the
// terms where the result is a small difference of larger ones.
inline bool check_accuracy(const std::vector<double>& got, const std::vector<double>& plain,
                           const std::vector<double>& exact, const char* file, int line,
                           const char* what, double scale = 0) {
    for (double value : exact) scale = std::fmax(scale, std::fabs(value));
    const double allowed = 2 * largest_error(plain, exact) + 4 * 0x1p-23 * scale;
    const double error = got.size() == exact.size() ? largest_error(got, exact) : INFINITY;
    char text[200];
    std::snprintf(text, sizeof text, "%s: largest error %.3g, allowed %.3g", what, error, allowed);
    return check(error <= allowed, file, line, text);
}

#define CHECK_ACCURACY(got, plain, exact) \
    ::test::check_accuracy(got, plain, exact, __FILE__, __LINE__, #got)
#define CHECK_ACCURACY_AT(scale, got, plain, exact) \
    ::test::check_accuracy(got, plain, exact, __FILE__, __LINE__, #got, scale)

// Compares `gradient` with central differences of the scalar function `loss` of `values`, all in
// double: checks the reference, with which the kernels are then compared.
inline void check_gradient(std::vector<double> values, const std::vector<double>& gradient,
                           const std::function<double(const std::vector<double>&)>& loss,
                           const char* file, int line, const char* what) {
    const double step = 1e-5;
    double scale = 1e-3;
    for (double value : gradient) scale = std::fmax(scale, std::fabs(value));
    check(values.size() == gradient.size(), file, line, std::string(what) + ": size");
    for (size_t i = 0; i < values.size(); ++i) {
        const double value = values[i];
        values[i] = value + step;
        const double above = loss(values);
        values[i] = value - step;
        const double below = loss(values);
        values[i] = value;
        check_near(gradient[i], (above - below) / (2 * step), 1e-7 * scale, file, line, what);
    }
}

#define CHECK_GRADIENT(values, gradient, loss) \
    ::test::check_gradient(values, gradient, loss, __FILE__, __LINE__, #gradient)

// sum of a[i] * b[i]: makes a scalar of an op's output.
inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
}

inline const char* name(int32_t dtype) { return caravan::dtype_name(dtype); }

inline std::string shape_name(std::initializer_list<int64_t> shape) {
    std::string text = "[";
    for (int64_t extent : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
    return text + "]";
}

}  // namespace test
