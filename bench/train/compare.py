"""Training speed and memory of Caravan against Hugging Face + PyTorch: the same machine, the same run,
in turns.

Run:  python compare.py [--rounds 3] [--steps 8] [--threads 2] [--out results/NAME.json]
Needs torch and transformers for the peer; Caravan is started by its launcher.

A 15M-parameter LLaMA (vocabulary 32,000, d 288, 6 layers, 6 heads, ffn 768, tied), float32, loss on every
token, 2,048 tokens a step, at sequence 256 and 1,024. Each round runs one, then the other; the first two
steps of each process are not counted. The figure is the median over all counted steps; the ratio is that
of the medians. Both sides start from random weights of their own, so losses are near ln(32,000), not equal.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))
from conditions import keep, report, summary  # noqa: E402

WARM_UP = 2
TOKENS_PER_STEP = 2048
CONFIG = {
    "model_type": "llama",
    "vocab_size": 32000,
    "hidden_size": 288,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "hidden_act": "silu",
}


def write_rows(path, sequence, steps):
    rng = random.Random(1)
    with open(path, "w") as out:
        for _ in range(steps * TOKENS_PER_STEP // sequence):
            ids = [rng.randrange(32000) for _ in range(sequence)]
            out.write(json.dumps({"input_ids": ids, "labels": ids}) + "\n")


def caravan(folder, rows, sequence, tokens, steps, threads, parallel="{data: 1}"):
    """Trains the model that folder has, and gives what its steps measured."""
    run = folder / "run"
    recipe = folder / "run.yaml"
    recipe.write_text(
        f"""model: {{config: {folder / "config.json"}, seed: 0}}
data: {{path: {rows}, format: tokens}}
sequence: {{length: {sequence}}}
train: {{steps: {steps}, examples_per_step: {tokens // sequence}, shuffle: false}}
optimizer: {{lr: 1e-4}}
parallel: {parallel}
checkpoint: {{resume: never, every_steps: 100000}}
output: {run}
"""
    )
    command = [str(ROOT / "caravan"), "pretrain", str(recipe), "--device", "cpu"]
    command += ["--threads", str(threads)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "tokens_per_s": [step["tokens_per_s"] for step in metrics],
        "loss": [step["loss"] for step in metrics],
        "peak_bytes": max(step["host_peak_bytes"] for step in metrics),
    }


def peer(folder, rows, sequence, args):
    command = [sys.executable, str(HERE / "peer.py"), str(folder / "config.json"), str(rows)]
    command += ["--sequence", str(sequence), "--steps", str(args.steps)]
    command += ["--threads", str(args.threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def median_rate(runs):
    return statistics.median(rate for run in runs for rate in run["tokens_per_s"][WARM_UP:])


def compare(sequence, args):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        rows = folder / "rows.jsonl"
        write_rows(rows, sequence, args.steps)
        ours, theirs = [], []
        for _ in range(args.rounds):
            ours.append(
                caravan(folder, rows, sequence, TOKENS_PER_STEP, args.steps, args.threads)
            )
            theirs.append(peer(folder, rows, sequence, args))
    result = {
        "sequence": sequence,
        "caravan_tokens_per_s": median_rate(ours),
        "peer_tokens_per_s": median_rate(theirs),
        "speed_ratio": median_rate(ours) / median_rate(theirs),
        "caravan_peak_bytes": max(run["peak_bytes"] for run in ours),
        "peer_peak_bytes": max(run["peak_bytes"] for run in theirs),
        "memory_ratio": max(run["peak_bytes"] for run in ours)
        / max(run["peak_bytes"] for run in theirs),
        "runs": {"caravan": ours, "peer": theirs},
    }
    print(summary(result), flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out")
    args = parser.parse_args()
    result = report("train", args.threads)
    result["results"] = [compare(sequence, args) for sequence in (256, 1024)]
    keep(result, args.out)


if __name__ == "__main__":
    main()
