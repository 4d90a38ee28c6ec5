"""Plans of runs that no machine here holds: bytes and time of a step on 8, 64 and 1,024 GPUs, and how far the plans of
published runs are from what was reported.

Run:  python scale.py [--out results/NAME.json]

Nothing is measured: these are what `caravan plan` says from the stated rates of machines. A step has 4M tokens (GLaM
1M, as it was trained), everything is kept in parts and blocks are computed again. PaLM has Adafactor, the others AdamW: for
Adafactor the experts of a block are one weight, whole on one rank, so that many ranks hold gaps for the most part. Plans
are made as if a device had room for them, so that those that do not fit are told too.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))
from conditions import commit  # noqa: E402

MODELS = {  # run file's model, tokens of a step, of a sequence, optimizer, blocks computed again
    "LLaMA 65B": ("{family: llama, size: 65b, seed: 0}", 4 << 20, 2048, "adamw", "full"),
    "GLaM 64B/64E": ("{family: glam, size: 64b-64e}", 1 << 20, 1024, "adamw", "full"),
    "PaLM 540B": ("{family: palm, size: 540b}", 4 << 20, 2048, "adafactor", "full"),
    "LLaMA 7B": ("{family: llama, size: 7b, seed: 0}", 96 * 8192, 4096, "adamw", "none"),
}
SCALES = [(name, "h100", gpus) for name in ("LLaMA 65B", "GLaM 64B/64E", "PaLM 540B") for gpus in (8, 64, 1024)]
PUBLISHED = [  # the plan knows what was reported
    ("LLaMA 65B", "a100-80", 2048),
    ("GLaM 64B/64E", "tpu-v4", 1024),
    ("PaLM 540B", "tpu-v4", 6144),
    ("LLaMA 7B", "h100", 96),
]
ROOM = 10 ** 15


def gpu(name, flops, memory, link, port):
    """A machine's file, with the rates that `plan` has of the bundled one of that name."""
    return (f"name: {name}\nkind: cuda\nmemory_bytes: 80000000000\nflops_per_second: {flops}\n"
            f"bytes_per_second: {memory}\ndevices_per_node: 8\nlink_bytes_per_second: {link}\n"
            f"network_bytes_per_second: {port}\n")


MACHINES = {
    "a100-80": gpu("a100-80", 312e12, 2.04e12, 300e9, 25e9),
    "h100": gpu("h100", 989e12, 3.35e12, 450e9, 50e9),
    "tpu-v4": (HERE / "tpu-v4.yaml").read_text(),
}
MEMORY = re.compile(r"^memory_bytes: (\d+)$", re.MULTILINE)


def plan(name, machine, gpus):
    model, tokens, length, optimizer, again = MODELS[name]
    with tempfile.TemporaryDirectory() as folder:
        recipe, device = Path(folder, "run.yaml"), Path(folder, "machine.yaml")
        device.write_text(MEMORY.sub(f"memory_bytes: {ROOM}", MACHINES[machine]))
        recipe.write_text(
            f"""model: {model}
sequence: {{length: {length}}}
train: {{steps: 1, tokens_per_step: {tokens}, micro_batch_tokens: {max(length, min(8192, tokens // gpus))}}}
optimizer: {{name: {optimizer}}}
parallel: {{shard: parameters}}
recompute: {again}
""")
        words = [str(ROOT / "caravan"), "plan", str(recipe), "--device", "cpu", "--machine", str(device)]
        done = subprocess.run(
            words + ["--gpus", str(gpus), "--json"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        return {"refused": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    told = json.loads(done.stdout)
    told["fits"] = told["bytes"]["total"] <= int(MEMORY.search(MACHINES[machine])[1])
    return told


def row(name, machine, gpus, one):
    head = f"| {name} | {gpus:,} {machine} |"
    if "refused" in one:
        return f"{head} {one['refused']} | | | | | |"
    fits = "" if one["fits"] else ", does not fit"
    slow = "exchanges" if one["wire_seconds"] > 0.5 * one["step_seconds"] else "products"
    known = one.get("published")
    reported = f"{known['tokens_per_second_per_device']:,.0f}; {known['plan_times']:.2f}" if known else ""
    return (f"{head} {one['bytes']['total'] / 1e9:,.1f} GB{fits} | {one['wire_bytes_per_step'] / 1e9:,.0f} GB |"
            f" {one['step_seconds']:,.2f} s | {slow} | {one['tokens_per_second_per_device']:,.0f} | {reported} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out")
    args = parser.parse_args()
    result = {"bench": "scale", "commit": commit(), "plans": []}
    print("| model | devices | memory of one | it sends in a step | step | most time | its tokens/s | reported; plan over it |")
    print("|---|---|---|---|---|---|---|---|")
    for name, machine, gpus in SCALES + PUBLISHED:
        one = plan(name, machine, gpus)
        result["plans"].append({"model": name, "devices": gpus, **one})
        print(row(name, machine, gpus, one), flush=True)
    if args.out:
        Path(args.out).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
