"""A layer of sparse experts, forward and backward, against Hugging Face's Mixtral block in PyTorch and against a dense
layer of the same active parameters: the same machine, the same run, in turns.

Run:  python experts_compare.py [--rounds 5] [--threads 2] [--skews uniform,zipf,one] [--out results/NAME.json]
Needs torch and transformers for the peer, and the native library (native/target/cmake/lib) with a BLAS, that of JavaCPP's
cache unless --blas names another.

Float32; 4,096 tokens, width 256, 512 units an expert, 16 experts of which 2 are chosen. Skews are made by the router's
weights on an input that is always 1: uniform; zipf, first choices about as 1/rank; one, all tokens to the same two. Both
sides have the same numbers, and their outputs and gradients are compared. The peer runs each of its ways to multiply
(a loop over experts, torch's grouped product), and counts as the fastest of them; its gradients come from
torch.autograd.grad, new memory and no sum, while ours are zeroed and added to. A side's figure for a round is its median
over samples, the ratio is that of the medians over rounds. Each side has the memory that its own runs have: ours from the
library, in large pages where the kernel gives them, the peer's from PyTorch. On a busy machine --clock cpu, with one
thread, counts the processor's time of each side instead of the wall's.
"""

import argparse
import glob
import json
import math
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE.parent / "gpu"))
from conditions import keep, report  # noqa: E402

TOKENS, WIDTH, UNITS, EXPERTS, CHOICES = 4096, 256, 512, 16, 2
SKEWS = ("uniform", "zipf", "one")
PEERS = ("eager", "grouped_mm")
SAMPLES = 5
RESULTS = ("y", "d_x", "d_router", "d_gate_up", "d_down")  # expert_layer.SparseLayer.RESULTS
BLAS = "~/.javacpp/cache/openblas-*/org/bytedeco/openblas/linux-x86_64/libopenblas_nolapack.so.0"
WITHIN = 1e-4  # of a result's norm, between the sides


def inputs(skew):
    """x, router, gate_up, down, d_y."""
    import torch

    torch.manual_seed(0)
    x, d_y = torch.randn(TOKENS, WIDTH), torch.randn(TOKENS, WIDTH)
    router = torch.randn(EXPERTS, WIDTH) / math.sqrt(WIDTH)
    x[:, 0] = 1
    for expert in range(EXPERTS):
        if skew == "zipf":
            router[expert, 0] = -1.2 * math.log(expert + 1)
        elif skew == "one":
            router[expert, 0] = 40.0 - 20 * expert if expert < CHOICES else -40.0
        else:
            router[expert, 0] = 0
    gate_up = torch.randn(EXPERTS, 2 * UNITS, WIDTH) / math.sqrt(WIDTH)
    down = torch.randn(EXPERTS, WIDTH, UNITS) / math.sqrt(UNITS)
    return x, router, gate_up, down, d_y


def fingerprints(results):
    """Of each result its norm and its product with a fixed random direction, in double precision."""
    import torch

    marks = {}
    for name, value in results.items():
        generator = torch.Generator().manual_seed(1)
        along = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        wide = value.detach().double()
        marks[name] = [wide.norm().item(), (wide * along).sum().item()]
    return marks


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def median_seconds(work, now):
    work()
    samples = []
    for _ in range(SAMPLES):
        began = now()
        work()
        samples.append(now() - began)
    return statistics.median(samples)


def caravan(skews, threads, now, library_path, blas):
    import ctypes

    import abi
    import torch
    from expert_layer import DenseLayer, SparseLayer

    torch.set_num_threads(1)
    blas = ctypes.CDLL(blas)
    blas.openblas_set_num_threads(1)
    library = abi.Library(library_path, ROOT / "native/include/caravan/caravan.h")
    library.call("caravan_set_sgemm", ctypes.cast(blas.cblas_sgemm, ctypes.c_void_p))
    place = abi.Place(library, "cpu", threads)
    found = {"layers": {}, "ops": {}}

    def timed(ops):
        times = {}
        for name, call in ops.calls:
            began = now()
            call()
            place.synchronize()
            times[name] = now() - began
        return times

    def measure(name, layer):
        def step():
            layer.step()
            place.synchronize()

        found["layers"][name] = {"seconds": median_seconds(step, now)}
        runs = [{**timed(layer.forward), **timed(layer.backward)} for _ in range(5)]
        found["ops"][name] = {op: statistics.median(run[op] for run in runs) for op in runs[0]}

    for skew in skews:
        layer = SparseLayer(library, place, *map(place.put, inputs(skew)), CHOICES)
        layer.step()
        place.synchronize()
        marks = fingerprints({name: getattr(layer, name) for name in RESULTS})
        measure(skew, layer)
        found["layers"][skew].update(marks=marks, counts=layer.counts())
    x, _, _, _, d_y = inputs("uniform")
    gate_up = torch.randn(2 * UNITS * CHOICES, WIDTH) / math.sqrt(WIDTH)
    down = torch.randn(WIDTH, UNITS * CHOICES) / math.sqrt(UNITS * CHOICES)
    measure("dense", DenseLayer(library, place, *map(place.put, (x, gate_up, down, d_y))))
    return found


