// What libcaravan_simt.so gives to the stand-in of NCCL beside it (nccl.cpp): a way into its
// streams.
#pragma once

#include "caravan/caravan.h"
#include "simt/stream.h"

namespace simt {

struct ExchangeEntry {
    // Gives work to a stream; an op that says `pending` is asked again when other work has been
    // done.
    Outcome (*enqueue)(Stream& stream, Op op);
    // Why bytes of the device cannot be touched; "" if they can.
    std::string (*refusal)(const void* data, size_t bytes);
};

}  // namespace simt

extern "C" CARAVAN_API const simt::ExchangeEntry caravan_simt_exchange;
