"""Instruction tuning on GSM8K against TRL's SFTTrainer: the same machine, the same run, in turns.

Run:  python sft_compare.py --data FOLDER --tokenizer tokenizer.json [--rounds 3] [--steps 12] [--threads 2]
                            [--out results/NAME.json]
FOLDER holds train.jsonl and test.jsonl of GSM8K (fields question and answer); the tokenizer has at most
32,000 ids (Llama 2's). Needs torch, transformers and trl; Caravan is started by its launcher.

Both sides start from the same random weights of the 15M-parameter LLaMA of compare.py and see the same rows,
tokenised before anything is timed, in the same order, cut to the same length, as many a step; AdamW with
the same numbers, constant rate, the norm clipped at 1, float32; loss on the answer and its end token.
TRL runs in each of its modes: `padding` (a batch padded to its longest row) and `packing` (padding_free: the
rows of a batch laid out in one sequence with positions that restart), which keep the examples of a step
the same; the faster one counts. The held-out loss after the last step is computed for both sides by one
program, from the checkpoints that they wrote.

A side's figure for a round is its target tokens over the time of its steps, the first two left out; the
ratio is that of the medians over rounds.
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
from compare import CONFIG  # noqa: E402
from conditions import keep, missing, report, summary  # noqa: E402

WARM_UP = 2
MODES = ("padding", "packing")
NO_LOSS = -100
EOS = 2
LR = 5e-4
PROMPT = "Question: {question}\nAnswer: "


def write_rows(source, tokenizer, target, length, most):
    """Rows as both sides read them: token ids, and labels that are ids on the answer alone."""
    written = 0
    with open(source) as lines, open(target, "w") as out:
        for line in lines:
            if written == most:
                break
            row = json.loads(line)
            prompt = tokenizer.encode(PROMPT.format(**row)).ids
            answer = tokenizer.encode(row["answer"], add_special_tokens=False).ids + [EOS]
            ids = (prompt + answer)[:length]
            labels = ([NO_LOSS] * len(prompt) + answer)[:length]
            if labels[-1] != NO_LOSS:
                out.write(json.dumps({"input_ids": ids, "labels": labels}) + "\n")
                written += 1
    return written


def prepare(folder, args):
    """The data, and a model folder with random weights."""
    import torch
    from tokenizers import Tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = Tokenizer.from_file(args.tokenizer)
    if tokenizer.get_vocab_size() > CONFIG["vocab_size"]:
        sys.exit(f"{args.tokenizer}: more than {CONFIG['vocab_size']} ids")
    data = Path(args.data)
    examples = args.steps * args.examples
    files = {}
    for name, most in (("train", examples), ("test", args.held_out)):
        files[name] = folder / f"{name}.jsonl"
        written = write_rows(data / f"{name}.jsonl", tokenizer, files[name], args.length, most)
        if name == "train" and written < examples:
            sys.exit(f"{data}: {written} rows, {examples} are needed")
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**CONFIG)).save_pretrained(folder / "model")
    return files


def caravan(folder, files, args):
    run = folder / "run"
    recipe = folder / "run.yaml"
    recipe.write_text(
        f"""model: {{path: {folder / "model"}}}
data: {{path: {files["train"]}, format: tokens}}
sequence: {{length: {args.length}}}
train: {{steps: {args.steps}, examples_per_step: {args.examples}, shuffle: false}}
optimizer: {{lr: {LR}, betas: [0.9, 0.95], eps: 1e-8, weight_decay: 0.1, clip_norm: 1.0}}
checkpoint: {{resume: never, every_steps: 1000000}}
output: {run}
"""
    )
    command = [str(ROOT / "caravan"), "sft", str(recipe), "--device", "cpu"]
    command += ["--threads", str(args.threads)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "targets": [step["target_tokens"] for step in steps],
        "seconds": [step["seconds"] for step in steps],
        "loss": [step["loss"] for step in steps],
        "peak_bytes": max(step["host_peak_bytes"] for step in steps),
        "checkpoint": str(run / "checkpoints" / f"step-{args.steps}"),
    }


def peer(folder, files, mode, args):
    command = [sys.executable, str(HERE / "sft_peer.py"), str(folder / "model"), str(files["train"])]
    command += ["--mode", mode, "--steps", str(args.steps), "--examples", str(args.examples)]
    command += ["--threads", str(args.threads), "--lr", str(LR), "--out", str(folder / mode)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def held_out_loss(checkpoint, rows):
    """Mean negative log-likelihood over all targets of the rows, nats."""
    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(checkpoint).float().eval()
    total, targets = 0.0, 0
    with torch.no_grad():
        for line in open(rows):
            row = json.loads(line)
            logits = model(torch.tensor([row["input_ids"]])).logits[0, :-1]
            labels = torch.tensor(row["labels"][1:])
            total += torch.nn.functional.cross_entropy(
                logits, labels, ignore_index=NO_LOSS, reduction="sum"
            ).item()
            targets += int((labels != NO_LOSS).sum())
    return total / targets


def rate(run):
    """Target tokens per second, the first steps left out."""
    return sum(run["targets"][WARM_UP:]) / sum(run["seconds"][WARM_UP:])


def compare(folder, args):
    files = prepare(folder, args)
    ours, theirs = [], {mode: [] for mode in MODES}
    for _ in range(args.rounds):
        ours.append(caravan(folder, files, args))
        for mode in MODES:
            theirs[mode].append(peer(folder, files, mode, args))
    better = max(MODES, key=lambda mode: statistics.median(map(rate, theirs[mode])))
    own = statistics.median(map(rate, ours))
    other = statistics.median(map(rate, theirs[better]))
    own_loss = held_out_loss(ours[-1]["checkpoint"], files["test"])
    other_loss = held_out_loss(str(folder / better), files["test"])
    if any(run["targets"] != ours[0]["targets"] for runs in theirs.values() for run in runs):
        sys.exit("the sides did not train on the same target tokens")
    return {
        "caravan_target_tokens_per_s": own,
        "peer_target_tokens_per_s": other,
        "peer_mode": better,
        "speed_ratio": own / other,
        "caravan_held_out_loss": own_loss,
        "peer_held_out_loss": other_loss,
        "held_out_difference": abs(own_loss - other_loss) / other_loss,
        "caravan_peak_bytes": max(run["peak_bytes"] for run in ours),
        "peer_peak_bytes": max(run["peak_bytes"] for run in theirs[better]),
        "runs": {"caravan": ours, **theirs},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of GSM8K")
    parser.add_argument("--tokenizer", required=True, help="tokenizer.json")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--examples", type=int, default=16, help="a step")
    parser.add_argument("--length", type=int, default=512, help="tokens of the longest row")
    parser.add_argument("--held-out", type=int, default=200, help="rows")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out")
    args = parser.parse_args()
    missing(parser, Path(args.data) / "train.jsonl", Path(args.data) / "test.jsonl", Path(args.tokenizer))
    result = report("sft", args.threads, steps=args.steps, examples_per_step=args.examples)
    with tempfile.TemporaryDirectory() as name:
        result.update(compare(Path(name), args))
    keep(result, args.out)
    print(summary(result))


if __name__ == "__main__":
    main()
