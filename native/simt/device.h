// What the functions of the entry table share.
#pragma once

#include "simt/stream.h"

namespace simt {

// Keeps the message for the table's last_error, a thread at a time.
caravan_status finish_call(const Outcome& outcome);

}  // namespace simt
