// Which rows go to which of the devices that share experts: one element of each result at a time,
// the same on every device. An index that cannot be leaves its place empty.
#pragma once

#include <cstdint>

#include "caravan/caravan.h"
#include "core/host_device.h"

namespace caravan {

struct ExpertPlaces {
    const int32_t *experts, *offsets, *assignments, *slots;
    int32_t *sent, *tokens, *sent_experts, *places;
    int64_t rows, choices, each;  // A; C; places of a device, P
    int32_t experts_in_all, share, devices;

    // Fills place i of all devices' together.
    CARAVAN_HOST_DEVICE inline void fill(int64_t i) const {
        const int64_t device = i / each;
        const int64_t slot = offsets[device * share] + i % each;
        const bool used = slot >= 0 && slot < rows && slot < offsets[(device + 1) * share];
        const int32_t assignment = used ? assignments[slot] : -1;
        const bool known = assignment >= 0 && assignment < rows;
        sent[i] = known ? assignment : -1;
        tokens[i] = known ? static_cast<int32_t>(assignment / choices) : -1;
        sent_experts[i] = known ? experts[assignment] : -1;
    }

    // Finds the place of assignment i.
    CARAVAN_HOST_DEVICE inline void find(int64_t i) const {
        places[i] = -1;
        const int32_t expert = experts[i], slot = slots[i];
        if (expert < 0 || expert >= experts_in_all || slot < 0) return;
        const int32_t device = expert / share;
        const int64_t place = int64_t{slot} - offsets[device * share];
        if (place >= 0 && place < each) places[i] = static_cast<int32_t>(device * each + place);
    }
};

inline ExpertPlaces expert_places(const caravan_expert_places_args& args) {
    const auto data = [](const caravan_tensor& tensor) {
        return static_cast<int32_t*>(tensor.data);
    };
    const auto all = static_cast<int32_t>(args.offsets.shape[0] - 1);
    const auto devices = static_cast<int32_t>(args.sent.shape[0]);
    return {data(args.experts),
            data(args.offsets),
            data(args.assignments),
            data(args.slots),
            data(args.sent),
            data(args.tokens),
            data(args.sent_experts),
            data(args.places),
            args.assignments.shape[0],
            args.experts.shape[1],
            args.sent.shape[1],
            all,
            all / devices,
            devices};
}

}  // namespace caravan
