"""Makes rope.json: rotary frequencies as Hugging Face transformers computes them.

Run with torch and transformers 5 installed:  python make.py
Each case is a config.json in the spelling of transformers 4 or 5, the longest sequence, and what
the model class of that config makes of it (float32 values, printed so that they read back exactly).
"""

import json
import pathlib

import numpy
import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

LLAMA = dict(
    model_type="llama", vocab_size=64, hidden_size=256, intermediate_size=32, num_hidden_layers=1,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048)
QWEN3 = dict(LLAMA, model_type="qwen3", head_dim=128, max_position_embeddings=32768)

CASES = [
    ("default", LLAMA, 0),
    ("default, theta beside it", dict(LLAMA, rope_theta=500000.0), 0),
    ("default, theta inside", dict(QWEN3, rope_parameters=dict(
        rope_type="default", rope_theta=1000000.0)), 0),
    ("linear, old key 'type'", dict(LLAMA, rope_scaling=dict(type="linear", factor=4.0)), 0),
    ("linear", dict(LLAMA, rope_parameters=dict(
        rope_type="linear", factor=2.5, rope_theta=10000.0)), 0),
    ("dynamic, within the context", dict(LLAMA, rope_scaling=dict(
        rope_type="dynamic", factor=2.0)), 0),
    ("dynamic, past the context", dict(LLAMA, rope_scaling=dict(
        rope_type="dynamic", factor=2.0)), 5000),
    ("llama3", dict(LLAMA, head_dim=64, max_position_embeddings=131072, rope_theta=500000.0,
                    rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                                      high_freq_factor=4.0,
                                      original_max_position_embeddings=8192)), 0),
    ("llama3, factor 32", dict(QWEN3, rope_parameters=dict(
        rope_type="llama3", rope_theta=500000.0, factor=32.0, low_freq_factor=1.0,
        high_freq_factor=4.0, original_max_position_embeddings=8192)), 0),
    ("yarn", dict(QWEN3, rope_theta=1000000.0, rope_scaling=dict(
        rope_type="yarn", factor=4.0, original_max_position_embeddings=32768)), 0),
    ("yarn, original context from the config", dict(LLAMA, rope_scaling=dict(
        rope_type="yarn", factor=16.0)), 0),
    ("yarn, stated attention factor, no rounding", dict(LLAMA, rope_scaling=dict(
        rope_type="yarn", factor=4.0, attention_factor=1.25, truncate=False,
        beta_fast=16.0, beta_slow=2.0, original_max_position_embeddings=1024)), 0),
    ("yarn, mscale", dict(LLAMA, rope_scaling=dict(
        rope_type="yarn", factor=40.0, mscale=1.0, mscale_all_dim=0.707,
        original_max_position_embeddings=512)), 0),
]


def main():
    cases = []
    for name, config, sequence in CASES:
        hf = transformers.AutoConfig.for_model(**config)
        kind = hf.rope_parameters["rope_type"]
        if kind == "default":
            inverse, factor = LlamaRotaryEmbedding.compute_default_rope_parameters(hf)
        else:
            inverse, factor = ROPE_INIT_FUNCTIONS[kind](hf, None, seq_len=sequence or None)
        values = inverse.to(torch.float32).numpy()
        cases.append(dict(
            name=name, config=config, sequence=sequence, attention_factor=float(factor),
            inverse=[float(numpy.float32(v)) for v in values]))
    out = dict(made_with=f"transformers {transformers.__version__}, torch {torch.__version__}",
               cases=cases)
    path = pathlib.Path(__file__).with_name("rope.json")
    path.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
