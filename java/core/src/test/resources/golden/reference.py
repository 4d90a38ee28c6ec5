"""What Hugging Face makes of a model folder: scores, training steps, greedy continuations.

Everything runs in float32 with attention and experts 'eager', no dropout and no cache. See make.py.
"""

import math

import torch
from transformers import AutoModelForCausalLM
from transformers.optimization import Adafactor

IGNORE = -100
EOS = 2
STEPS, EXAMPLES_PER_STEP = 20, 8


def load(folder, dtype=torch.float32, **overrides):
    """The model as a reader of the folder finds it; overrides are config values."""
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        attn_implementation="eager",
        experts_implementation="eager",
        dtype=dtype,
        **overrides,
    )
    model.config.use_cache = False
    return model.eval()


def sparse(model):
    """Whether it has sparse experts."""
    return hasattr(model.config, "num_experts_per_tok")


def logits_of(model, ids):
    """Logits [tokens, vocab] of one row that stands alone, with positions from 0."""
    return model(input_ids=torch.tensor([ids])).logits[0]


# --- scores


def logprobs(model, row):
    """One natural log-probability a target: labels[i] given the tokens before i, for i >= 1."""
    labels = torch.tensor(row["labels"])[1:]
    at = (labels != IGNORE).nonzero().flatten()
    all_logprobs = torch.log_softmax(logits_of(model, row["input_ids"])[at].double(), -1)
    return all_logprobs[torch.arange(len(at)), labels[at]]


@torch.no_grad()
def score(model, rows):
    found = [logprobs(model, row) for row in rows]
    return [
        {"nll_sum": -lp.sum().item(), "targets": len(lp), "logprobs": lp.tolist()} for lp in found
    ]


def mean_loss(model, rows):
    """Nats per target token over all rows."""
    scores = score(model, rows)
    return sum(s["nll_sum"] for s in scores) / sum(s["targets"] for s in scores)


# --- training

SCHEDULES = {
    "constant": dict(schedule="constant", warmup_steps=0),
    "linear": dict(schedule="linear", warmup_steps=5, final_lr_ratio=0.1),
    "cosine": dict(schedule="cosine", warmup_steps=4, final_lr_ratio=0.1),
}
FORMULAS = {
    "constant": "lr",
    "linear": "lr * (r + (1 - r) * (1 - t)), r = final_lr_ratio, "
    "t = (step - warmup_steps) / (steps - warmup_steps)",
    "cosine": "lr * (r + (1 - r) * (1 + cos(pi * t)) / 2), r = final_lr_ratio, "
    "t = (step - warmup_steps) / (steps - warmup_steps)",
}
CLIPPING = "g *= min(1, clip_norm / (grad_norm + 1e-6)); "
ADAMW = (
    "p *= 1 - lr * weight_decay; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; "
    "p -= lr * (m / (1 - b1^step)) / (sqrt(v / (1 - b2^step)) + eps)  (torch.optim.AdamW)"
)
ADAFACTOR = (
    "a = lr * (max(eps[1], rms(p)) if scale_parameter else 1); "
    "b2 = 1 - step^-decay_rate; s = g^2 + eps[0]; "
    "matrices: R = b2 R + (1 - b2) mean of s over columns, "
    "C = b2 C + (1 - b2) mean of s over rows, u = g / sqrt(R / mean(R)) / sqrt(C); "
    "vectors: v = b2 v + (1 - b2) s, u = g / sqrt(v); u *= a / max(1, rms(u) / clip_threshold); "
    "if beta1 > 0: m = beta1 m + (1 - beta1) u, u = m; p -= weight_decay * a * p; p -= u  "
    "(transformers.optimization.Adafactor, relative_step=False)"
)


def settings(schedule):
    """Of the run that `train` makes, whatever the optimizer."""
    return dict(
        lr=1e-3,
        weight_decay=0.1,
        clip_norm=1.0,
        steps=STEPS,
        examples_per_step=EXAMPLES_PER_STEP,
        **SCHEDULES[schedule],
        lr_after_warmup=FORMULAS[schedule],
    )


def adamw_settings(schedule):
    return settings(schedule) | dict(
        optimizer="adamw", betas=[0.9, 0.95], eps=1e-8, update=CLIPPING + ADAMW
    )


