// Argument checks of the ABI, in one vocabulary: every message names the op, the argument, what it
// got and what it needs. What has passed a check, a kernel may trust: shape, strides, address.
#pragma once

#include <cstring>
#include <initializer_list>

#include "core/status.h"

namespace caravan {

inline constexpr int64_t kAny = -1;  // in an expected shape: any extent

int64_t dtype_bytes(int32_t dtype);     // 0 for an unknown dtype
const char* dtype_name(int32_t dtype);  // "f32", "bf16", ... or "unknown"
bool present(const caravan_tensor& tensor);

class Check {
  public:
    explicit Check(const char* op) : op_(op) {}

    // The tensor is there, of one of `dtypes`, of the shape (kAny = free), its rows contiguous
    // (last stride 1), non-negative strides, and all its elements lie within `bytes`.
    void tensor(const char* name, const caravan_tensor& tensor,
                std::initializer_list<int32_t> dtypes, std::initializer_list<int64_t> shape) const;

    // As above; also without gaps between rows.
    void packed(const char* name, const caravan_tensor& tensor,
                std::initializer_list<int32_t> dtypes, std::initializer_list<int64_t> shape) const;

    // A matrix, as `tensor`; its rows may have gaps but must not overlap, so it can be written to.
    void matrix(const char* name, const caravan_tensor& tensor,
                std::initializer_list<int32_t> dtypes, int64_t rows, int64_t columns) const;

    // Only the shape, for workspace queries, which are made before there is memory: `rank` extents,
    // none negative, fewer than 2^56 elements in all.
    void shape(const char* name, const caravan_tensor& tensor, int32_t rank) const;

    // The tensor is there and holds at least `bytes` bytes (workspaces, states, tables), u8 [n].
    void buffer(const char* name, const caravan_tensor& tensor, int64_t bytes) const;

    // As `packed`, of the shape of another tensor, whose rank has been checked.
    void packed_like(const char* name, const caravan_tensor& tensor,
                     std::initializer_list<int32_t> dtypes, const caravan_tensor& other) const;

    // Both have the same dtype.
    void same_dtype(const char* name, const caravan_tensor& tensor, const char* other_name,
                    const caravan_tensor& other) const;

    // The state is there; its contents, for an op that runs on the CPU.
    caravan_step_state& state(const char* name, const caravan_tensor& tensor) const;

    // Reads the values, so only for an op that runs on the CPU: the first `count` of an i32 [n]
    // tensor all lie in 0 .. bound-1.
    void indices(const char* name, const caravan_tensor& tensor, int64_t count,
                 int64_t bound) const;

    // The same for an i32 [1] tensor that holds a number of rows: at most `most`, which is also the
    // result when the tensor is absent.
    int64_t count(const char* name, const caravan_tensor& tensor, int64_t most) const;

    // Throws CARAVAN_INVALID_ARGUMENT "<op>: <message>" unless the condition holds.
    void that(bool condition, const char* format, ...) const __attribute__((format(printf, 3, 4)));

  private:
    const char* op_;
};

// The caller's struct as this build knows it: fields beyond the caller's size are zero.
template <typename Args>
Args checked_args(const char* op, const Args* args) {
    if (args == nullptr) fail(CARAVAN_INVALID_ARGUMENT, "%s: args: got null", op);
    const int64_t size = args->size;
    if (size < static_cast<int64_t>(sizeof(int64_t) + sizeof(caravan_tensor)) ||
        size > static_cast<int64_t>(1) << 20) {
        fail(CARAVAN_INVALID_ARGUMENT, "%s: args.size: got %lld, needs the size of the struct", op,
             static_cast<long long>(size));
    }
    Args copy;
    std::memset(static_cast<void*>(&copy), 0, sizeof copy);
    const auto known = static_cast<int64_t>(sizeof copy);
    std::memcpy(static_cast<void*>(&copy), args, static_cast<size_t>(size < known ? size : known));
    return copy;
}

}  // namespace caravan
