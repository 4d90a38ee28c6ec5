"""bfloat16 storage against float32 on the CPU: speed, memory and the loss curves, in turns.

Run:  python precision_compare.py --data FOLDER --tokenizer tokenizer.json [--rounds 3] [--steps 40]
                                  [--sequence 256] [--threads 2] [--out results/NAME.json]
FOLDER holds train.jsonl and test.jsonl of GSM8K. Needs the tokenizers package; Caravan is started by its
launcher.

The 15M-parameter LLaMA of compare.py from the same random weights on the same rows of text, cut to the
sequence, loss on every token, 2,048 tokens a step. The speed is that of the median step, the first two left
out, over all rounds; the memory is what the plan allocates. The curves are those of the first round: the
greatest difference of a step's loss, relative to it, and the held-out losses after the last step.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))
from compare import CONFIG, TOKENS_PER_STEP, WARM_UP  # noqa: E402
from conditions import keep, missing, report, summary  # noqa: E402
from sft_compare import write_rows  # noqa: E402

PRECISIONS = ("fp32", "bf16")
HELD_OUT = 100


def caravan(folder, precision, args):
    run = folder / precision
    recipe = folder / f"{precision}.yaml"
    recipe.write_text(
        f"""model: {{config: {folder / "config.json"}, seed: 0}}
data: {{path: {folder / "train.jsonl"}, format: tokens}}
sequence: {{length: {args.sequence}}}
train: {{steps: {args.steps}, tokens_per_step: {TOKENS_PER_STEP}, shuffle: false}}
optimizer: {{lr: 1e-3, warmup_steps: 10}}
checkpoint: {{resume: never, every_steps: 1000000}}
eval: {{data: {folder / "test.jsonl"}}}
precision: {precision}
output: {run}
"""
    )
    command = [str(ROOT / "caravan"), "pretrain", str(recipe), "--device", "cpu"]
    command += ["--threads", str(args.threads)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    return {
        "tokens_per_s": [step["tokens_per_s"] for step in steps],
        "loss": [step["loss"] for step in steps],
        "held_out_loss": [line["eval_loss"] for line in lines if "eval_loss" in line][-1],
        "device_bytes": max(step["device_peak_bytes"] for step in steps),
        "host_peak_bytes": max(step["host_peak_bytes"] for step in steps),
    }


def planned(folder, precision, args):
    """Bytes by category."""
    command = [str(ROOT / "caravan"), "plan", str(folder / f"{precision}.yaml"), "--json"]
    command += ["--device", "cpu", "--threads", str(args.threads)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)["bytes"]


def greatest_difference(one, other):
    """Of two curves, relative to the first."""
    return max(abs(a - b) / abs(a) for a, b in zip(one, other, strict=True))


def median_rate(runs):
    return statistics.median(rate for run in runs for rate in run["tokens_per_s"][WARM_UP:])


def compare(folder, args):
    from tokenizers import Tokenizer

    (folder / "config.json").write_text(json.dumps(CONFIG))
    tokenizer = Tokenizer.from_file(args.tokenizer)
    most = args.steps * TOKENS_PER_STEP // 50
    write_rows(Path(args.data) / "train.jsonl", tokenizer, folder / "train.jsonl", args.sequence, most)
    write_rows(Path(args.data) / "test.jsonl", tokenizer, folder / "test.jsonl", args.sequence, HELD_OUT)
    runs = {precision: [] for precision in PRECISIONS}
    for _ in range(args.rounds):
        for precision in PRECISIONS:
            runs[precision].append(caravan(folder, precision, args))
    wide, narrow = (runs[precision][0] for precision in PRECISIONS)
    return {
        "fp32_tokens_per_s": median_rate(runs["fp32"]),
        "bf16_tokens_per_s": median_rate(runs["bf16"]),
        "speed_ratio": median_rate(runs["bf16"]) / median_rate(runs["fp32"]),
        "fp32_device_bytes": wide["device_bytes"],
        "bf16_device_bytes": narrow["device_bytes"],
        "memory_ratio": narrow["device_bytes"] / wide["device_bytes"],
        "plan": {precision: planned(folder, precision, args) for precision in PRECISIONS},
        "greatest_loss_difference": greatest_difference(wide["loss"], narrow["loss"]),
        "last_loss": {"fp32": wide["loss"][-1], "bf16": narrow["loss"][-1]},
        "held_out_loss": {"fp32": wide["held_out_loss"], "bf16": narrow["held_out_loss"]},
        "runs": runs,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of GSM8K")
    parser.add_argument("--tokenizer", required=True, help="tokenizer.json")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--sequence", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out")
    args = parser.parse_args()
    missing(parser, Path(args.data) / "train.jsonl", Path(args.data) / "test.jsonl", Path(args.tokenizer))
    result = report("precision", args.threads, sequence=args.sequence, steps=args.steps)
    with tempfile.TemporaryDirectory() as name:
        result.update(compare(Path(name), args))
    keep(result, args.out)
    print(summary(result))


if __name__ == "__main__":
    main()