def adafactor_settings(beta1, scale_parameter):
    return settings("constant") | dict(
        optimizer="adafactor",
        eps=[1e-30, 1e-3],
        adafactor=dict(
            beta1=beta1,
            decay_rate=0.8,
            clip_threshold=1.0,
            scale_parameter=scale_parameter,
            factored=True,
        ),
        update=CLIPPING + ADAFACTOR,
    )


def lr_at(step, s):
    """Learning rate of a step counted from 1: lr * step / warmup_steps first, then FORMULAS."""
    if step <= s["warmup_steps"]:
        return s["lr"] * step / s["warmup_steps"]
    t = (step - s["warmup_steps"]) / (s["steps"] - s["warmup_steps"])
    r = s.get("final_lr_ratio", 0.0)
    shape = {
        "constant": 1.0,
        "linear": r + (1 - r) * (1 - t),
        "cosine": r + (1 - r) * (1 + math.cos(math.pi * t)) / 2,
    }
    return s["lr"] * shape[s["schedule"]]


def make_optimizer(model, s):
    """Weight decay on tensors of two or more dimensions, embeddings included; on nothing else."""
    parameters = list(model.parameters())  # a tied tensor comes once
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": s["weight_decay"]},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    if s["optimizer"] == "adamw":
        betas = tuple(s["betas"])
        return torch.optim.AdamW(groups, lr=s["lr"], betas=betas, eps=s["eps"], foreach=False)
    keys = s["adafactor"]
    return Adafactor(
        groups,
        lr=s["lr"],
        eps=tuple(s["eps"]),
        clip_threshold=keys["clip_threshold"],
        decay_rate=-keys["decay_rate"],
        beta1=keys["beta1"] or None,
        scale_parameter=keys["scale_parameter"],
        relative_step=False,
        warmup_init=False,
    )


def train(model, rows, s):
    """Runs s['steps'] steps in place and returns one record a step.

    Each step takes the next examples_per_step rows in file order, cycling. Each row runs alone.
    The loss is the sum of the negative log-likelihoods of the step's target tokens, divided once
    by their number; 'loss' is its value before the update, 'grad_norm' the L2 norm over all
    gradients before clipping.
    """
    optimizer = make_optimizer(model, s)
    records, k = [], 0
    for step in range(1, s["steps"] + 1):
        batch = [rows[(k + i) % len(rows)] for i in range(s["examples_per_step"])]
        k += len(batch)
        targets = sum(label != IGNORE for row in batch for label in row["labels"][1:])
        optimizer.zero_grad(set_to_none=True)
        loss = padded_step(model, batch, targets) if sparse(model) else 0.0
        for row in batch if not sparse(model) else []:
            labels = torch.tensor(row["labels"])[1:]
            logits = logits_of(model, row["input_ids"])[:-1]
            nll_sum = torch.nn.functional.cross_entropy(
                logits, labels, ignore_index=IGNORE, reduction="sum"
            )
            (nll_sum / targets).backward()
            loss += nll_sum.item() / targets
        lr = lr_at(step, s)
        for group in optimizer.param_groups:
            group["lr"] = lr
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), s["clip_norm"], foreach=False)
        optimizer.step()
        records.append(
            {
                "step": step,
                "loss": loss,
                "grad_norm": norm.item(),
                "lr": lr,
                "target_tokens": targets,
            }
        )
    return records


def padded_step(model, batch, targets):
    """Gradients of a step whose rows are one padded batch, the model's own balance loss included:
    its tokens are all of them but the padding. Returns the likelihood alone."""
    longest = max(len(row["input_ids"]) for row in batch)
    ids = torch.full((len(batch), longest), EOS)
    labels = torch.full((len(batch), longest), IGNORE)
    mask = torch.zeros((len(batch), longest), dtype=torch.long)
    for i, row in enumerate(batch):
        n = len(row["input_ids"])
        ids[i, :n] = torch.tensor(row["input_ids"])
        labels[i, 1:n] = torch.tensor(row["labels"][1:])
        mask[i, :n] = 1
    out = model(input_ids=ids, attention_mask=mask, output_router_logits=True)
    nll_sum = torch.nn.functional.cross_entropy(
        out.logits[:, :-1].flatten(0, 1),
        labels[:, 1:].flatten(),
        ignore_index=IGNORE,
        reduction="sum",
    )
    (nll_sum / targets + model.config.router_aux_loss_coef * out.aux_loss).backward()
    return nll_sum.item() / targets


