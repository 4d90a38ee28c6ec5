"""Makes the golden folders beside this file: small random models and what Hugging Face makes of
them (reference.py), or of GLaM a plain model (glam.py).

Run:  python make.py [FOLDER ...]     all folders by default; the same files, byte for byte, again
Made with transformers 5.18 and torch 2.13 on the CPU.

Each folder is a model in Hugging Face layout, config.json and safetensors as transformers writes
them (some configs are then rewritten the way transformers 4 wrote them), and holds

  rows.jsonl    rows of the `tokens` format: input_ids, and labels that are -100 or the token there
  golden.json   'storage'  dtype of the tensors on disk; whatever it is, arithmetic is float32
                'scores'   of each row alone: nll_sum, targets and per-target logprobs, from a
                           float32 forward and a float64 log-softmax of its logits
                'train'    20 AdamW steps: the settings with their formulas; loss, grad_norm, lr
                           and target_tokens of each step; the 'weights' at the end, and
                           'final_nll', the nll_sum of each row under them
                'greedy'   prompts, their 24-token greedy continuations and the smallest gap
                           between the best and the second logit on the way
  adafactor*.json   in some folders: 'train' again, with Adafactor

A weight is recorded as its shape, its L2 norm, its first 8 values and a probe: the sum over i of
w[i] sin(i + 1), i counting elements in storage order, which moves when any element does. A tied
output projection is not listed.

Every golden is checked while it is made: the loss falls; the same steps in float64 agree; and
each feature that a folder exists for changes the loss when it is switched off.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import torch
import transformers
from safetensors import safe_open
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    OlmoeConfig,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
    Qwen3MoeConfig,
)

from glam import GlamConfig
from reference import (
    EOS,
    IGNORE,
    adafactor_settings,
    adamw_settings,
    greedy_golden,
    load,
    mean_loss,
    score,
    sparse,
    train_golden,
)

HERE = Path(__file__).parent
BOS = 1
MATTERS = 1e-3  # nats per target token: what moves the mean loss by less would not be tested

# --- models

TINY = dict(
    vocab_size=256,
    hidden_size=32,
    intermediate_size=88,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    rms_norm_eps=1e-5,
    bos_token_id=BOS,
    eos_token_id=EOS,
)
WIDE = TINY | dict(vocab_size=250, hidden_size=64, intermediate_size=120, num_hidden_layers=2)


def rope(rope_type="default", theta=10000.0, **rest):
    return {"rope_parameters": {"rope_type": rope_type, "rope_theta": theta, **rest}}


LLAMA3_ROPE = dict(
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=24,
)
YARN_ROPE = dict(
    factor=4.0,
    original_max_position_embeddings=32,
    beta_fast=4.0,
    beta_slow=1.0,
)

# Of each folder its config, who wrote config.json, the dtype on disk and the schedule of its run.
FOLDERS = {
    # Multi-head, untied, eps 1e-6. The oldest configs name neither key-value heads nor a RoPE base.
    "llama1": dict(
        config=LlamaConfig(**TINY | dict(num_key_value_heads=4, rms_norm_eps=1e-6)),
        embedding_scale=0.05,  # small, so that the epsilon of the first norm matters
        written_by=4,
        without=["num_key_value_heads", "rope_theta", "head_dim", "rope_scaling"],
        schedule="cosine",
    ),
    # Grouped-query attention, tied embeddings, float16 on disk as LLaMA 2 was published.
    "llama2-gqa": dict(
        config=LlamaConfig(**WIDE, tie_word_embeddings=True, **rope()),
        storage=torch.float16,
        schedule="constant",
        adafactor=True,
    ),
    "llama3": dict(
        config=LlamaConfig(**TINY, **rope("llama3", 500000.0, **LLAMA3_ROPE)),
        written_by=4,
        without=["head_dim"],
        schedule="linear",
    ),
    # A window of 16 under rows of up to 96 tokens.
    "mistral": dict(
        config=MistralConfig(**WIDE, sliding_window=16, **rope()),
        storage=torch.bfloat16,
        schedule="linear",
    ),
    # Biases on q, k and v. The window that the config names is not used; transformers 5 drops its
    # size, published configs name it.
    "qwen2": dict(
        config=Qwen2Config(
            **TINY, tie_word_embeddings=True, use_sliding_window=False, **rope(theta=500.0)
        ),
        written_by=4,
        published=dict(sliding_window=8),
        schedule="constant",
    ),
    # The first layer sees everything, the others a window of 12.
    "qwen2-window": dict(
        config=Qwen2Config(
            **TINY,
            sliding_window=12,
            use_sliding_window=True,
            max_window_layers=1,
            **rope(theta=500.0),
        ),
        storage=torch.bfloat16,
        schedule="constant",
    ),
    # Per-head norms of q and k; heads wider than hidden_size / heads; files behind an index.
    "qwen3": dict(
        config=Qwen3Config(**TINY | dict(num_hidden_layers=2), head_dim=16, **rope(theta=1e6)),
        shard_size="64KB",
        schedule="cosine",
    ),
    "llama-linear": dict(
        config=LlamaConfig(**TINY, **rope("linear", factor=4.0)),
        written_by=4,
        rope_type_key="type",
        storage=torch.bfloat16,
        schedule="constant",
    ),
    "llama-yarn": dict(
        config=LlamaConfig(**TINY, **rope("yarn", **YARN_ROPE)),
        storage=torch.bfloat16,
        schedule="linear",
    ),
    # Within max_position_embeddings dynamic NTK scaling changes nothing, and Caravan takes no
    # longer rows; beyond it the frequencies hang on the longest row seen before.
    "llama-dynamic": dict(
        config=LlamaConfig(**TINY, **rope("dynamic", factor=4.0)),
        storage=torch.bfloat16,
        schedule="constant",
    ),
    "llama-bias": dict(
        config=LlamaConfig(**TINY, attention_bias=True, mlp_bias=True, **rope()),
        schedule="linear",
    ),
    # Sparse experts. Their runs take a step's rows as one padded batch, with the balance loss on.
    "mixtral": dict(
        config=MixtralConfig(
            **TINY | dict(num_hidden_layers=2, intermediate_size=40),
            num_local_experts=4,
            num_experts_per_tok=2,
            output_router_logits=True,
            router_aux_loss_coef=0.02,
            **rope(),
        ),
        schedule="constant",
    ),
    # The first layer dense; chosen weights divided by their sum.
    "qwen3-moe": dict(
        config=Qwen3MoeConfig(
            **TINY,
            head_dim=16,
            num_experts=6,
            num_experts_per_tok=3,
            moe_intermediate_size=24,
            mlp_only_layers=[0],
            norm_topk_prob=True,
            output_router_logits=True,
            router_aux_loss_coef=0.05,
            **rope(theta=1e6),
        ),
        schedule="linear",
    ),
    # Norms of q and k over all heads together; the chosen weights as the soft-max gave them. Of most
    # seeds the norms' gains hardly matter, or Adam's first steps magnify an expert's rounding.
    "olmoe": dict(
        seed=1019,
        config=OlmoeConfig(
            **TINY | dict(num_hidden_layers=2, intermediate_size=24),
            num_experts=6,
            num_experts_per_tok=2,
            norm_topk_prob=False,
            output_router_logits=True,
            router_aux_loss_coef=0.03,
            pad_token_id=0,  # by default it is BOS here, whose row PyTorch would not train
            **rope(),
        ),
        schedule="constant",
    ),
    # Relative positions, a sparse layer and a dense one; glam.py is the model.
    "glam": dict(config=GlamConfig(bos_token_id=BOS, eos_token_id=EOS), schedule="cosine"),
    # A shared expert behind a gate of its own beside the others; biases on q, k and v.
    "qwen2-moe": dict(
        config=Qwen2MoeConfig(
            **TINY | dict(num_hidden_layers=2),
            num_experts=4,
            num_experts_per_tok=2,
            moe_intermediate_size=24,
            shared_expert_intermediate_size=40,
            output_router_logits=True,
            router_aux_loss_coef=0.02,
            **rope(),
        ),
        schedule="linear",
    ),
    # The same with a list of sparse layers, and a shared expert behind a gate of its own.
    "glam-shared": dict(
        config=GlamConfig(
            bos_token_id=BOS,
            eos_token_id=EOS,
            num_hidden_layers=3,
            num_experts=6,
            sparse_layers=[1, 2],
            shared_expert_intermediate_size=20,
        ),
        schedule="constant",
    ),
}


def build(spec, generator):
    """A model with no tensor left plain: norms around 1, biases around 0, matrices of unit gain."""
    model = AutoModelForCausalLM.from_config(spec["config"], dtype=torch.float32)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.uniform_(0.5, 1.5, generator=generator)
            elif p.dim() == 1:
                p.normal_(0.0, 0.3, generator=generator)
            else:
                p.normal_(0.0, p.shape[-1] ** -0.5, generator=generator)
        model.model.embed_tokens.weight.mul_(spec.get("embedding_scale", 1.0))
    return model.to(spec.get("storage", torch.float32))


def as_transformers4(config, spec):
    """The keys of config.json under the names that transformers 4 gave them."""
    old = {key: value for key, value in config.items() if key != "layer_types"}
    parameters = dict(old.pop("rope_parameters"))
    old["rope_theta"] = parameters.pop("rope_theta")
    kind = {spec.get("rope_type_key", "rope_type"): parameters.pop("rope_type")}
    old["rope_scaling"] = kind | parameters if parameters else None
    old["torch_dtype"] = old.pop("dtype")
    old["transformers_version"] = "4.37.0"
    old.update(spec.get("published", {}))
    return {key: old[key] for key in sorted(old) if key not in spec.get("without", [])}


def write_json(path, value):
    """Indented, but with each list of plain values on one line."""
    text = json.dumps(value, indent=1)
    one_line = re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found.group().split()), text)
    path.write_text(one_line + "\n")


def write_model(spec, folder, generator):
    model = build(spec, generator)
    model.save_pretrained(folder, max_shard_size=spec.get("shard_size", "1GB"))
    if spec.get("written_by") == 4:
        config = json.loads((folder / "config.json").read_text())
        write_json(folder / "config.json", as_transformers4(config, spec))

    shards = sorted(folder.glob("*.safetensors"))
    indexed = (folder / "model.safetensors.index.json").exists()
    assert (len(shards) > 1) == indexed == ("shard_size" in spec)
    names = [key for shard in shards for key in safe_open(shard, "pt").keys()]
    assert ("lm_head.weight" in names) != spec["config"].tie_word_embeddings
    read = load(folder)
    for name, p in model.named_parameters():
        assert torch.equal(p.float(), read.get_parameter(name)), f"{folder.name}: {name} differs"


# --- rows


def make_rows(vocab, generator):
    """44 rows (no multiple of 8, so steps straddle the end of the file) that a small model can
    learn from: walks on a random graph in which each token has three successors."""

    def draw(high, low=0):
        return int(torch.randint(low, high, (1,), generator=generator))

    successors = torch.randint(3, vocab, (vocab, 3), generator=generator)
    lengths = [3, 4, 96, 17, 64, 33] + [draw(97, 5) for _ in range(38)]
    rows = []
    for k, length in enumerate(lengths):
        ids = [BOS]
        while len(ids) < length - 1:
            ids.append(int(successors[ids[-1], draw(3)]))
        ids.append(EOS)
        labels = list(ids)
        if k % 11 == 5:  # two turns: prompt, answer, prompt, answer
            quarter = length // 4
            labels[:quarter] = [IGNORE] * quarter
            labels[2 * quarter : 3 * quarter] = [IGNORE] * quarter
        elif k % 11 != 2:  # where it is 2, every token is a target
            prompt = max(1, min(length - 1, draw(2 * length // 3 + 1)))
            labels[:prompt] = [IGNORE] * prompt
        rows.append({"input_ids": ids, "labels": labels})
    return rows


# --- does each feature count


def filled(folder, part, value):
    """The model with every tensor whose name ends in part set to value."""
    model = load(folder)
    with torch.no_grad():
        hit = [p.fill_(value) for name, p in model.named_parameters() if name.endswith(part)]
    assert hit, part
    return model


def heads_reversed(folder):
    """Key and value heads in reverse order: query heads are then served by the wrong group."""
    model = load(folder)
    with torch.no_grad():
        for layer in model.model.layers:
            for projection in (layer.self_attn.k_proj, layer.self_attn.v_proj):
                w = projection.weight
                heads = w.view(model.config.num_key_value_heads, -1, w.shape[1])
                w.copy_(heads.flip(0).reshape(w.shape))
    return model


def without_features(name, folder):
    """The model with each of its folder's features switched off in turn."""
    if name in ("glam", "glam-shared"):
        if name == "glam-shared":
            yield "shared expert", filled(folder, "shared_expert.down_proj.weight", 0.0)
            yield "its gate", filled(folder, "shared_expert_gate.weight", 0.0)
        yield "attention norm", filled(folder, "input_layernorm.weight", 1.0)
        yield "relative positions", filled(folder, "relative_attention_bias.weight", 0.0)
        yield "distant buckets", load(folder, relative_attention_max_distance=80)
        yield "router", filled(folder, "mlp.gate.weight", 0.0)
        yield "number of choices", load(folder, num_experts_per_tok=3)
        return
    parameters = load(folder).config.rope_parameters
    theta = parameters["rope_theta"]
    yield "final norm", filled(folder, "model.norm.weight", 1.0)
    yield "attention norm", filled(folder, "input_layernorm.weight", 1.0)
    if name == "llama1":
        yield "eps", load(folder, rms_norm_eps=1e-5)
    else:
        yield "groups of heads", heads_reversed(folder)
    if name in ("llama3", "llama-linear", "llama-yarn"):
        plain = {"rope_type": "default", "rope_theta": theta}
        yield "rope scaling", load(folder, rope_parameters=plain)
    if theta != 10000.0:
        yield "theta", load(folder, rope_parameters=parameters | {"rope_theta": 10000.0})
    if name == "llama-yarn":
        unscaled = parameters | {"attention_factor": 1.0}
        yield "yarn's attention factor", load(folder, rope_parameters=unscaled)
    if name == "mistral":
        yield "window", load(folder, sliding_window=None)
        yield "window's edge", load(folder, sliding_window=17)
    if name == "qwen2-window":
        yield "window", load(folder, layer_types=["full_attention"] * 3)
        yield "full first layer", load(folder, layer_types=["sliding_attention"] * 3)
    biased = {"qwen2": "qkv", "qwen2-window": "qkv", "llama-bias": "qkvo"}.get(name, "")
    for letter in biased:
        yield f"{letter} bias", filled(folder, f"{letter}_proj.bias", 0.0)
    if name == "llama-bias":
        for part in ("gate", "up", "down"):
            yield f"{part} bias", filled(folder, f"{part}_proj.bias", 0.0)
    if sparse(load(folder)):
        yield "router", filled(folder, "gate.weight", 0.0)
        yield "up projections", filled(folder, "experts.gate_up_proj", 0.1)
        more = load(folder).config.num_experts_per_tok + 1
        yield "number of choices", load(folder, num_experts_per_tok=more)
    if name == "qwen2-moe":
        yield "shared expert", filled(folder, "shared_expert.down_proj.weight", 0.0)
        yield "its gate", filled(folder, "shared_expert_gate.weight", 0.0)
    if name == "qwen3-moe":
        yield "weights that sum to 1", load(folder, norm_topk_prob=False)
    if name == "olmoe":
        yield "weights that do not sum to 1", load(folder, norm_topk_prob=True)
    if name in ("qwen3", "olmoe"):
        yield "q norm", filled(folder, "q_norm.weight", 1.0)
        yield "k norm", filled(folder, "k_norm.weight", 1.0)


