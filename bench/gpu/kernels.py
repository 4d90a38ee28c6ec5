#!/usr/bin/env python3
"""Caravan's kernels against PyTorch's on the same inputs: error against float64, time, share of the measured roof.

Both sides get the same tensors, run on the same stream, and are timed in turns by the same events. The result file is
written anew after every case, so that a run that is cut short still counts."""

import argparse
import json
import os
import pathlib
import sys
import threading
import time
import traceback

import torch
import torch._functorch.config

import abi
import cases
import timing

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXIT_HUNG = 4
SLOW = 0.2  # seconds of a call that is too slow to be called many times
TOO_SLOW = 1.0  # expected seconds of a call that is left out


def write_json(path, value):
    """Whole or not at all."""
    temporary = f"{path}.part"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.write("\n")
    os.replace(temporary, path)


def poison(case, x):
    """NaN wherever the op must write, 0 where it adds."""
    for name in case.outputs:
        if name not in x or name in case.in_place or not x[name].is_floating_point():
            continue
        x[name].fill_(0.0 if name in case.accumulates else float("nan"))


def error_of(case, got, reference):
    """The greatest relative error over the outputs, by norms; None for what has no reference."""
    worst = None
    for name, (rows, expected) in reference.items():
        if name not in got or got[name] is None:
            continue
        value = case.pick(name, got[name]).double()
        if rows is not None:
            value = value[rows]
        value = value.to(expected.device)
        error = ((value - expected).norm() / expected.norm().clamp_min(1e-300)).item()
        if error != error:
            return float("nan")
        worst = error if worst is None else max(worst, error)
    return worst


class Watch:
    """Ends the process when one case takes too long: a kernel that hangs cannot be stopped from inside."""

    def __init__(self, seconds, give_up):
        self.seconds = seconds
        self.give_up = give_up
        self.timer = None

    def __enter__(self):
        self.timer = threading.Timer(self.seconds, self._end)
        self.timer.daemon = True
        self.timer.start()

    def __exit__(self, *error):
        self.timer.cancel()
        return False

    def _end(self):
        self.give_up()
        os._exit(EXIT_HUNG)


