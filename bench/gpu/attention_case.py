"""Attention, forward and backward, against PyTorch's cuDNN and FLASH backends."""

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from case_base import Case, bits, normal

F32, F64 = torch.float32, torch.float64


class _Attention(Case):
    def __init__(self, tokens, length, heads, kv_heads, width, causal, dtype):
        super().__init__(
            f"{tokens // length}x{length}, heads {heads}/{kv_heads}, width {width}", dtype,
            variant="causal" if causal else "full")
        self.tokens, self.length, self.causal = tokens, length, causal
        self.heads, self.kv_heads, self.width = heads, kv_heads, width
        self.scale = width**-0.5
        # Two products of length x length x width a head; a causal mask leaves half.
        self.forward_flops = 4 * tokens * length * heads * width // (2 if causal else 1)
        self.q_shape, self.k_shape = (tokens, heads, width), (tokens, kv_heads, width)

    def _qkv(self, place, generator):
        x = {"q": normal(place, self.q_shape, self.dtype, generator)}
        x.update({name: normal(place, self.k_shape, self.dtype, generator) for name in ("k", "v")})
        bounds = torch.arange(0, self.tokens + 1, self.length, dtype=torch.int32)
        x["cu_q"], x["cu_k"] = place.put(bounds), place.put(bounds)
        return x

    def _options(self):
        return {"scale": self.scale, "causal": int(self.causal), "window_left": -1, "window_right": -1}

    def _heads_first(self, value):
        """[tokens, heads, width] as [documents, heads, length, width], without a copy."""
        return value.view(-1, self.length, value.shape[1], value.shape[2]).transpose(1, 2)

    def _flat(self, value):
        return value.transpose(1, 2).reshape(self.tokens, value.shape[1], value.shape[3])

    def _torch(self, backends, q, k, v):
        with sdpa_kernel(backends):
            return F.scaled_dot_product_attention(
                q, k, v, is_causal=self.causal, scale=self.scale, enable_gqa=self.heads != self.kv_heads)

    def _backends(self, device):
        if device.type == "cpu":
            return {"torch math": [SDPBackend.MATH]}
        return {"cuDNN through torch": [SDPBackend.CUDNN_ATTENTION], "torch flash": [SDPBackend.FLASH_ATTENTION]}

    def _group(self, x):
        """In float64: the last document, the last key head and the query heads that read it."""
        last = slice(self.tokens - self.length, self.tokens)
        group = self.heads // self.kv_heads
        q = x["q"][last, self.heads - group :].double().transpose(0, 1)
        k, v = (x[name][last, -1].double() for name in ("k", "v"))
        return last, group, q, k, v

    def _probabilities(self, q, k):
        score = self.scale * q @ k.t()
        if self.causal:
            keep = torch.ones(score.shape, dtype=torch.bool, device=score.device).tril()
            score.masked_fill_(~keep, float("-inf"))
        return torch.softmax(score, -1)


