"""Attention, forward and backward, against PyTorch's cuDNN and FLASH backends; packed documents and windows against its
FlashAttention for documents of any length."""

import inspect
import math

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from abi import CUDA
from case_base import Case, bits, normal

F32 = torch.float32


def pairs(length, causal, window):
    """Products of a query and a key that count: of a causal mask half of all, of a window so many keys a query."""
    if window >= 0:
        seen = min(window + 1, length)
        return length * seen - seen * (seen - 1) // 2
    return length * length // (2 if causal else 1)


def buckets_of(distances, buckets, furthest):
    """Bucket of how many tokens a key lies behind its query: exact up to half of them, then by its logarithm; 0 for keys
    ahead (Raffel et al. 2020, arXiv 1910.10683, section 2.1)."""
    near, behind = buckets // 2, distances.clamp(min=0)
    far = torch.log(behind.clamp(min=1).double() / near) / math.log(furthest / near) * (buckets - near)
    return torch.where(behind < near, behind, (near + far.clamp(min=0).long()).clamp(max=buckets - 1))


class _Attention(Case):
    """Documents side by side. lengths: of each; window: keys that a query sees behind itself, -1 for all, with causal;
    buckets: of a relative-position bias, 0 for none, with causal."""

    furthest = 128  # distance from which a bias has its last bucket

    def __init__(self, lengths, heads, kv_heads, widths, causal, dtype, window=-1, buckets=0):
        self.lengths, self.tokens, self.length = lengths, sum(lengths), lengths[-1]
        self.heads, self.kv_heads, self.causal, self.window = heads, kv_heads, causal, window
        self.width, self.value_width = widths
        self.buckets = buckets
        self.equal = len(set(lengths)) == 1
        documents = f"{len(lengths)}x{self.length}" if self.equal else f"{len(lengths)} of {min(lengths)}-{max(lengths)}"
        width = self.width if self.width == self.value_width else f"{self.width}/{self.value_width}"
        variant = f"window {window}" if window >= 0 else "causal" if causal else "full"
        variant += f", bias of {buckets}" if buckets > 0 else ""
        super().__init__(f"{documents}, heads {heads}/{kv_heads}, width {width}", dtype, variant=variant)
        self.scale = self.width**-0.5
        self.products = 2 * heads * sum(pairs(length, causal, window) for length in lengths)  # of width 1
        self.q_shape, self.k_shape = (self.tokens, heads, self.width), (self.tokens, kv_heads, self.width)
        self.v_shape, self.out_shape = (self.tokens, kv_heads, self.value_width), (self.tokens, heads, self.value_width)

    def elements(self):
        """Of queries or results, and of keys and values, together."""
        return self.tokens * (self.heads + self.kv_heads) * (self.width + self.value_width)

    def _bounds(self):
        return torch.tensor([0, *self.lengths]).cumsum(0).to(torch.int32)

    def _qkv(self, place, generator):
        x = {"q": normal(place, self.q_shape, self.dtype, generator), "k": normal(place, self.k_shape, self.dtype, generator)}
        x["v"] = normal(place, self.v_shape, self.dtype, generator)
        x["cu_q"], x["cu_k"] = place.put(self._bounds()), place.put(self._bounds())
        if self.buckets > 0:
            x["bias_table"] = normal(place, (self.buckets, self.heads), F32, generator)
        return x

    def _options(self):
        how = {"scale": self.scale, "causal": int(self.causal), "window_left": self.window, "window_right": -1}
        return {**how, "bias_max_distance": self.furthest} if self.buckets > 0 else how

    def _biased(self, score, x, head, rows):
        """Scores of the queries `rows` of a document and all its keys, with the bias of a head."""
        if self.buckets == 0:
            return score
        keys = torch.arange(score.shape[-1], device=score.device)
        where = buckets_of(rows[:, None] - keys[None, :], self.buckets, self.furthest)
        return score.add_(x["bias_table"][:, head].to(score.dtype)[where])

    def _heads_first(self, value):
        """[tokens, heads, width] as [documents, heads, length, width], without a copy."""
        rows = value.shape[0] * self.length // self.tokens
        return value.view(-1, rows, value.shape[1], value.shape[2]).transpose(1, 2)

    def _flat(self, value):
        return value.transpose(1, 2).reshape(-1, value.shape[1], value.shape[3])

    def _mask(self, rows, device):
        """Which keys of a document the queries `rows` do not see."""
        rows, keys = rows[:, None], torch.arange(self.length, device=device)[None, :]
        hidden = keys > rows if self.causal else torch.zeros(1, 1, dtype=torch.bool, device=device)
        return hidden | (rows - keys > self.window) if self.window >= 0 else hidden

    def _batched(self, backends, q, k, v):
        """Documents of one length as a batch."""
        with sdpa_kernel(backends):
            return self._flat(F.scaled_dot_product_attention(
                *(self._heads_first(value) for value in (q, k, v)), is_causal=self.causal, scale=self.scale,
                enable_gqa=self.heads != self.kv_heads))

    def _one_by_one(self, q, k, v):
        """By definition, document by document."""
        out = []
        for q, k, v in zip(*(value.split(list(self.lengths)) for value in (q, k, v))):
            rows = torch.arange(len(q))
            hidden = rows[None, :] > rows[:, None] if self.causal else torch.zeros(1, dtype=torch.bool)
            if self.window >= 0:
                hidden = hidden | (rows[:, None] - rows[None, :] > self.window)
            q, k, v = (value.transpose(0, 1) for value in (q, k, v))
            out.append(F.scaled_dot_product_attention(
                q, k, v, attn_mask=~hidden, scale=self.scale, enable_gqa=self.heads != self.kv_heads).transpose(0, 1))
        return torch.cat(out)

    def _packed(self, q, k, v, bounds):
        """PyTorch's FlashAttention over documents of any length."""
        from torch.nn.attention import varlen

        names = inspect.signature(varlen.varlen_attn).parameters
        how = {"scale": self.scale} if "scale" in names else {}
        if "window_size" in names:
            how["window_size"] = (self.window, 0 if self.causal else -1)
        elif self.window < 0:
            how["is_causal"] = self.causal
        else:
            raise RuntimeError("this PyTorch has no window")
        if "enable_gqa" in names:
            how["enable_gqa"] = self.heads != self.kv_heads
        longest = max(self.lengths)
        return varlen.varlen_attn(q, k, v, bounds, bounds, longest, longest, **how)

    def ways(self, device):
        """Name -> f(q, k, v, bounds), all as [tokens, heads, width]."""
        if self.buckets > 0:
            return {}  # PyTorch has a bias only as a matrix of all pairs
        if device.type == "cpu":
            return {"torch, one by one": lambda q, k, v, bounds: self._one_by_one(q, k, v)}
        if not self.equal or self.window >= 0:
            return {"torch flash, packed": self._packed}
        backends = {"cuDNN through torch": SDPBackend.CUDNN_ATTENTION, "torch flash": SDPBackend.FLASH_ATTENTION}
        return {name: lambda q, k, v, bounds, backend=backend: self._batched([backend], q, k, v)
                for name, backend in backends.items()}

    def _group(self, x):
        """In float64: the last document, the last key head and the query heads that read it."""
        last = slice(self.tokens - self.length, self.tokens)
        group = self.heads // self.kv_heads
        q = x["q"][last, self.heads - group :].double().transpose(0, 1)
        k, v = (x[name][last, -1].double() for name in ("k", "v"))
        return last, group, q, k, v


