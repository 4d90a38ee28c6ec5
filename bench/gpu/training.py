#!/usr/bin/env python3
"""Trains end to end from Java and judges it: losses against those of the CPU on the same rows, then speed; last the
kernels' table as a user has it.

    training.py --record FILE --program ./caravan --work FOLDER     the CPU's losses, made when the bundle is packed
    training.py --bundle FOLDER --work FOLDER --out FILE            the rest, where the GPU is"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
import types

HERE = pathlib.Path(__file__).resolve().parent
STEPS = 60
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12}  # dense bf16, the vendor's data sheets


def write_rows(path):
    """Sequences x' = (a x + b) mod 97, with a and b told first: the rule must be learnt, the rest follows from it."""
    state = 12345
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(600):
            ids = [1]
            for _ in range(3):
                state = (state * 1103515245 + 12345) % (1 << 31)
                ids.append(100 + (state >> 8) % 96)
            a, b, x = ids[1] - 99, ids[2] - 100, ids[3] - 100
            for _ in range(60):
                x = (a * x + b) % 97
                ids.append(100 + x)
            ids.append(2)
            file.write(json.dumps({"input_ids": ids, "labels": [-100] * 4 + ids[4:]}) + "\n")


def losses(folder):
    values = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if "loss" in entry:
            values[entry["step"]] = (entry["loss"], entry["grad_norm"], entry["tokens_per_s"])
    return values


def train(program, work, device, precision, limit, environment=None):
    """Runs bench/gpu/runs/agree.yaml; step -> (loss, gradient norm, tokens/s), and what was printed."""
    folder = work / f"agree-{device}-{precision}"
    shutil.rmtree(folder, ignore_errors=True)
    rows = work / "rows.jsonl"
    if not rows.is_file():
        write_rows(rows)
    words = [
        program, "sft", HERE / "runs/agree.yaml", "--device", device, "--set", f"data.path={rows}", "--set",
        f"output={folder}", "--set", f"precision={precision}", "--set", f"train.steps={STEPS}"]
    text, code = execute(words, limit, environment)
    if code != 0:
        raise RuntimeError(f"exit code {code}: {text[-600:]}")
    return losses(folder), text


