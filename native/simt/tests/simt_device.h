// The emulated device, for the cases of tests/cuda/tile_cases.h.
#pragma once

#include <cstring>
#include <string>

#include "simt/memory.h"
#include "simt/run.h"
#include "simt/stream.h"
#include "tests/cuda/tile_cases.h"

namespace tile_test {

class SimtDevice : public Device {
  public:
    void* allocate(int64_t bytes) override {
        return simt::device_memory().allocate(static_cast<size_t>(bytes), false);
    }
    void release(void* data) override { simt::device_memory().release(data, false); }
    void upload(void* to, const void* from, int64_t bytes) override {
        std::memcpy(to, from, static_cast<size_t>(bytes));
    }
    void download(void* to, const void* from, int64_t bytes) override {
        std::memcpy(to, from, static_cast<size_t>(bytes));
    }
    caravan::tile::Target target() const override {
        const int32_t capability = simt::settings().capability;
        return {capability, 4, simt::shared_limit(capability)};
    }
    void* stream() override { return &stream_; }
    // A launch has run when the call that asked for it returns.
    std::string finish(const caravan::tile::Launcher& launcher) override {
        if (launcher.status() == CARAVAN_OK) return "";
        simt::revive_device();
        return launcher.message();
    }

  private:
    simt::Stream stream_;
};

}  // namespace tile_test
