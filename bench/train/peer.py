"""The peer of compare.py: the same training in Hugging Face transformers and PyTorch, on the CPU.

Run:  python peer.py MODEL_CONFIG.json ROWS.jsonl --sequence 256 --steps 8 --threads 2
Prints one JSON object: tokens_per_s of each step, loss of each step, peak_bytes of the process.

Full-parameter float32 AdamW, 2,048 tokens a step, loss on every token, rows of exactly one sequence, so
that neither side pads. `--bf16` is not offered: PyTorch's bfloat16 on most CPUs is a slow reference path.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

TOKENS_PER_STEP = 2048


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    parser.add_argument("rows")
    parser.add_argument("--sequence", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config = LlamaConfig(**json.loads(Path(args.config).read_text()))
    model = LlamaForCausalLM(config).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    rows = [json.loads(line)["input_ids"] for line in open(args.rows)]
    batch = TOKENS_PER_STEP // args.sequence
    rates, losses = [], []
    for step in range(args.steps):
        began = time.perf_counter()
        ids = torch.tensor(rows[step * batch : (step + 1) * batch])
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        rates.append(ids.numel() / (time.perf_counter() - began))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"tokens_per_s": rates, "loss": losses, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
