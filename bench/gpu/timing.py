"""Times calls against each other: in turns, in the same run, by the same clock, over rotating inputs."""

import statistics
import time

import torch


class GpuRunner:
    """Calls over all input sets, recorded once as a CUDA graph where that works, so that gaps between launches, and
    Python, stay out of the figure. Ours and PyTorch's are recorded and replayed in the same way on the same stream."""

    def __init__(self, place, calls, record=True):
        self.stream = place.torch_stream
        self.calls = calls
        self.graph = None
        self.error = ""
        self.repeats = 1
        with torch.cuda.stream(self.stream):
            for _ in range(2):
                for call in calls:
                    call()
            self.stream.synchronize()
            if record:
                self.record()
        torch.cuda.synchronize()
        first = self.sample()
        self.repeats = max(1, min(200, round(0.003 / max(first * len(calls), 1e-6))))

    def record(self):
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="relaxed"):
                for call in self.calls:
                    call()
            self.graph = graph
        except Exception as error:  # some calls cannot be recorded: they are launched one by one
            self.error = str(error).splitlines()[0] if str(error) else type(error).__name__

    def sample(self):
        """Seconds of one call, the mean over the sets."""
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with torch.cuda.stream(self.stream):
            begin.record(self.stream)
            for _ in range(self.repeats):
                if self.graph is not None:
                    self.graph.replay()
                else:
                    for call in self.calls:
                        call()
            end.record(self.stream)
        end.synchronize()
        return begin.elapsed_time(end) / 1e3 / (self.repeats * len(self.calls))


class HostRunner:
    """For the CPU and the emulation, whose calls have finished when they return."""

    def __init__(self, place, calls, record=True):
        self.place = place
        self.calls = calls
        self.graph = None
        self.error = ""
        for call in calls:
            call()

    def sample(self):
        begin = time.perf_counter()
        for call in self.calls:
            call()
        self.place.synchronize()
        return (time.perf_counter() - begin) / len(self.calls)


def runner(place, calls, record=True):
    return (GpuRunner if place.on_gpu else HostRunner)(place, calls, record)


def medians(runners, samples):
    """Name -> median, least and greatest seconds; one sample of each in turn."""
    seen = {name: [] for name in runners}
    for _ in range(samples):
        for name, one in runners.items():
            seen[name].append(one.sample())
    return {
        name: {
            "seconds": statistics.median(values),
            "least": min(values),
            "most": max(values),
            "launch": "graph" if runners[name].graph is not None else "plain",
            **({"launch_note": runners[name].error} if runners[name].error else {}),
        }
        for name, values in seen.items()
    }


def roof(place, samples, ours, small=False):
    """What this device does at best: bytes a second of a copy (read and written) and FLOP/s of a large bf16 product, on
    random data. The copy is the fastest of several, over buffers in turn that no cache holds: PyTorch's copy_, launched
    and recorded (recorded it is a copy node, which may run on the slower copy engine); a kernel of PyTorch's that reads
    and writes as much; and `ours`, name -> (bytes, calls), kernels of Caravan that only move."""
    count, side = ((1 << 20), 256) if small else ((1 << 28), 8192)
    with_stream = torch.cuda.stream(place.torch_stream) if place.on_gpu else _Nothing()
    with with_stream:
        pairs = [
            tuple(torch.empty(count, dtype=torch.bfloat16, device=place.torch_device).normal_() for _ in range(2))
            for _ in range(3)]
        a, b = (torch.empty((side, side), dtype=torch.bfloat16, device=place.torch_device).normal_() for _ in range(2))
        c = torch.empty_like(a)
    copies = [lambda x=x, y=y: y.copy_(x) for x, y in pairs]
    kernels = [lambda x=x, y=y: torch.neg(x, out=y) for x, y in pairs]
    moved = 4 * count
    candidates = {
        "torch copy_": (moved, runner(place, copies, record=False)),
        "torch copy_ recorded": (moved, runner(place, copies)),
        "torch neg": (moved, runner(place, kernels)),
        **{name: (size, runner(place, calls)) for name, (size, calls) in ours.items()},
    }
    runners = {name: one for name, (_, one) in candidates.items()}
    result = medians({**runners, "product": runner(place, [lambda: torch.matmul(a, b, out=c)])}, samples)
    rates = {name: size / result[name]["seconds"] for name, (size, _) in candidates.items()}
    best = max(rates, key=rates.get)
    return {
        "copy_bytes_per_s": rates[best],
        "copy": best,
        "copies_bytes_per_s": rates,
        "product_flops_per_s": 2 * side**3 / result["product"]["seconds"],
        "product": f"{side}x{side}x{side} bf16",
    }


class _Nothing:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False