class Bench:
    def __init__(self, library, place, options):
        self.library = library
        self.place = place
        self.options = options
        self.work_rate = {}  # op -> what it does a second, where that is slow
        self.l2 = torch.cuda.get_device_properties(0).L2_cache_size if place.on_gpu else 0

    def sets(self, case):
        """How many input sets to rotate over, so that together they exceed the last cache several times."""
        if not self.place.on_gpu:
            return 1
        return max(2, min(12, -(-3 * self.l2 // max(case.bytes, 1))))

    def prepare(self, case, x):
        return case.prepare(self.library, self.place, x)

    def settle(self):
        self.place.synchronize()
        if self.place.on_gpu:
            torch.cuda.synchronize()

    def copy(self, x):
        return {name: self.place.put(value.clone()) for name, value in x.items()}

    def measure(self, case):
        """One case as a dict: state is "measured", "not built" or "failed"."""
        out = {
            "op": case.op, "variant": case.variant, "shape": case.shape, "dtype": case.dtype_name,
            "bytes": case.bytes, "flops": case.flops, "state": "measured"}
        rate = self.work_rate.get(case.op)
        if rate is not None and (case.flops or case.bytes) / rate > TOO_SLOW:
            out["state"] = "left out"
            out["message"] = f"would take {(case.flops or case.bytes) / rate:.1f} s a call"
            return out
        generator = torch.Generator(device=self.place.torch_device).manual_seed(len(case.name) * 7919)
        inputs = [case.inputs(self.place, generator) for _ in range(self.sets(case))]
        self.settle()
        reference = case.reference(inputs[0])
        pristine = self.copy({name: inputs[0][name] for name in case.in_place if name in inputs[0]})
        self.settle()
        runners = {}
        ours = self.check_ours(case, inputs, pristine, reference, out)
        slow = ours is not None and out["first_seconds"] > SLOW
        if slow and self.place.on_gpu:
            self.work_rate[case.op] = (case.flops or case.bytes) / out["first_seconds"]
            out.update(seconds=out["first_seconds"], launch="once")
        elif ours is not None and not self.options.check_only:
            runners["caravan"] = timing.runner(self.place, ours)
        if not self.options.no_peers:
            out["peers"] = {}
            for name, make in case.peers(self.place).items():
                torch._dynamo.reset()
                try:
                    peer = self.check_peer(case, name, make, inputs, pristine, reference, out["peers"])
                    if not self.options.check_only:
                        runners[name] = timing.runner(self.place, peer)
                except Exception as error:
                    out["peers"][name] = {"state": "failed", "message": first_line(error)}
        for name, figures in timing.medians(runners, self.options.samples).items():
            target = out if name == "caravan" else out["peers"][name]
            target.update(figures)
        return out

    def roof(self):
        """timing.roof, with those kernels of ours that do nothing but move: what they lack is left out."""
        small = not self.place.on_gpu
        rows, width = (64, 128) if small else (16384, 4096)
        generator = torch.Generator(device=self.place.torch_device).manual_seed(1)
        ours, held = {}, []
        for name, case in (
                ("caravan add_forward", cases.Add(rows, width, torch.bfloat16)),
                ("caravan cast_forward", cases.Cast(rows, width, torch.float32, torch.bfloat16))):
            inputs = [case.inputs(self.place, generator) for _ in range(self.sets(case))]
            try:
                calls = [self.prepare(case, x) for x in inputs]
                calls[0]()
                self.settle()
            except abi.Refused:
                continue
            ours[name] = (case.bytes, calls)
            held.append(inputs)
        found = timing.roof(self.place, self.options.samples, ours, small)
        del inputs, held
        self.place.release()
        if self.place.on_gpu:
            torch.cuda.empty_cache()
        return found

    def restore(self, x, pristine):
        for name, value in pristine.items():
            x[name].copy_(value)
        self.settle()

    def check_ours(self, case, inputs, pristine, reference, out):
        x = inputs[0]
        try:
            poison(case, x)
            self.settle()
            calls = [self.prepare(case, one) for one in inputs]
            calls[0]()
            self.settle()
        except abi.Refused as refusal:
            out["state"], out["message"] = "not built", str(refusal)
            self.restore(x, pristine)
            return None
        first = {name: value.clone() for name, value in case.result(self.library, x).items()}
        out["error"] = error_of(case, first, reference)
        self.restore(x, pristine)
        poison(case, x)
        self.settle()
        begin = time.perf_counter()
        calls[0]()
        self.settle()
        out["first_seconds"] = time.perf_counter() - begin
        again = case.result(self.library, x)
        out["same_bits"] = all(same_bits(first[name], again[name]) for name in first)
        self.restore(x, pristine)
        if out["error"] is None or out["error"] != out["error"] or not out["same_bits"]:
            out["state"] = "failed"
            out["message"] = "differs when repeated" if out["error"] == out["error"] else "gives NaN"
            return None
        return calls

    def check_peer(self, case, name, make, inputs, pristine, reference, peers):
        x = inputs[0]
        stream = torch.cuda.stream(self.place.torch_stream) if self.place.on_gpu else timing._Nothing()
        with stream:
            calls = [make(one) for one in inputs]
            got = calls[0]()
            self.settle()
            peers[name] = {"state": "measured", "error": error_of(case, got, reference)}
            del got
            self.restore(x, pristine)
        return calls


def warm_up(bench, wanted):
    """Fills the compiler's cache with the peers that are compiled; measures nothing."""
    for case in wanted:
        generator = torch.Generator(device=bench.place.torch_device).manual_seed(1)
        for name, make in case.peers(bench.place).items():
            if name != "torch.compile":
                continue
            torch._dynamo.reset()
            try:
                make(case.inputs(bench.place, generator))()
            except Exception as error:
                print(f"{case.name}: {first_line(error)}", flush=True)
            bench.settle()
            print(f"{case.name}: compiled", flush=True)
        torch.cuda.empty_cache()


def same_bits(one, other):
    return torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))


def first_line(error):
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:300]


def derive(result, roof):
    """Rates, share of the roof, and ratios to the peers (above 1: ours is faster)."""
    peers = result.get("peers", {}).values()
    for one in [result, *peers]:
        if "seconds" not in one:
            continue
        one["bytes_per_s"] = result["bytes"] / one["seconds"]
        if result["flops"]:
            one["flops_per_s"] = result["flops"] / one["seconds"]
        if result["flops"] and result["dtype"] == "bf16":
            one["roof_share"] = one["flops_per_s"] / roof["product_flops_per_s"]
        elif not result["flops"]:
            one["roof_share"] = one["bytes_per_s"] / roof["copy_bytes_per_s"]
    for one in peers:
        if "seconds" in one and "seconds" in result:
            one["ratio"] = one["seconds"] / result["seconds"]
        if one.get("error") and result.get("error") is not None:
            one["error_ratio"] = result["error"] / one["error"]


