#include "core/check.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <string>

namespace caravan {
namespace {

std::string shape_text(const int64_t* shape, int rank) {
    std::string text = "[";
    for (int i = 0; i < rank; ++i) {
        if (i > 0) text += ", ";
        text += shape[i] == kAny ? "any" : std::to_string(shape[i]);
    }
    return text + "]";
}

}  // namespace

int64_t dtype_bytes(int32_t dtype) {
    switch (dtype) {
        case CARAVAN_F32:
        case CARAVAN_I32:
            return 4;
        case CARAVAN_BF16:
        case CARAVAN_U16:
            return 2;
        case CARAVAN_I64:
        case CARAVAN_F64:
            return 8;
        case CARAVAN_U8:
            return 1;
        default:
            return 0;
    }
}

const char* dtype_name(int32_t dtype) {
    static const char* const names[] = {"f32", "bf16", "i32", "i64", "f64", "u8", "u16"};
    return dtype >= 0 && dtype < 7 ? names[dtype] : "unknown";
}

bool present(const caravan_tensor& tensor) { return tensor.data != nullptr; }

void Check::that(bool condition, const char* format, ...) const {
    if (condition) return;
    char message[900];
    va_list values;
    va_start(values, format);
    std::vsnprintf(message, sizeof message, format, values);
    va_end(values);
    fail(CARAVAN_INVALID_ARGUMENT, "%s: %s", op_, message);
}

void Check::tensor(const char* name, const caravan_tensor& tensor,
                   std::initializer_list<int32_t> dtypes,
                   std::initializer_list<int64_t> shape) const {
    that(present(tensor), "%s: got null, needs a tensor", name);
    bool known = false;
    std::string wanted;
    for (int32_t dtype : dtypes) {
        known = known || dtype == tensor.dtype;
        wanted += (wanted.empty() ? "" : " or ") + std::string(dtype_name(dtype));
    }
    that(known, "%s: got dtype %s, needs %s", name, dtype_name(tensor.dtype), wanted.c_str());
    that(tensor.rank >= 1 && tensor.rank <= CARAVAN_MAX_RANK, "%s: got rank %d, needs 1 to %d",
         name, tensor.rank, CARAVAN_MAX_RANK);

    bool fits = tensor.rank == static_cast<int32_t>(shape.size());
    int axis = 0;
    for (int64_t extent : shape) {
        fits = fits && axis < tensor.rank &&
               (extent == kAny ? tensor.shape[axis] >= 0 : tensor.shape[axis] == extent);
        ++axis;
    }
    that(fits, "%s: got shape %s, needs %s", name, shape_text(tensor.shape, tensor.rank).c_str(),
         shape_text(shape.begin(), static_cast<int>(shape.size())).c_str());

    this->shape(name, tensor, tensor.rank);
    const int last = tensor.rank - 1;
    that(tensor.shape[last] <= 1 || tensor.stride[last] == 1, "%s: got last stride %lld, needs 1",
         name, static_cast<long long>(tensor.stride[last]));

    // Offset of the last element; empty tensors touch nothing.
    int64_t end = 0;
    bool empty = false;
    for (int i = 0; i < tensor.rank; ++i) {
        const int64_t extent = tensor.shape[i];
        const int64_t stride = tensor.stride[i];
        empty = empty || extent == 0;
        that(stride >= 0, "%s: got stride %lld on axis %d, needs at least 0", name,
             static_cast<long long>(stride), i);
        int64_t step = 0;
        that(extent < 1 || !__builtin_mul_overflow(extent - 1, stride, &step),
             "%s: shape and strides overflow", name);
        that(!__builtin_add_overflow(end, step, &end), "%s: shape and strides overflow", name);
    }
    const int64_t width = dtype_bytes(tensor.dtype);
    that(empty || (end < INT64_MAX / width - 1 && (end + 1) * width <= tensor.bytes),
         "%s: needs %lld bytes, got %lld", name,
         static_cast<long long>(end < INT64_MAX / width - 1 ? (end + 1) * width : INT64_MAX),
         static_cast<long long>(tensor.bytes));
    that(reinterpret_cast<uintptr_t>(tensor.data) % static_cast<uintptr_t>(width) == 0,
         "%s: got an address that is not a multiple of %lld", name, static_cast<long long>(width));
}

void Check::packed(const char* name, const caravan_tensor& tensor_,
                   std::initializer_list<int32_t> dtypes,
                   std::initializer_list<int64_t> shape) const {
    tensor(name, tensor_, dtypes, shape);
    int64_t stride = 1;
    for (int i = tensor_.rank - 1; i >= 0; --i) {
        that(tensor_.shape[i] <= 1 || tensor_.stride[i] == stride,
             "%s: got stride %lld on axis %d, needs %lld (no gaps)", name,
             static_cast<long long>(tensor_.stride[i]), i, static_cast<long long>(stride));
        stride *= tensor_.shape[i];
    }
}

void Check::packed_like(const char* name, const caravan_tensor& tensor_,
                        std::initializer_list<int32_t> dtypes, const caravan_tensor& other) const {
    const int64_t* s = other.shape;
    switch (other.rank) {
        case 1:
            return packed(name, tensor_, dtypes, {s[0]});
        case 2:
            return packed(name, tensor_, dtypes, {s[0], s[1]});
        case 3:
            return packed(name, tensor_, dtypes, {s[0], s[1], s[2]});
        default:
            return packed(name, tensor_, dtypes, {s[0], s[1], s[2], s[3]});
    }
}

void Check::matrix(const char* name, const caravan_tensor& tensor_,
                   std::initializer_list<int32_t> dtypes, int64_t rows, int64_t columns) const {
    tensor(name, tensor_, dtypes, {rows, columns});
    that(tensor_.shape[0] <= 1 || tensor_.stride[0] >= tensor_.shape[1],
         "%s: got stride %lld on axis 0, needs at least %lld (rows overlap)", name,
         static_cast<long long>(tensor_.stride[0]), static_cast<long long>(tensor_.shape[1]));
}

void Check::shape(const char* name, const caravan_tensor& tensor, int32_t rank) const {
    that(tensor.rank == rank, "%s: got rank %d, needs %d", name, tensor.rank, rank);
    int64_t elements = 1;
    for (int i = 0; i < rank; ++i) {
        const int64_t extent = tensor.shape[i];
        that(extent >= 0 &&
                 !__builtin_mul_overflow(elements, std::max<int64_t>(extent, 1), &elements) &&
                 elements < int64_t{1} << 56,
             "%s: got shape %s, needs extents from 0 and fewer than 2^56 elements", name,
             shape_text(tensor.shape, rank).c_str());
    }
}

void Check::buffer(const char* name, const caravan_tensor& tensor, int64_t bytes) const {
    if (bytes == 0) return;
    that(present(tensor), "%s: got null, needs %lld bytes", name, static_cast<long long>(bytes));
    that(tensor.bytes >= bytes, "%s: needs %lld bytes, got %lld", name,
         static_cast<long long>(bytes), static_cast<long long>(tensor.bytes));
    that(reinterpret_cast<uintptr_t>(tensor.data) % 8 == 0,
         "%s: got an address that is not a multiple of 8", name);
}

void Check::same_dtype(const char* name, const caravan_tensor& tensor, const char* other_name,
                       const caravan_tensor& other) const {
    that(tensor.dtype == other.dtype, "%s: got dtype %s, needs that of %s, %s", name,
         dtype_name(tensor.dtype), other_name, dtype_name(other.dtype));
}

caravan_step_state& Check::state(const char* name, const caravan_tensor& tensor) const {
    buffer(name, tensor, static_cast<int64_t>(sizeof(caravan_step_state)));
    return *static_cast<caravan_step_state*>(tensor.data);
}

void Check::indices(const char* name, const caravan_tensor& tensor, int64_t count,
                    int64_t bound) const {
    const auto* values = static_cast<const int32_t*>(tensor.data);
    for (int64_t i = 0; i < count; ++i) {
        that(values[i] >= 0 && values[i] < bound, "%s: got %d at %lld, needs 0 to %lld", name,
             values[i], static_cast<long long>(i), static_cast<long long>(bound - 1));
    }
}

int64_t Check::count(const char* name, const caravan_tensor& tensor, int64_t most) const {
    if (!present(tensor)) return most;
    packed(name, tensor, {CARAVAN_I32}, {1});
    const int32_t value = *static_cast<const int32_t*>(tensor.data);
    that(value >= 0 && value <= most, "%s: got %d, needs 0 to %lld", name, value,
         static_cast<long long>(most));
    return value;
}

}  // namespace caravan