class AttentionForward(_Attention):
    op = "attention_forward"
    workspace = "caravan_attention_forward_workspace"
    outputs = ("out", "lse")

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.flops = self.products * (self.width + self.value_width)
        self.bytes = self.elements() * bits(self.dtype)

    def inputs(self, place, generator):
        x = self._qkv(place, generator)
        x["out"] = place.empty(self.out_shape, self.dtype)
        x["lse"] = place.empty((self.heads, self.tokens), F32)
        return x

    def ours(self, library, x):
        return library.args("caravan_attention_forward_args", **self._options(), **x)

    def peers(self, place):
        def by(way):
            return lambda x: lambda: {"out": way(x["q"], x["k"], x["v"], x["cu_q"])}

        return {name: by(way) for name, way in self.ways(place.torch_device).items()}

    def reference(self, x):
        last, group, q, k, v = self._group(x)
        rows = torch.arange(self.length, device=q.device)
        if self.length > 512:
            rows = rows[:: self.length // 256]
        out = []
        for head in range(group):
            score = self._biased(self.scale * q[head, rows] @ k.t(), x, self.heads - group + head, rows)
            score.masked_fill_(self._mask(rows, q.device), float("-inf"))
            out.append(torch.softmax(score, -1) @ v)
        # Rows are taken over the first dimension, heads are picked by `pick`.
        return {"out": (last.start + rows, torch.stack(out, 1))}

    def pick(self, name, value):
        return value[:, self.heads - self.heads // self.kv_heads :] if name == "out" else value


class AttentionDecode(AttentionForward):
    """One query for each of some documents, as generation has it: its time goes into reading keys and values."""

    def __init__(self, documents, length, heads, kv_heads, width, sinks, dtype):
        super().__init__((length,) * documents, heads, kv_heads, (width, width), False, dtype)
        self.variant = "decode, sinks" if sinks else "decode"
        self.documents, self.sinks = documents, sinks
        self.q_shape = (documents, heads, width)
        self.flops = 0  # held against the measured copy
        self.bytes = 2 * (self.tokens * kv_heads + documents * heads) * width * bits(dtype)

    def inputs(self, place, generator):
        x = self._qkv(place, generator)
        x["cu_q"] = place.put(torch.arange(0, self.documents + 1, dtype=torch.int32))
        x["out"] = place.empty(self.q_shape, self.dtype)
        x["lse"] = place.empty((self.heads, self.documents), F32)
        if self.sinks:
            x["sinks"] = normal(place, (self.heads,), F32, generator)
        return x

    def ways(self, device):
        if self.sinks:
            return {}  # no peer has them
        if device.type == "cpu":
            return {"torch math": lambda q, k, v, bounds: self._batched([SDPBackend.MATH], q, k, v)}
        return super().ways(device)

    def reference(self, x):
        group = self.heads // self.kv_heads
        q = x["q"][-1, self.heads - group :].double()
        k, v = (x[name][-self.length :, -1].double() for name in ("k", "v"))
        score = self.scale * q @ k.t()
        if self.sinks:
            score = torch.cat([score, x["sinks"][self.heads - group :, None].double()], 1)
        weight = torch.softmax(score, -1)[:, : self.length]
        return {"out": (torch.tensor([self.documents - 1], device=q.device), (weight @ v)[None])}


class AttentionBackward(_Attention):
    op = "attention_backward"
    workspace = "caravan_attention_backward_workspace"
    outputs = ("d_q", "d_k", "d_v")

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.flops = self.products * (3 * self.width + 2 * self.value_width)  # five products
        self.bytes = 2 * self.elements() * bits(self.dtype)

    def inputs(self, place, generator):
        x = self._qkv(place, generator)
        x["d_out"] = normal(place, self.out_shape, self.dtype, generator)
        out, lse = self._forward(x)
        x["out"], x["lse"] = place.put(out), place.put(lse)
        for name, like in (("d_q", "q"), ("d_k", "k"), ("d_v", "v")):
            x[name] = place.empty(x[like].shape, self.dtype)
        if self.buckets > 0:
            x["d_bias_table"] = place.put(torch.zeros(self.buckets, self.heads))
        return x

    def _forward(self, x):
        """out and lse for the backward pass, in plain float32, whatever our own forward pass does."""
        group = self.heads // self.kv_heads
        out, lse = torch.empty_like(x["d_out"]), torch.empty((self.heads, self.tokens), dtype=F32, device=x["q"].device)
        begin = 0
        for length in self.lengths:
            rows = torch.arange(length, device=lse.device)
            hidden = rows[None, :] > rows[:, None] if self.causal else None
            if self.window >= 0:
                hidden = hidden | (rows[:, None] - rows[None, :] > self.window)
            at = slice(begin, begin + length)
            for head in range(self.heads):
                score = self.scale * x["q"][at, head].float() @ x["k"][at, head // group].float().t()
                score = self._biased(score, x, head, rows)
                if hidden is not None:
                    score.masked_fill_(hidden, float("-inf"))
                lse[head, at] = torch.logsumexp(score, -1)
                out[at, head] = (torch.softmax(score, -1) @ x["v"][at, head // group].float()).to(self.dtype)
                del score
            begin += length
        return out, lse

    def ours(self, library, x):
        return library.args("caravan_attention_backward_args", **self._options(), **x)

    def peers(self, place):
        def by(way):
            def make(x):
                leaves = [x[name].detach().requires_grad_() for name in ("q", "k", "v")]
                out = way(*leaves, x["cu_q"])

                def call():
                    return dict(zip(self.outputs, torch.autograd.grad(out, leaves, x["d_out"], retain_graph=True)))

                return call

            return make

        peers = {name: by(way) for name, way in self.ways(place.torch_device).items()}
        adds = self.buckets == 0 and max(self.width, self.value_width) <= 128  # blocks add to what others have
        if place.kind == CUDA and adds:
            peers["caravan in any order"] = lambda x: self._any_order(place, x)
        return peers

    def _any_order(self, place, x):
        """Our own call without the fixed order of sums: the ratio to it tells what that order costs."""
        block = place.library.args("caravan_attention_backward_args", any_order=1, **self._options(), **x)
        enqueue = place.prepare(self.op, block)

        def call():
            enqueue()
            return {name: x[name] for name in self.outputs}

        return call

    def reference(self, x):
        last, group, q, k, v = self._group(x)
        d_out = x["d_out"][last, self.heads - group :].double().transpose(0, 1)
        d_q, d_k, d_v = [], torch.zeros_like(k), torch.zeros_like(v)
        rows = torch.arange(self.length, device=k.device)
        hidden = self._mask(rows, k.device)
        for head in range(group):
            score = self._biased(self.scale * q[head] @ k.t(), x, self.heads - group + head, rows)
            p = torch.softmax(score.masked_fill_(hidden, float("-inf")), -1)
            del score
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


def mix(tokens, least, most, seed=1):
    """Lengths of documents of a packed instruction mixture, log-uniform."""
    drawn, generator = [], torch.Generator().manual_seed(seed)
    while sum(drawn) + most <= tokens:
        share = torch.rand((), generator=generator).item()
        drawn.append(round(least * (most / least) ** share))
    return (*drawn, tokens - sum(drawn))


def cases(size):
    """Most valuable first: the longest documents, what training has besides, then shorter ones and full attention."""
    tokens, lengths, dtype = size.attention_tokens, size.attention_lengths, torch.bfloat16
    heads = (2 * size.heads, size.kv_heads)
    out = []

    def both(length, widths, causal=True, window=-1, buckets=0):
        documents = length if isinstance(length, tuple) else (length,) * (tokens // length)
        shape = (documents, *heads, widths, causal, dtype, window, buckets)
        out.extend([AttentionForward(*shape), AttentionBackward(*shape)])

    longest, shortest, width = lengths[0], lengths[-1], size.head_widths[0]
    for one in size.head_widths:
        both(longest, (one, one))
    both(mix(tokens, shortest // 4, 2 * shortest), (width, width))
    both(longest, (width, width), window=shortest // 2)
    both(longest, (2 * width, 2 * width))
    both(longest, (width * 3 // 2, width))
    narrow = min(size.head_widths)
    both(longest, (narrow, narrow), buckets=32)
    for one in size.head_widths:
        for length in lengths[1:]:
            both(length, (one, one))
        for length in (longest, shortest):
            both(length, (one, one), causal=False)
    for documents, length in ((1, longest), (16, shortest)):
        out.append(AttentionDecode(documents, length, *heads, width, False, dtype))
    out.append(AttentionDecode(2, shortest, *heads, width, True, dtype))
    return out