def line(result):
    """One line for a person."""
    name = " ".join(filter(None, (result["op"], result["variant"], result["shape"], result["dtype"])))
    if result["state"] != "measured":
        text = f"{result['state']}: {result.get('message', '')}"[:70]
    elif "seconds" in result:
        rate = (f"{result['flops_per_s'] / 1e12:8.1f} TFLOP/s" if result["flops"]
                else f"{result['bytes_per_s'] / 1e9:8.0f} GB/s   ")
        share = f"{100 * result['roof_share']:5.1f} %" if "roof_share" in result else "      -"
        text = f"{1e6 * result['seconds']:9.1f} us {rate} {share} err {result['error']:.1e}"
    else:
        text = f"err {result['error']:.1e}"
    peers = ", ".join(
        f"{peer} x{values['ratio']:.2f}" if "ratio" in values
        else f"{peer} {1e6 * values['seconds']:.1f} us" if "seconds" in values
        else f"{peer} {values['state']}"
        for peer, values in result.get("peers", {}).items())
    return f"{name:<58} {text}" + (f" | {peers}" if peers else "")


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", default=ROOT / "native/target/cmake/lib/libcaravan.so")
    parser.add_argument("--cuda-library", help="device library to open in place of the one beside --library")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--size", choices=("full", "smoke"), default="full")
    parser.add_argument("--op", action="append", help="only ops whose name begins so; may be repeated")
    parser.add_argument("--samples", type=int, default=11)
    parser.add_argument("--check-only", action="store_true", help="errors, no times")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--time-limit", type=float, default=1e9, help="seconds; no case is begun after them")
    parser.add_argument("--require", action="store_true", help="fail where an op is not built")
    parser.add_argument("--case-limit", type=float, default=60, help="seconds after which a case counts as hung")
    parser.add_argument("--resume", action="store_true", help="leave out what --out has already")
    parser.add_argument("--warm-up", action="store_true", help="only compile the peers")
    parser.add_argument("--out", help="JSON file, written anew after every case")
    return parser.parse_args()


def main():
    chosen = options()
    began = time.monotonic()
    header = pathlib.Path(chosen.library).with_name("caravan.h")
    if not header.is_file():
        header = ROOT / "native/include/caravan/caravan.h"
    library = abi.Library(chosen.library, header, chosen.cuda_library)
    try:
        place = abi.Place(library, chosen.device)
    except abi.Refused as refusal:
        print(refusal)
        return 3
    if place.kind == abi.CPU:
        abi.install_sgemm(library)
    torch._functorch.config.donated_buffer = False  # a backward pass is run many times
    bench = Bench(library, place, chosen)
    document = {
        "bench": "kernels against PyTorch", "device": place.name, "torch": torch.__version__, "size": chosen.size,
        "samples": chosen.samples, "complete": False, "results": []}
    wanted = [case for case in cases.all_cases(chosen.size)
              if not chosen.op or any(case.op.startswith(op) for op in chosen.op)]
    if chosen.warm_up:
        warm_up(bench, wanted)
        return 0
    done = set()
    if chosen.resume and os.path.exists(chosen.out):
        with open(chosen.out, encoding="utf-8") as file:
            document["results"] = json.load(file)["results"]
        done = {(one["op"], one["variant"], one["shape"], one["dtype"]) for one in document["results"]}
    roofs = []
    if not chosen.check_only:
        roofs.append(bench.roof())
        document["roof"] = roofs[0]
        print(f"{place.name}: copy {roofs[0]['copy_bytes_per_s'] / 1e9:.0f} GB/s ({roofs[0]['copy']}), "
              f"bf16 product {roofs[0]['product_flops_per_s'] / 1e12:.1f} TFLOP/s", flush=True)
    bad = 0
    for number, case in enumerate(wanted):
        if (case.op, case.variant, case.shape, case.dtype_name) in done:
            continue
        if time.monotonic() - began > chosen.time_limit:
            document["left_out"] = [one.name for one in wanted[number:]]
            break

        def failed(message, case=case):
            return {"op": case.op, "variant": case.variant, "shape": case.shape, "dtype": case.dtype_name,
                    "bytes": case.bytes, "flops": case.flops, "state": "failed", "message": message}

        def hung(case=case):
            document["results"].append(failed(f"hung: no end after {chosen.case_limit:.0f} s"))
            document["aborted"] = case.name
            if chosen.out:
                write_json(chosen.out, document)

        try:
            with Watch(chosen.case_limit, hung):
                result = bench.measure(case)
        except Exception as error:
            traceback.print_exc()
            result = failed(first_line(error))
            # After such an error nothing on the device can be trusted: another process goes on.
            if place.on_gpu and ("CUDA error" in str(error) or "status 4" in str(error)):
                document["results"].append(result)
                document["aborted"] = case.name
                bad += 1
                break
        if roofs:
            derive(result, roofs[0])
        bad += result["state"] == "failed" or (chosen.require and result["state"] != "measured")
        document["results"].append(result)
        print(line(result), flush=True)
        place.release()
        if place.on_gpu:
            torch.cuda.empty_cache()
        if chosen.out:
            write_json(chosen.out, document)
    if roofs and "aborted" not in document:
        document["roof_after"] = bench.roof()
    document["complete"] = "left_out" not in document and "aborted" not in document
    document["seconds"] = time.monotonic() - began
    if chosen.out:
        write_json(chosen.out, document)
    sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