def file_tensors(model):
    """The parameters under the names of files, where each expert has its own matrices."""
    mixtral = model.config.model_type == "mixtral"
    gate, up, down = ("w1", "w3", "w2") if mixtral else ("gate_proj", "up_proj", "down_proj")
    for name, p in model.named_parameters():
        if mixtral:
            name = name.replace(".mlp.", ".block_sparse_moe.")
        prefix, _, part = name.rpartition(".")
        if part == "gate_up_proj":
            for e, w in enumerate(p):
                first, second = w.chunk(2)
                yield f"{prefix}.{e}.{gate}.weight", first
                yield f"{prefix}.{e}.{up}.weight", second
        elif part == "down_proj":
            for e, w in enumerate(p):
                yield f"{prefix}.{e}.{down}.weight", w
        else:
            yield name, p


def weight_records(model):
    """Of each tensor its shape, L2 norm, probe and first values; see make.py."""
    records = {}
    for name, p in file_tensors(model):
        w = p.detach().double().flatten()
        probe = (w * torch.sin(torch.arange(1, len(w) + 1, dtype=torch.float64))).sum().item()
        records[name] = {
            "shape": list(p.shape),
            "norm": w.norm().item(),
            "probe": probe,
            "first": w[:8].tolist(),
        }
    return records


def check_conditioning(folder, rows, s, golden):
    """The same steps in float64 agree, so that nothing recorded is an accident of rounding."""
    exact = load(folder, torch.float64)
    for mine, its in zip(golden["per_step"], train(exact, rows, s), strict=True):
        for key in ("loss", "grad_norm"):
            assert abs(mine[key] - its[key]) < 1e-5 * its[key], (folder.name, key, mine, its)
    for name, its in weight_records(exact).items():
        mine = golden["weights"][name]
        rms = its["norm"] / math.sqrt(math.prod(its["shape"]))
        worst = max(abs(a - b) for a, b in zip(mine["first"], its["first"], strict=True))
        assert worst < 1e-5 * rms, (folder.name, name, worst, rms)
        assert abs(mine["probe"] - its["probe"]) < 2e-6 * its["norm"], (folder.name, name)


def train_golden(folder, rows, s):
    """A run from the folder's weights: its settings, its steps and what is left at the end."""
    model = load(folder)
    before = mean_loss(model, rows)
    golden = {"settings": s, "per_step": train(model, rows, s), "weights": weight_records(model)}
    golden["final_nll"] = [x["nll_sum"] for x in score(model, rows)]
    assert mean_loss(model, rows) < before - 0.05, "the loss does not fall"
    assert any(r["grad_norm"] > s["clip_norm"] for r in golden["per_step"]), "nothing is clipped"
    check_conditioning(folder, rows, s, golden)
    return golden


# --- greedy continuations


@torch.no_grad()
def continue_greedily(model, prompt, count=24):
    """The continuation, the whole text read again for each token, and the smallest gap between
    the two best logits on the way."""
    ids, margin = list(prompt), math.inf
    for _ in range(count):
        best = logits_of(model, ids)[-1].topk(2)
        margin = min(margin, (best.values[0] - best.values[1]).item())
        ids.append(int(best.indices[0]))
    return ids[len(prompt) :], margin


def greedy_golden(model, bos, generator):
    """Two prompts, one short and one longer than any window here, whose continuations are
    clear-cut, varied and free of special tokens."""
    found = []
    for length in (5, 40):
        for _ in range(2000):
            drawn = torch.randint(3, model.config.vocab_size, (length - 1,), generator=generator)
            prompt = [bos, *drawn.tolist()]
            ids, margin = continue_greedily(model, prompt)
            if margin > 5e-3 and min(ids) > EOS and len(set(ids)) >= 6:
                found.append({"prompt": prompt, "ids": ids, "margin": margin})
                break
        else:
            raise AssertionError("no prompt with a clear-cut continuation")
    return found
