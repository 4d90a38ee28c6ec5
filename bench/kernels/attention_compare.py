"""Attention forward and backward against PyTorch's scaled_dot_product_attention: the same machine, the
same run, in turns.

Run:  python attention_compare.py [--rounds 5] [--threads 2] [--shapes 256x48,...] [--out results/NAME.json]
Needs torch for the peer; Caravan is started by its launcher (`caravan bench kernels`).

Causal, float32, 8 heads, one document, head widths 48 to 128, 256 to 2,048 tokens. Each round measures each
shape on one side, then on the other; a side's figure for a round is its median over samples, and the ratio
is that of the medians over rounds, forward and backward added. The peer's gradients come from
torch.autograd.grad on an output that is kept, so that its forward is not run again.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))
from conditions import keep, report  # noqa: E402

HEADS = 8
SHAPES = "256x48,256x128,512x64,1024x64,1024x128,2048x48,2048x128"
SAMPLES = 7
SAMPLE_SECONDS = 0.05


def caravan(tokens, width, threads):
    command = [str(ROOT / "caravan"), "bench", "kernels", "--device", "cpu", "--json"]
    command += ["--threads", str(threads), "--dtype", "f32", "--op", "attention"]
    command += ["--samples", str(SAMPLES), "--size", "15m"]
    for extent in (f"tokens={tokens}", f"heads={HEADS}", f"kv_heads={HEADS}", f"head_dim={width}"):
        command += ["--shape", extent]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    results = {row["op"]: row for row in json.loads(done.stdout)["results"]}
    return {
        "forward": results["attention"]["seconds"],
        "backward": results["attention bwd"]["seconds"],
        "flops": results["attention"]["flops"] + results["attention bwd"]["flops"],
    }


def median_seconds(work):
    """The median over samples; a sample repeats the work until it takes long enough to be timed."""
    work()
    began = time.perf_counter()
    work()
    calls = max(1, int(SAMPLE_SECONDS / max(time.perf_counter() - began, 1e-9)))
    samples = []
    for _ in range(SAMPLES):
        began = time.perf_counter()
        for _ in range(calls):
            work()
        samples.append((time.perf_counter() - began) / calls)
    return statistics.median(samples)


def peer(tokens, width, threads):
    import torch
    from torch.nn.functional import scaled_dot_product_attention as attention

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, HEADS, tokens, width, requires_grad=True) for _ in range(3))
    out = attention(q, k, v, is_causal=True)
    d_out = torch.randn_like(out)
    with torch.no_grad():
        forward = median_seconds(lambda: attention(q, k, v, is_causal=True))
    backward = median_seconds(
        lambda: torch.autograd.grad(out, (q, k, v), d_out, retain_graph=True)
    )
    return {"forward": forward, "backward": backward, "version": torch.__version__}


def peer_process(tokens, width, threads):
    """In a process of its own, as the other side is."""
    command = [sys.executable, __file__, "--peer", f"{tokens}x{width}", "--threads", str(threads)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def together(runs):
    return statistics.median(run["forward"] + run["backward"] for run in runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shapes", default=SHAPES, help="TOKENSxHEADWIDTH, comma-separated")
    parser.add_argument("--out")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        tokens, width = map(int, args.peer.split("x"))
        print(json.dumps(peer(tokens, width, args.threads)))
        return
    if not re.fullmatch(r"\d+x\d+(,\d+x\d+)*", args.shapes):
        parser.error(f"--shapes {args.shapes}: needs TOKENSxHEADWIDTH, as in 512x64,1024x128")
    shapes = [tuple(map(int, shape.split("x"))) for shape in args.shapes.split(",")]
    result = report("attention", args.threads, heads=HEADS)
    result["results"] = []
    ours = {shape: [] for shape in shapes}
    theirs = {shape: [] for shape in shapes}
    for _ in range(args.rounds):
        for shape in shapes:
            ours[shape].append(caravan(*shape, args.threads))
            theirs[shape].append(peer_process(*shape, args.threads))
    print("| tokens x width | Caravan | PyTorch | ratio |")
    print("|----------------|--------:|--------:|------:|")
    for shape in shapes:
        own, other = together(ours[shape]), together(theirs[shape])
        result["results"].append(
            {
                "tokens": shape[0],
                "head_dim": shape[1],
                "caravan_seconds": own,
                "peer_seconds": other,
                "speed_ratio": other / own,
                "runs": {"caravan": ours[shape], "peer": theirs[shape]},
            }
        )
        name = f"{shape[0]} x {shape[1]}"
        print(f"| {name:14} | {own * 1e3:4.2f} ms | {other * 1e3:4.2f} ms | {other / own:5.2f} |")
    keep(result, args.out)


if __name__ == "__main__":
    main()
