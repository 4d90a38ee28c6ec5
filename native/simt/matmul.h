// The matrix product of the emulated device. Real devices have the vendor's library for it, called
// from Java; here it is host code, enqueued like a kernel so that recordings keep it.
#pragma once

#include <cstdint>

#include "caravan/caravan.h"

namespace simt {

caravan_status matmul_forward(int32_t index, void* stream, const caravan_matmul_args& args);

}  // namespace simt
