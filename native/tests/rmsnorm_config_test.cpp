// How the CUDA kernels of rmsnorm lay rows on threads: for every shape each element has one thread,
// blocks fit their device, and rows are read once to the widths that rmsnorm.cu states.
#include "cuda/rmsnorm_config.h"

#include "core/blocks.h"
#include "tests/harness.h"

namespace {

using caravan::cuda::RmsNormConfig;

struct Device {
    int32_t capability;
    int64_t shared_bytes;  // of a block at most
};

constexpr Device kDevices[] = {{80, 163 << 10}, {86, 99 << 10}, {90, 227 << 10}, {120, 99 << 10}};

std::vector<int64_t> widths() {
    std::vector<int64_t> widths;
    for (int64_t width = 1; width <= 2100; ++width) widths.push_back(width);
    for (int64_t width = 2104; width <= 300000; width += 8) widths.push_back(width);
    widths.push_back(1 << 20);
    return widths;
}

void check_common(const RmsNormConfig& c, int64_t width, int64_t element_bytes,
                  const Device& device) {
    const int64_t parts = caravan::cuda::ceil_divide(width * element_bytes, 16);
    CHECK(c.threads % 32 == 0 && c.threads >= 32 && c.threads <= caravan::cuda::kRmsNormThreads);
    CHECK(c.group >= 1 && c.threads % c.group == 0);
    CHECK(c.group % 32 == 0 || (c.group < 32 && (c.group & (c.group - 1)) == 0));
    CHECK(c.rows >= 1);
    CHECK(c.cluster >= 1 && c.cluster <= 8 && (c.cluster & (c.cluster - 1)) == 0);
    CHECK(c.cluster == 1 || device.capability >= 90);
    CHECK(c.shared_bytes <= device.shared_bytes);
    if (c.parts == 0) return;  // read twice
    const int64_t held = static_cast<int64_t>(c.cluster) * c.group * c.parts;
    CHECK(held >= parts);
    CHECK(held < 4 * parts + 128);          // most threads have something to do
    CHECK(c.cluster == 1 || c.group > 32);  // a cluster is for what a block cannot hold
    CHECK(c.group <= 32 || c.rows == 1);    // sums over warps are of one row at a time
}

void forward(int64_t width, int64_t element_bytes, bool wide, const Device& device) {
    for (int64_t rows : {1, 5, 16384}) {
        const RmsNormConfig c = caravan::cuda::rmsnorm_forward_config(rows, width, element_bytes,
                                                                      wide, device.capability);
        check_common(c, width, element_bytes, device);
        CHECK(c.shared_bytes <= 48 << 10);
        // As many loads of 16 bytes are under way as a thread holds: four, but for rows of few.
        CHECK(c.parts == 0 || c.parts * c.rows >= 4);
        const bool built = c.parts == 0 || c.parts == 1 || c.parts == 2 || c.parts == 4 ||
                           (c.parts == 8 && wide) || (c.parts == 16 && wide && element_bytes == 4);
        CHECK(built);
    }
}

void backward(int64_t width, int64_t element_bytes, bool wide, int streams, const Device& device) {
    for (int64_t rows : {1, 1000, 16384}) {
        const int64_t block_rows = caravan::partial_blocks(CARAVAN_CUDA, rows).size;
        const RmsNormConfig c =
            caravan::cuda::rmsnorm_backward_config(block_rows, width, element_bytes, streams, wide,
                                                   device.capability, device.shared_bytes);
        check_common(c, width, element_bytes, device);
        const bool built = c.parts == 0 || c.parts == 1 || c.parts == 2 ||
                           ((c.parts == 4 || c.parts == 8) && wide);
        CHECK(built);
        CHECK(c.rows == (c.parts == 1 ? 2 : 1));
        if (c.parts == 0) continue;
        CHECK(c.stages >= 1 && c.stages <= 4);
        CHECK_EQUAL(c.stage_bytes, int64_t{c.threads} * c.rows * (16 * c.parts * streams + 4));
        CHECK(c.stages * c.stage_bytes < c.shared_bytes);
        // The columns' sums are added where the rows were.
        CHECK(c.threads * c.parts * (16 / element_bytes) * 4 <= c.stages * c.stage_bytes);
    }
}

// The widest row, a multiple of 8 elements, that is read once.
template <typename Parts>
int64_t widest(Parts&& parts) {
    int64_t widest = 0;
    for (int64_t width = 8; width <= 300000; width += 8) {
        if (parts(width) != 0) {
            CHECK_EQUAL(widest, width - 8);  // and all narrower ones are
            widest = width;
        }
    }
    return widest;
}

// What rmsnorm.cu states.
void read_once() {
    struct Limits {
        Device device;
        int64_t element_bytes;
        bool wide;
        int64_t forward, backward, with_d_sum;
    };
    const Limits limits[] = {
        {{80, 163 << 10}, 2, true, 32768, 32768, 26624},
        {{80, 163 << 10}, 4, true, 32768, 16384, 13312},
        {{80, 163 << 10}, 2, false, 16384, 8192, 8192},
        {{80, 163 << 10}, 4, false, 8192, 4096, 4096},
        {{90, 227 << 10}, 2, true, 262144, 262144, 262144},
        {{90, 227 << 10}, 4, true, 262144, 131072, 131072},
        {{90, 227 << 10}, 2, false, 131072, 65536, 65536},
        {{90, 227 << 10}, 4, false, 65536, 32768, 32768},
        {{120, 99 << 10}, 2, true, 262144, 196608, 131072},
        {{120, 99 << 10}, 4, true, 262144, 98304, 65536},
    };
    for (const Limits& limit : limits) {
        test::context() = "capability " + std::to_string(limit.device.capability) + ", " +
                          std::to_string(limit.element_bytes) + " bytes" +
                          (limit.wide ? "" : ", not aligned");
        CHECK_EQUAL(widest([&](int64_t width) {
                        return caravan::cuda::rmsnorm_forward_config(
                                   16384, width, limit.element_bytes, limit.wide,
                                   limit.device.capability)
                            .parts;
                    }),
                    limit.forward);
        for (int streams : {2, 3}) {
            CHECK_EQUAL(widest([&](int64_t width) {
                            return caravan::cuda::rmsnorm_backward_config(
                                       63, width, limit.element_bytes, streams, limit.wide,
                                       limit.device.capability, limit.device.shared_bytes)
                                .parts;
                        }),
                        streams == 2 ? limit.backward : limit.with_d_sum);
        }
        test::context().clear();
    }
}

// On Hopper two blocks share a multiprocessor's 228 KiB (of which each takes 1 KiB more than it
// asks for) up to a width of 8,192 in bfloat16, each with rows on their way while it works.
void two_blocks() {
    for (int64_t width : {128, 1024, 4096, 8192}) {
        for (int streams : {2, 3}) {
            const RmsNormConfig c =
                caravan::cuda::rmsnorm_backward_config(63, width, 2, streams, true, 90, 227 << 10);
            CHECK(c.stages >= 2);
            CHECK(2 * (c.shared_bytes + 1024) <= 228 << 10);
            CHECK(c.parts <= 2 && c.threads == 512);
        }
    }
}

}  // namespace

int main() {
    for (const Device& device : kDevices) {
        for (int64_t element_bytes : {2, 4}) {
            for (int64_t width : widths()) {
                for (const bool wide : {false, true}) {
                    if (wide && width * element_bytes % 16 != 0) continue;
                    test::context() = "capability " + std::to_string(device.capability) +
                                      ", width " + std::to_string(width) + " of " +
                                      std::to_string(element_bytes) + " bytes";
                    forward(width, element_bytes, wide, device);
                    backward(width, element_bytes, wide, 2, device);
                    backward(width, element_bytes, wide, 3, device);
                }
            }
        }
    }
    test::context().clear();
    read_once();
    two_blocks();
    return test::finish();
}