class AttentionForward(_Attention):
    op = "attention_forward"
    workspace = "caravan_attention_forward_workspace"
    outputs = ("out", "lse")

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.flops = self.forward_flops
        self.bytes = self.tokens * (2 * self.heads + 2 * self.kv_heads) * self.width * bits(self.dtype)

    def inputs(self, place, generator):
        x = self._qkv(place, generator)
        x["out"] = place.empty(self.q_shape, self.dtype)
        x["lse"] = place.empty((self.heads, self.tokens), F32)
        return x

    def ours(self, library, x):
        return library.args("caravan_attention_forward_args", **self._options(), **x)

    def peers(self, place):
        def with_backend(backends):
            def make(x):
                q, k, v = (self._heads_first(x[name]) for name in ("q", "k", "v"))
                return lambda: {"out": self._torch(backends, q, k, v)}

            return make

        return {name: with_backend(b) for name, b in self._backends(place.torch_device).items()}

    def reference(self, x):
        last, group, q, k, v = self._group(x)
        rows = torch.arange(self.length, device=q.device)
        if self.length > 512:
            rows = rows[:: self.length // 256]
        out = []
        for head in range(group):
            score = self.scale * q[head, rows] @ k.t()
            if self.causal:
                score.masked_fill_(rows[:, None] < torch.arange(self.length, device=q.device)[None, :], float("-inf"))
            out.append(torch.softmax(score, -1) @ v)
        # Rows are taken over the first dimension, heads are picked by `pick`.
        return {"out": (last.start + rows, torch.stack(out, 1))}

    def pick(self, name, value):
        if value.dim() == 4:
            value = self._flat(value)
        return value[:, self.heads - self.heads // self.kv_heads :] if name == "out" else value


class AttentionBackward(_Attention):
    op = "attention_backward"
    workspace = "caravan_attention_backward_workspace"
    outputs = ("d_q", "d_k", "d_v")

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.flops = self.forward_flops * 5 // 2  # five products for the two of the forward pass
        self.bytes = self.tokens * (4 * self.heads + 4 * self.kv_heads) * self.width * bits(self.dtype)

    def inputs(self, place, generator):
        x = self._qkv(place, generator)
        x["d_out"] = normal(place, self.q_shape, self.dtype, generator)
        out, lse = self._forward(x)
        x["out"], x["lse"] = place.put(out), place.put(lse)
        x["d_q"] = place.empty(self.q_shape, self.dtype)
        x["d_k"], x["d_v"] = (place.empty(self.k_shape, self.dtype) for _ in range(2))
        return x

    def _forward(self, x):
        """out and lse for the backward pass, by torch, whatever our own forward pass does."""
        q, k, v = (self._heads_first(x[name]) for name in ("q", "k", "v"))
        if q.is_cuda:
            k, v = (value.repeat_interleave(self.heads // self.kv_heads, 1) for value in (k, v))
            flash = torch.ops.aten._scaled_dot_product_flash_attention
            out, lse = flash(q, k, v, 0.0, self.causal, False, scale=self.scale)[:2]
            return self._flat(out), lse.transpose(0, 1).reshape(self.heads, self.tokens).float()
        wide = [value.repeat_interleave(self.heads // self.kv_heads, 1).double() for value in (k, v)]
        score = self.scale * q.double() @ wide[0].transpose(2, 3)
        if self.causal:
            score.masked_fill_(~torch.ones(score.shape, dtype=torch.bool).tril(), float("-inf"))
        out = self._flat(torch.softmax(score, -1) @ wide[1]).to(self.dtype)
        return out, torch.logsumexp(score, -1).transpose(0, 1).reshape(self.heads, self.tokens).float()

    def ours(self, library, x):
        return library.args("caravan_attention_backward_args", **self._options(), **x)

    def peers(self, place):
        def with_backend(backends):
            def make(x):
                leaves = [x[name].detach().requires_grad_() for name in ("q", "k", "v")]
                out = self._torch(backends, *(self._heads_first(value) for value in leaves))
                upstream = self._heads_first(x["d_out"])

                def call():
                    return dict(zip(self.outputs, torch.autograd.grad(out, leaves, upstream, retain_graph=True)))

                return call

            return make

        return {name: with_backend(b) for name, b in self._backends(place.torch_device).items()}

    def reference(self, x):
        last, group, q, k, v = self._group(x)
        d_out = x["d_out"][last, self.heads - group :].double().transpose(0, 1)
        d_q, d_k, d_v = [], torch.zeros_like(k), torch.zeros_like(v)
        for head in range(group):
            p = self._probabilities(q[head], k)
            d_v += p.t() @ d_out[head]
            d_p = d_out[head] @ v.t()
            d_p -= (d_p * p).sum(-1, keepdim=True)
            d_score = d_p.mul_(p).mul_(self.scale)
            d_q.append(d_score @ k)
            d_k += d_score.t() @ q[head]
            del p, d_p, d_score
        rows = torch.arange(last.start, last.stop, device=q.device)
        return {"d_q": (rows, torch.stack(d_q, 1)), "d_k": (rows, d_k[:, None]), "d_v": (rows, d_v[:, None])}

    def pick(self, name, value):
        return value[:, self.heads - self.heads // self.kv_heads :] if name == "d_q" else value[:, -1:]


def cases(size):
    """The widest heads and the longest documents first."""
    heads, kv_heads = 2 * size.heads, size.kv_heads
    out = []
    for width in size.head_widths:
        for length in size.attention_lengths:
            for causal in (True, False):
                # Full attention at the longest and the shortest only.
                if not causal and length not in (size.attention_lengths[0], size.attention_lengths[-1]):
                    continue
                shape = (size.attention_tokens, length, heads, kv_heads, width, causal, torch.bfloat16)
                out += [AttentionForward(*shape), AttentionBackward(*shape)]
    return out
