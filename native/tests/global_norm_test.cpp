#include <algorithm>

#include "tests/harness.h"

namespace {

using test::Tensor;

// The gradients are those from `skipped` on, so that they begin at any multiple of their width.
caravan_step_state norm_of(caravan_stream stream, Tensor& grads, float clip, int64_t skipped = 0) {
    test::Box<caravan_step_state> state;
    state->clip_norm = clip;
    state->grad_norm = state->clip_factor = NAN;
    state->finite = 77;
    state->loss_sum = 1.5;
    caravan_global_norm_args args = {};
    args.size = sizeof args;
    args.grads = grads.view();
    const int64_t bytes_skipped = skipped * caravan::dtype_bytes(grads.dtype());
    args.grads.data = static_cast<char*>(args.grads.data) + bytes_skipped;
    args.grads.bytes -= bytes_skipped;
    args.grads.shape[0] -= skipped;
    args.state = state.view();
    int64_t bytes = -1;
    CHECK_OK(caravan_global_norm_workspace(test::kind(), &args, &bytes));
    Tensor workspace(CARAVAN_U8, {bytes});
    args.workspace = workspace.view();
    CHECK_OK(caravan_global_norm_forward(stream, &args));
    CHECK(state->loss_sum == 1.5 && state->clip_norm == clip);
    return *state;
}

void matches_reference(int64_t n, int32_t dtype, double scale, float clip, uint64_t seed) {
    test::context() = std::string(test::name(dtype)) + " [" + std::to_string(n) + "]";
    test::Random random(seed);
    const auto values = test::rounded(random.normals(n, scale), dtype);
    const int64_t skipped = n % 2;
    std::vector<double> all(static_cast<size_t>(n + skipped), NAN);
    std::copy(values.begin(), values.end(), all.begin() + skipped);
    const double norm = std::sqrt(test::dot(values, values));
    const double factor = clip > 0 ? std::fmin(1, clip / (norm + 1e-6)) : 1;
    test::same_bits_for_threads([&](caravan_stream stream) {
        Tensor grads = Tensor::of(dtype, {n + skipped}, all);
        const caravan_step_state state = norm_of(stream, grads, clip, skipped);
        CHECK_NEAR(state.grad_norm, norm, 1e-7 * norm);
        CHECK_NEAR(state.clip_factor, factor, 1e-7 * factor);
        CHECK_EQUAL(state.finite, 1);
        return std::string(reinterpret_cast<const char*>(&state), sizeof state);
    });
    test::context().clear();
}

void not_finite() {
    test::Stream stream(2);
    for (double wrong : {static_cast<double>(NAN), static_cast<double>(INFINITY), -3.4e38 * 10}) {
        for (int64_t place : {0, 5, 16384, 39999}) {
            Tensor grads = Tensor::of(CARAVAN_F32, {40000}, std::vector<double>(40000, 0.5));
            grads.set(place, wrong);
            const caravan_step_state state = norm_of(stream, grads, 1);
            CHECK_EQUAL(state.finite, 0);
            CHECK_EQUAL(state.clip_factor, 1.0f);
            CHECK(!std::isfinite(state.grad_norm));
        }
    }
    Tensor large = Tensor::of(CARAVAN_F32, {3}, {3e30, 0, 4e30});  // squares beyond float32
    const caravan_step_state state = norm_of(stream, large, 0);
    CHECK_EQUAL(state.finite, 1);
    CHECK_NEAR(state.grad_norm, 5e30, 1e24);
}

void refusals() {
    test::Stream stream;
    Tensor grads(CARAVAN_F32, {20000}), ints(CARAVAN_I32, {4});
    test::Box<caravan_step_state> state;
    caravan_global_norm_args good = {};
    good.size = sizeof good;
    good.grads = grads.view();
    good.state = state.view();
    int64_t needed = 0;
    CHECK_OK(caravan_global_norm_workspace(test::kind(), &good, &needed));
    CHECK_EQUAL(needed, test::kind() == CARAVAN_CUDA ? 40 : 16);
    Tensor workspace(CARAVAN_U8, {needed});
    good.workspace = workspace.view();
    const std::string short_of = "workspace: needs " + std::to_string(needed) + " bytes, got 15";
    const auto refused = [&](const char* part, auto&& change) {
        caravan_global_norm_args args = good;
        change(args);
        CHECK_REFUSED(caravan_global_norm_forward(stream, &args), "global_norm_forward", part);
    };
    refused("grads: got dtype i32", [&](auto& args) { args.grads = ints.view(); });
    refused("grads: got last stride 2", [&](auto& args) { args.grads.stride[0] = 2; });
    refused("state: needs 56 bytes, got 8", [&](auto& args) { args.state.bytes = 8; });
    refused(short_of.c_str(), [&](auto& args) { args.workspace.bytes = 15; });
    refused("workspace: got an address",
            [&](auto& args) { args.workspace.data = static_cast<char*>(args.workspace.data) + 4; });
    CHECK_REFUSED(caravan_global_norm_forward(nullptr, &good), "global_norm_forward: stream");
    int64_t bytes = 0;
    CHECK_REFUSED(caravan_global_norm_workspace(test::kind(), &good, nullptr), "bytes: got null");
    CHECK_REFUSED(caravan_global_norm_workspace(3, &good, &bytes), "kind: got 3");
    CHECK_REFUSED(caravan_global_norm_workspace(CARAVAN_CPU, nullptr, &bytes), "args: got null");
}

}  // namespace

int main() {
    uint64_t seed = 1;
    std::vector<int64_t> counts = {0, 1, 3, 7, 8, 9, 15, 16, 17, 1000, 4096, 4097, 16384, 16385};
    counts.push_back(test::emulated() ? 40001 : 200001);
    for (int32_t dtype : {CARAVAN_F32, CARAVAN_BF16}) {
        for (int64_t n : counts) {
            for (float clip : {0.0f, 1.0f, 1e6f}) {
                matches_reference(n, dtype, seed % 2 == 0 ? 3.0 : 1e-4, clip, seed);
                ++seed;
            }
        }
    }
    if (test::kind() == CARAVAN_CUDA) {  // more than 1,056 blocks of 4,096: blocks are larger
        matches_reference(1056 * 4096 + 1, CARAVAN_BF16, 3, 1, seed);
    }
    not_finite();
    refusals();
    return test::finish();
}