def check_features(name, folder, rows):
    loss = mean_loss(load(folder), rows)
    for feature, model in without_features(name, folder):
        moved = abs(mean_loss(model, rows) - loss)
        assert moved > MATTERS, f"{name}: without {feature} the loss moves by {moved} only"
        print(f"  without {feature} the loss moves by {moved:.4f}")
    if name == "qwen2":  # the window is named and unused, and would matter
        assert load(folder).config.layer_types == ["full_attention"] * 3
        used = load(folder, layer_types=["sliding_attention"] * 3, sliding_window=8)
        assert abs(mean_loss(used, rows) - loss) > MATTERS
    if name == "llama-dynamic":
        plain = {"rope_type": "default", "rope_theta": 10000.0}
        assert mean_loss(load(folder, rope_parameters=plain), rows) == loss


# --- main


def make(name, seed):
    spec, folder = FOLDERS[name], HERE / name
    print(name)
    shutil.rmtree(folder, ignore_errors=True)
    generator = torch.Generator().manual_seed(seed)
    write_model(spec, folder, generator)
    rows = make_rows(spec["config"].vocab_size, generator)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    golden = {
        "made_with": f"transformers {transformers.__version__}, torch {torch.__version__}",
        "storage": str(spec.get("storage", torch.float32)).removeprefix("torch."),
        "scores": score(load(folder), rows),
        "train": train_golden(folder, rows, adamw_settings(spec["schedule"])),
        "greedy": greedy_golden(load(folder), BOS, generator),
    }
    write_json(folder / "golden.json", golden)
    if spec.get("adafactor"):
        plain = train_golden(folder, rows, adafactor_settings(0.0, False))
        write_json(folder / "adafactor.json", {"train": plain})
        scaled = train_golden(folder, rows, adafactor_settings(0.9, True))
        write_json(folder / "adafactor-momentum-scaled.json", {"train": scaled})
    check_features(name, folder, rows)
    first, last = golden["train"]["per_step"][0], golden["train"]["per_step"][-1]
    print(f"  loss {first['loss']:.4f} to {last['loss']:.4f}, grad norm {first['grad_norm']:.3f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for index, folder_name in enumerate(FOLDERS):
        if folder_name in (sys.argv[1:] or FOLDERS):
            make(folder_name, FOLDERS[folder_name].get("seed", 1000 + index))
