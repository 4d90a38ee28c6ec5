"""GLaM in plain PyTorch, as Du et al. 2021 (arXiv 2112.06905, section 4) describe it, for the golden
folder `glam`: nobody has published its weights or a model class. Written from the paper's text, from
Raffel et al. 2020 (arXiv 1910.10683, section 2.1) for the buckets of relative positions and from
Lepikhin et al. 2020 (arXiv 2006.16668, algorithm 1) for top-2 gates; every expert is a loop's turn.
"""

import math
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
)


class GlamConfig(PreTrainedConfig):
    model_type = "glam"

    def __init__(
        self,
        vocab_size=256,
        hidden_size=32,
        intermediate_size=40,
        moe_intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        sparse_layers=None,
        shared_expert_intermediate_size=0,
        router_aux_loss_coef=0.01,
        relative_attention_num_buckets=16,
        relative_attention_max_distance=40,
        rms_norm_eps=1e-6,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        **rest,
    ):
        own = {k: v for k, v in locals().items() if k not in ("self", "rest", "__class__")}
        for key, value in own.items():
            setattr(self, key, value)
        super().__init__(tie_word_embeddings=tie_word_embeddings, **rest)


class Norm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


def bucket(distance, buckets, longest):
    """Of a key that lies `distance` tokens back: half of the buckets are exact, half logarithmic."""
    exact = buckets // 2
    if distance < exact:
        return max(distance, 0)
    share = math.log(distance / exact) / math.log(longest / exact)
    return min(exact + int(share * (buckets - exact)), buckets - 1)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, width = c, c.num_attention_heads * c.head_dim
        self.q_proj, self.k_proj, self.v_proj = (
            nn.Linear(c.hidden_size, width, bias=False) for _ in range(3)
        )
        self.o_proj = nn.Linear(width, c.hidden_size, bias=False)
        self.relative_attention_bias = nn.Embedding(
            c.relative_attention_num_buckets, c.num_attention_heads
        )

    def forward(self, x):
        batch, n, _ = x.shape
        q, k, v = (
            p(x).view(batch, n, self.c.num_attention_heads, -1).transpose(1, 2)
            for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        of = (self.c.relative_attention_num_buckets, self.c.relative_attention_max_distance)
        buckets = torch.tensor([[bucket(i - j, *of) for j in range(n)] for i in range(n)])
        scores = q @ k.transpose(2, 3) + self.relative_attention_bias(buckets).permute(2, 0, 1)
        later = torch.ones(n, n, dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(later, -math.inf).softmax(-1) @ v
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, n, -1))


def gelu(x):
    return F.gelu(x, approximate="tanh")


class Dense(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj, self.up_proj = (
            nn.Linear(c.hidden_size, c.intermediate_size, bias=False) for _ in range(2)
        )
        self.down_proj = nn.Linear(c.intermediate_size, c.hidden_size, bias=False)

    def forward(self, x, counted):
        return self.down_proj(gelu(self.gate_proj(x)) * self.up_proj(x)), 0


class Expert(nn.Module):
    def __init__(self, c, width):
        super().__init__()
        self.up_proj = nn.Linear(c.hidden_size, width, bias=False)
        self.down_proj = nn.Linear(width, c.hidden_size, bias=False)

    def forward(self, x):
        return self.down_proj(gelu(self.up_proj(x)))


class Sparse(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.gate = nn.Linear(c.hidden_size, c.num_experts, bias=False)
        self.experts = nn.ModuleList(
            Expert(c, c.moe_intermediate_size) for _ in range(c.num_experts)
        )
        if c.shared_expert_intermediate_size:  # no part of the paper
            self.shared_expert = Expert(c, c.shared_expert_intermediate_size)
            self.shared_expert_gate = nn.Linear(c.hidden_size, 1, bias=False)

    def forward(self, x, counted):
        p = self.gate(x).softmax(-1)
        weights, chosen = p.topk(self.c.num_experts_per_tok, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        y = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            share = (weights * (chosen == e)).sum(-1, keepdim=True)
            y = y + share * expert(x)
        if self.c.shared_expert_intermediate_size:
            y = y + self.shared_expert_gate(x).sigmoid() * self.shared_expert(x)
        first = F.one_hot(chosen[..., 0], self.c.num_experts).to(p.dtype)[counted].mean(0)
        balance = self.c.num_experts**2 * (first * p[counted].mean(0)).mean()
        return y, balance


class Block(nn.Module):
    def __init__(self, c, layer):
        super().__init__()
        self.input_layernorm = Norm(c.hidden_size, c.rms_norm_eps)
        self.self_attn = Attention(c)
        self.post_attention_layernorm = Norm(c.hidden_size, c.rms_norm_eps)
        every_other = layer % 2 == 0
        sparse = every_other if c.sparse_layers is None else layer in c.sparse_layers
        self.mlp = Sparse(c) if sparse else Dense(c)

    def forward(self, x, counted):
        x = x + self.self_attn(self.input_layernorm(x))
        y, balance = self.mlp(self.post_attention_layernorm(x), counted)
        return x + y, balance


class Trunk(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        self.layers = nn.ModuleList(Block(c, i) for i in range(c.num_hidden_layers))
        self.norm = Norm(c.hidden_size, c.rms_norm_eps)


class GlamForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = GlamConfig
    base_model_prefix = "model"

    def __init__(self, config):
        super().__init__(config)
        self.model = Trunk(config)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, output_router_logits=False):
        """Rows may be padded at their end, which nothing before it can see."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        x, balance = self.model.embed_tokens(input_ids), 0
        for layer in self.model.layers:
            x, more = layer(x, mask.bool())
            balance = balance + more
        logits = self.model.norm(x) @ self.model.embed_tokens.weight.T
        return SimpleNamespace(logits=logits, aux_loss=balance)


AutoConfig.register("glam", GlamConfig)
AutoModelForCausalLM.register(GlamConfig, GlamForCausalLM)