def execute(words, limit, environment=None):
    print("$", *words, flush=True)
    try:
        done = subprocess.run(
            [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit,
            env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        return f"stopped at {limit:.0f} s: {(error.stdout or b'')[-500:]}", None
    print(done.stdout[-6000:], flush=True)
    return done.stdout, done.returncode


def agree(program, work, device, precision, limit, recorded):
    """Every step's loss against the CPU's in float32, and that something was learnt."""
    began = time.monotonic()
    measured, _ = train(program, work, device, precision, limit)
    ours = [measured[step][0] for step in sorted(measured)]
    theirs = recorded["losses"][: len(ours)]
    first = abs(ours[0] - theirs[0]) / theirs[0]
    differences = [abs(a - b) / b for a, b in zip(ours, theirs)]
    judged = STEPS // 2
    worst = max(differences[:judged])
    norm = abs(measured[1][1] - recorded["grad_norms"][0]) / recorded["grad_norms"][0]
    # After the first step rounding grows with training, as it does between two correct programs; at step 39 the loss
    # jumps, and by how much hangs on the last bits. So the first half is judged, and the rest told.
    limits = {"first": 1e-4, "norm": 1e-3, "worst": 1e-3} if precision == "fp32" else {
        "first": 1e-2, "norm": 5e-2, "worst": 1e-2}
    good = first <= limits["first"] and norm <= limits["norm"] and worst <= limits["worst"] and len(ours) == len(theirs)
    good = good and ours[-1] < 0.8 * ours[0]
    return {
        "ok": good, "precision": precision, "steps": len(ours), "first_loss_difference": first,
        "first_gradient_norm_difference": norm, "judged_steps": judged, "worst_loss_difference": worst,
        "worst_of_all_steps": max(differences), "limits": limits,
        "first_loss": ours[0], "last_loss": ours[-1], "cpu_last_loss": theirs[-1], "losses": ours,
        "tokens_per_s": statistics.median(value[2] for value in list(measured.values())[len(measured) // 2 :]),
        "seconds": time.monotonic() - began}


def speed(program, device, size, limit):
    """Tokens per second of random rows, share of the data sheet's peak, and Java's share of a step."""
    words = [program, "bench", "train", HERE / "runs" / ("speed.yaml" if size == "full" else "agree.yaml")]
    words += ["--device", device, "--json", "--steps", "8" if size == "full" else "2"]
    text, code = execute(words, limit)
    if code != 0:
        return {"ok": False, "message": text[-600:]}
    result = json.loads(text[text.index("{") :])
    flops = result["tokens_per_s"] * result["flops_per_token"]
    result.update(ok=True, flops_per_s=flops)
    peak = next((value for name, value in PEAK_FLOPS.items() if name in result["device_name"]), None)
    if peak is not None:
        result["peak_share"] = flops / peak
    return result


def bench(program, device, size, limit):
    """The user's own command on this device, each op after its check; and products by cuBLASLt as Java calls it against
    the same products as PyTorch, which is C++, calls it."""
    words = [program, "bench", "kernels", "--device", device, "--json", "--dtype", "bf16"]
    words += ["--size", "1b", "--samples", "5"] if size == "full" else ["--size", "tiny", "--samples", "1"]
    text, code = execute(words, limit)
    if code != 0:
        return {"ok": False, "message": text[-600:]}
    result = {"ok": True, **json.loads(text[text.index("{") :])}
    if device == "cuda" and "CARAVAN_CUDA_LIBRARY" not in os.environ:
        result["products"] = products(result["results"], on_gpu=True)
    return result


def products(measured, on_gpu):
    """Seconds of y = x W^T and dX = dY W as Java's call of cuBLASLt took them, and as PyTorch's does, launched one by one
    on inputs of the same kind: multiples of 1/128."""
    import torch

    import timing

    if on_gpu:
        torch.backends.cuda.preferred_blas_library("cublaslt")
    where = "cuda" if on_gpu else "cpu"
    place = types.SimpleNamespace(
        on_gpu=on_gpu, torch_stream=torch.cuda.Stream() if on_gpu else None, synchronize=lambda: None)
    draw = lambda *shape: torch.randint(-128, 129, shape, device=where).div(128).bfloat16()
    out = []
    for one in measured:
        if one["op"] not in ("matmul", "matmul dX") or "seconds" not in one:
            continue
        m, n, k = (int(extent) for extent in one["shape"].split("x"))
        a, b = draw(m, k), draw(n, k).t() if one["op"] == "matmul" else draw(k, n)
        c = torch.empty(m, n, device=where, dtype=torch.bfloat16)
        if on_gpu:
            torch.cuda.synchronize()
        call = timing.runner(place, [lambda: torch.mm(a, b, out=c)], record=False)
        other = timing.medians({"torch": call}, 5)["torch"]["seconds"]
        out.append({
            "op": one["op"], "shape": one["shape"], "java_seconds": one["seconds"], "torch_seconds": other,
            "ratio": other / one["seconds"]})
    return out


def record(chosen):
    measured, _ = train(chosen.program, chosen.work, "cpu", "fp32", 600)
    steps = sorted(measured)
    chosen.record.write_text(json.dumps({
        "losses": [measured[step][0] for step in steps], "grad_norms": [measured[step][1] for step in steps]}) + "\n")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=pathlib.Path)
    parser.add_argument("--program", type=pathlib.Path, help="default: the bundle's")
    parser.add_argument("--bundle", type=pathlib.Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", choices=("full", "smoke"), default="full")
    parser.add_argument("--parts", default="agree_fp32,agree_bf16,speed,bench")
    parser.add_argument("--time-limit", type=float, default=150)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path)
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    if chosen.record:
        return record(chosen)
    began = time.monotonic()
    if chosen.bundle is None or not chosen.bundle.is_dir():
        parser.error(f"--bundle: there is no folder {chosen.bundle}; bench/gpu/run unpacks or builds one")
    program = chosen.program or chosen.bundle / "caravan"
    if not program.is_file():
        chosen.out.write_text(json.dumps({"ok": False, "message": "the bundle has no Java"}))
        return 1
    recorded = json.loads((chosen.bundle / "runs/agree.json").read_text())
    result = {"ok": True}
    parts = {
        "agree_fp32": lambda left: agree(program, chosen.work, chosen.device, "fp32", min(left, 60), recorded),
        "speed": lambda left: speed(program, chosen.device, chosen.size, left),
        "agree_bf16": lambda left: agree(program, chosen.work, chosen.device, "bf16", min(left, 60), recorded),
        "bench": lambda left: bench(program, chosen.device, chosen.size, min(left, 60)),
    }
    for name in chosen.parts.split(","):
        part = parts[name]
        left = chosen.time_limit - (time.monotonic() - began)
        try:
            result[name] = part(left) if left > 5 else {"ok": False, "message": "no time left"}
        except Exception as error:
            result[name] = {"ok": False, "message": f"{type(error).__name__}: {error}"[:800]}
        result["ok"] = result["ok"] and result[name]["ok"]
        chosen.out.write_text(json.dumps(result, indent=1))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
