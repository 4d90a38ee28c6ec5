// The tensors of one attention and of its gradients, random or poisoned, with their argument
// structs.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/harness.h"
#include "tests/reference/attention.h"

namespace test {

// Documents of (queries, keys), back to back.
inline reference::Attention documents(const std::vector<std::pair<int, int>>& lengths,
                                      int64_t heads, int64_t kv_heads, int64_t width,
                                      int64_t value_width) {
    reference::Attention how = {};
    how.cu_q = how.cu_k = {0};
    for (const auto& [queries, keys] : lengths) {
        how.cu_q.push_back(how.cu_q.back() + queries);
        how.cu_k.push_back(how.cu_k.back() + keys);
    }
    how.tq = how.cu_q.back();
    how.tk = how.cu_k.back();
    how.heads = heads;
    how.kv_heads = kv_heads;
    how.width = width;
    how.value_width = value_width;
    how.scale = 1;
    how.window_left = how.window_right = -1;
    return how;
}

class AttentionProblem {
  public:
    AttentionProblem(const reference::Attention& how_, int32_t dtype_, int64_t gap, uint64_t seed)
        : how(how_),
          dtype(dtype_),
          q(dtype, {how.tq, how.heads, how.width}, gap),
          k(dtype, {how.tk, how.kv_heads, how.width}, gap),
          v(dtype, {how.tk, how.kv_heads, how.value_width}, gap),
          out(dtype, {how.tq, how.heads, how.value_width}, gap),
          lse(CARAVAN_F32, {how.heads, how.tq}, gap),
          bias(CARAVAN_F32, {std::max<int64_t>(how.buckets, 1), how.heads}, gap),
          d_out(dtype, {how.tq, how.heads, how.value_width}, gap),
          d_q(dtype, {how.tq, how.heads, how.width}, gap),
          d_k(dtype, {how.tk, how.kv_heads, how.width}, gap),
          d_v(dtype, {how.tk, how.kv_heads, how.value_width}, gap),
          d_bias(CARAVAN_F32, {std::max<int64_t>(how.buckets, 1), how.heads}, gap),
          sinks(CARAVAN_F32, {how.heads}),
          d_sinks(CARAVAN_F32, {how.heads}),
          cu_q(borders(how.cu_q)),
          cu_k(borders(how.cu_k)) {
        Random random(seed);
        for (Tensor* tensor : {&q, &k, &v, &d_out, &bias}) {
            tensor->set(random.normals(tensor->count()));
        }
        if (!this->how.sinks.empty()) {
            sinks.set(this->how.sinks);
            this->how.sinks = sinks.values();  // as stored
        }
    }

    std::vector<double> bias_values() const {
        return how.buckets > 0 ? bias.values() : std::vector<double>();
    }

    caravan_attention_forward_args forward_args() {
        caravan_attention_forward_args args = {};
        args.size = sizeof args;
        args.out = out.view();
        args.lse = lse.view();
        inputs(args);
        int64_t bytes = 0;
        CHECK_OK(caravan_attention_forward_workspace(kind(), &args, &bytes));
        args.workspace = workspace(bytes);
        return args;
    }

    caravan_attention_backward_args backward_args() {
        caravan_attention_backward_args args = {};
        args.size = sizeof args;
        args.out = out.view();
        args.lse = lse.view();
        args.d_out = d_out.view();
        args.d_q = d_q.view();
        args.d_k = d_k.view();
        args.d_v = d_v.view();
        if (how.buckets > 0) args.d_bias_table = d_bias.view();
        if (!how.sinks.empty()) args.d_sinks = d_sinks.view();
        inputs(args);
        int64_t bytes = 0;
        CHECK_OK(caravan_attention_backward_workspace(kind(), &args, &bytes));
        args.workspace = workspace(bytes);
        return args;
    }

    void forward(caravan_stream stream) {
        const auto args = forward_args();
        CHECK_OK(caravan_attention_forward(stream, &args));
        CHECK(inside(args.workspace));
    }

    // `before`: what d_bias and d_sinks hold already.
    void backward(caravan_stream stream, double before) {
        for (int64_t i = 0; i < d_bias.count(); ++i) d_bias.set(i, before);
        for (int64_t i = 0; i < d_sinks.count(); ++i) d_sinks.set(i, before);
        const auto args = backward_args();
        CHECK_OK(caravan_attention_backward(stream, &args));
        CHECK(inside(args.workspace));
    }

    std::string name() const {
        std::string text =
            std::string(test::name(dtype)) + " heads " + std::to_string(how.heads) + "/" +
            std::to_string(how.kv_heads) + " width " + std::to_string(how.width) + "/" +
            std::to_string(how.value_width) + " cap " + std::to_string(how.soft_cap) + " causal " +
            std::to_string(how.causal) + " window " + std::to_string(how.window_left) + " " +
            std::to_string(how.window_right) + " buckets " + std::to_string(how.buckets) +
            (how.sinks.empty() ? "" : " sinks") + " documents";
        for (size_t s = 0; s + 1 < how.cu_q.size(); ++s) {
            text += " (" + std::to_string(how.cu_q[s + 1] - how.cu_q[s]) + ", " +
                    std::to_string(how.cu_k[s + 1] - how.cu_k[s]) + ")";
        }
        return text;
    }

    reference::Attention how;
    int32_t dtype;
    Tensor q, k, v, out, lse, bias, d_out, d_q, d_k, d_v, d_bias, sinks, d_sinks, cu_q, cu_k;

  private:
    static constexpr unsigned char kGuardByte = 0x5b;

    // The emulation itself reports what goes beyond the memory.
    static int64_t guard_bytes() { return emulated() ? 0 : 64; }

    static Tensor borders(const std::vector<int32_t>& values) {
        return Tensor::of(CARAVAN_I32, {static_cast<int64_t>(values.size())},
                          std::vector<double>(values.begin(), values.end()));
    }

    template <typename Args>
    void inputs(Args& args) {
        args.q = q.view();
        args.k = k.view();
        args.v = v.view();
        args.cu_q = cu_q.view();
        args.cu_k = cu_k.view();
        if (how.buckets > 0) args.bias_table = bias.view();
        if (!how.sinks.empty()) args.sinks = sinks.view();
        args.scale = static_cast<float>(how.scale);
        args.soft_cap = static_cast<float>(how.soft_cap);
        args.causal = how.causal;
        args.window_left = static_cast<int32_t>(how.window_left);
        args.window_right = static_cast<int32_t>(how.window_right);
        args.bias_bidirectional = how.bidirectional;
        args.bias_max_distance = static_cast<int32_t>(how.max_distance);
    }

    // Exactly as large as asked for, every bit set, with guard bytes behind.
    caravan_tensor workspace(int64_t bytes) {
        settle();
        memory_ = std::make_unique<Memory>(bytes + guard_bytes());
        std::memset(memory_->data(), 0xff, static_cast<size_t>(bytes));
        std::memset(memory_->data() + bytes, kGuardByte, static_cast<size_t>(guard_bytes()));
        return bytes_of(memory_->data(), bytes);
    }

    static bool inside(const caravan_tensor& workspace) {
        settle();
        const auto* end = static_cast<const unsigned char*>(workspace.data) + workspace.bytes;
        for (int64_t i = 0; i < guard_bytes(); ++i) {
            if (end[i] != kGuardByte) return false;
        }
        return true;
    }

    std::unique_ptr<Memory> memory_;
};

}  // namespace test