def peer(skews, threads, now):
    import torch
    import transformers
    from transformers.models.mixtral.configuration_mixtral import MixtralConfig
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

    torch.set_num_threads(threads)
    found = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__}, "layers": {}}
    for skew in skews:
        x, router, gate_up, down, d_y = inputs(skew)
        ways = {}
        for way in PEERS:
            config = MixtralConfig(
                hidden_size=WIDTH, intermediate_size=UNITS, num_local_experts=EXPERTS, num_experts_per_tok=CHOICES)
            config._experts_implementation = way
            block = MixtralSparseMoeBlock(config)
            with torch.no_grad():
                block.gate.weight.copy_(router)
                block.experts.gate_up_proj.copy_(gate_up)
                block.experts.down_proj.copy_(down)
            leaf = x[None].clone().requires_grad_()
            leaves = (leaf, block.gate.weight, block.experts.gate_up_proj, block.experts.down_proj)

            def step():
                y = block(leaf)
                return (y, *torch.autograd.grad(y, leaves, d_y[None]))

            y, d_x, *gradients = step()
            results = dict(zip(RESULTS, (y[0], d_x[0], *gradients)))
            ways[way] = {"seconds": median_seconds(step, now), "marks": fingerprints(results)}
        best = min(ways, key=lambda way: ways[way]["seconds"])
        found["layers"][skew] = {"seconds": ways[best]["seconds"], "way": best, "ways": ways}
    return found


def side(name, args):
    """In a process of its own, as the other side is."""
    command = [sys.executable, __file__, "--side", name, "--threads", str(args.threads), "--skews", args.skews]
    command += ["--clock", args.clock]
    command += ["--library", args.library, "--blas", args.blas]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def apart(ours, theirs):
    """The greatest difference of the sides' results, relative to their norms; the direction's is about the norm."""
    worst = 0.0
    for name in RESULTS:
        norm, along = theirs[name]
        worst = max(worst, abs(ours[name][0] - norm) / norm, abs(ours[name][1] - along) / norm)
    return worst


def median_of(runs, name):
    return statistics.median(run["layers"][name]["seconds"] for run in runs)


def rows(ours, theirs, skews):
    """One row a skew: seconds of both sides and of the dense layer, their ratios, rows of the busiest expert."""
    dense = median_of(ours, "dense")
    table = []
    for skew in skews:
        own, other = median_of(ours, skew), median_of(theirs, skew)
        marks = theirs[0]["layers"][skew]["ways"].values()
        table.append(
            {
                "skew": skew,
                "busiest": max(ours[0]["layers"][skew]["counts"]),
                "caravan_seconds": own,
                "peer_seconds": other,
                "peer_way": theirs[0]["layers"][skew]["way"],
                "speed_ratio": other / own,
                "dense_seconds": dense,
                "cost_of_dense": own / dense,
                "apart": max(apart(ours[0]["layers"][skew]["marks"], way["marks"]) for way in marks),
            }
        )
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--skews", default=",".join(SKEWS), help="of uniform, zipf, one; comma-separated")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--library", default=str(ROOT / "native/target/cmake/lib/libcaravan.so"))
    parser.add_argument("--blas", help="a library with cblas_sgemm and openblas_set_num_threads")
    parser.add_argument("--out")
    parser.add_argument("--side", choices=("caravan", "peer"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    pattern = "|".join(SKEWS)
    if not re.fullmatch(f"({pattern})(,({pattern}))*", args.skews):
        parser.error(f"--skews {args.skews}: needs some of {', '.join(SKEWS)}")
    if args.blas is None:
        found = sorted(glob.glob(str(Path(BLAS).expanduser())))
        if not found:
            parser.error(f"--blas: there is no {BLAS}")
        args.blas = found[-1]
    skews, now = args.skews.split(","), CLOCKS[args.clock]
    if args.side == "caravan":
        print(json.dumps(caravan(skews, args.threads, now, args.library, args.blas)))
        return
    if args.side == "peer":
        print(json.dumps(peer(skews, args.threads, now)))
        return
    shape = {"tokens": TOKENS, "width": WIDTH, "units": UNITS, "experts": EXPERTS, "choices": CHOICES}
    result = report("experts", args.threads, clock=args.clock, **shape)
    ours, theirs = [], []
    for _ in range(args.rounds):
        ours.append(side("caravan", args))
        theirs.append(side("peer", args))
    result["results"] = rows(ours, theirs, skews)
    result["runs"] = {"caravan": ours, "peer": theirs}
    print("| routing | busiest | Caravan | PyTorch | ratio | dense | cost of dense |")
    print("|---------|--------:|--------:|--------:|------:|------:|--------------:|")
    for row in result["results"]:
        own, other, dense = (row[f"{name}_seconds"] * 1e3 for name in ("caravan", "peer", "dense"))
        print(f"| {row['skew']:7} | {row['busiest']:7} | {own:4.1f} ms | {other:4.1f} ms | {row['speed_ratio']:5.2f} |"
              f" {dense:4.1f} ms | {row['cost_of_dense']:13.2f} |")
    keep(result, args.out)
    far = [row for row in result["results"] if not row["apart"] < WITHIN]
    for row in far:
        print(f"{row['skew']}: the sides differ by {row['apart']:.1e} of a result's norm, not below {WITHIN}",
              file=sys.stderr)
    sys.exit(1 if far else 0)


if __name__ == "__main__":
    main()
