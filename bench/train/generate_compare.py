"""Token generation with a key/value cache against PyTorch: the same model, the same machine, in turns.

Run:  python generate_compare.py [--rounds 5] [--prompt 16] [--tokens 256] [--threads 2] [--out results/NAME.json]
Needs torch and transformers; Caravan is started by its launcher (`caravan generate --ids`).

The 15M-parameter LLaMA of compare.py with random weights, float32, greedy, one sequence. The figure is tokens
per second from the first new token to the last, so loading and the prompt do not count; the ratio is that
of the medians over rounds. The peer is transformers' generate with its default (dynamic) cache, and a plain
loop over the model's forward, which leaves out what generate does besides; the faster one counts. That both
sides chose the same tokens is part of the result: with random weights a tie may be broken differently.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))
from compare import CONFIG  # noqa: E402
from conditions import keep, report, summary  # noqa: E402

WAYS = ("generate", "loop")
RATE = re.compile(r"([0-9,.]+) tokens/s")


def caravan(model, prompt, args):
    command = [str(ROOT / "caravan"), "generate", "--model", str(model), "--device", "cpu", "--ids"]
    command += ["--prompt-ids", ",".join(map(str, prompt)), "--threads", str(args.threads)]
    command += ["--max-new-tokens", str(args.tokens)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = RATE.search(done.stderr)
    return {
        "tokens_per_s": float(found.group(1).replace(",", "")),
        "ids": [int(token) for token in done.stdout.split(",")],
    }


class Times:
    """A streamer that notes when each token comes; the prompt comes first."""

    def __init__(self):
        self.ends = []

    def put(self, tokens):
        self.ends.append(time.perf_counter())

    def end(self):
        pass

    def rate(self):
        made = self.ends[1:]
        return (len(made) - 1) / (made[-1] - made[0])


def loop(model, prompt, tokens):
    """Greedy tokens one by one, and their rate."""
    out = model(input_ids=prompt, use_cache=True)
    ids, times = [], []
    while True:
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        ids.append(token.item())
        times.append(time.perf_counter())
        if len(ids) == tokens:
            return ids, (tokens - 1) / (times[-1] - times[0])
        out = model(input_ids=token, past_key_values=out.past_key_values, use_cache=True)


def peer(args):
    import torch
    from transformers import LlamaForCausalLM

    torch.set_num_threads(args.threads)
    model = LlamaForCausalLM.from_pretrained(args.peer).float().eval()
    prompt = torch.tensor([prompt_ids(args.prompt)])
    with torch.no_grad():
        if args.way == "loop":
            loop(model, prompt, 8)
            ids, rate = loop(model, prompt, args.tokens)
        else:
            model.generate(prompt, max_new_tokens=8, do_sample=False, pad_token_id=0)
            times = Times()
            made = model.generate(
                prompt,
                max_new_tokens=args.tokens,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=None,
                streamer=times,
            )
            ids, rate = made[0, args.prompt :].tolist(), times.rate()
    print(json.dumps({"tokens_per_s": rate, "ids": ids}))


def peer_process(model, way, args):
    """In a process of its own, as the other side is."""
    command = [sys.executable, __file__, "--peer", str(model), "--way", way]
    command += ["--prompt", str(args.prompt), "--tokens", str(args.tokens)]
    command += ["--threads", str(args.threads)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def prompt_ids(length):
    return [3 + (7919 * i) % 31000 for i in range(length)]


def same_tokens(one, other):
    """How many tokens agree before the first that does not."""
    for i, (a, b) in enumerate(zip(one, other)):
        if a != b:
            return i
    return min(len(one), len(other))


def median_rate(runs):
    return statistics.median(run["tokens_per_s"] for run in runs)


def compare(folder, args):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model = folder / "model"
    config = LlamaConfig(**CONFIG, bos_token_id=None, eos_token_id=None)
    LlamaForCausalLM(config).save_pretrained(model)
    prompt = prompt_ids(args.prompt)
    ours, theirs = [], {way: [] for way in WAYS}
    for _ in range(args.rounds):
        ours.append(caravan(model, prompt, args))
        for way in WAYS:
            theirs[way].append(peer_process(model, way, args))
    better = max(WAYS, key=lambda way: median_rate(theirs[way]))
    for run in ours + theirs[better]:
        if len(run["ids"]) != args.tokens:
            sys.exit(f"a side made {len(run['ids'])} tokens, {args.tokens} are needed")
    return {
        "caravan_tokens_per_s": median_rate(ours),
        "peer_tokens_per_s": median_rate(theirs[better]),
        "peer_way": better,
        "speed_ratio": median_rate(ours) / median_rate(theirs[better]),
        "same_tokens": same_tokens(ours[0]["ids"], theirs[better][0]["ids"]),
        "runs": {
            "caravan": [run["tokens_per_s"] for run in ours],
            **{way: [run["tokens_per_s"] for run in runs] for way, runs in theirs.items()},
        },
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=16, help="tokens of the prompt")
    parser.add_argument("--tokens", type=int, default=256, help="new tokens")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return peer(args)
    result = report("generate", args.threads, prompt_tokens=args.prompt, new_tokens=args.tokens)
    with tempfile.TemporaryDirectory() as name:
        result.update(compare(Path(name), args))
    keep(result, args.out)
    print(summary(result))


if __name__ == "__main__":
    main()
