"""What the cases share."""

import dataclasses

import torch


def bits(dtype):
    """Bytes of one element."""
    return torch.empty((), dtype=dtype).element_size()


def normal(place, shape, dtype, generator, scale=1.0):
    """Fresh random data: hardware runs faster on constants than on what training sees."""
    if place.emulated:
        return place.put((torch.randn(shape, generator=generator) * scale).to(dtype))
    value = torch.empty(shape, dtype=dtype, device=place.torch_device)
    return value.normal_(0.0, scale, generator=generator)


def sample_rows(count, like, most=64):
    """Which rows are compared with the float64 reference: the first, the last and others between."""
    if count <= most:
        return torch.arange(count, device=like.device)
    picked = torch.randperm(count, generator=torch.Generator().manual_seed(count))[:most]
    picked[0], picked[1] = 0, count - 1
    return picked.unique().to(like.device)


def compiled(function):
    """torch.compile with this case's exact shapes."""
    return torch.compile(function, dynamic=False)


def gradient(forward, inputs, upstream, names):
    """A call of the backward pass alone; the forward pass is done here."""
    leaves = [value.detach().requires_grad_() for value in inputs]
    out = forward(*leaves)

    def call():
        return dict(zip(names, torch.autograd.grad(out, leaves, upstream, retain_graph=True)))

    return call


class Case:
    """One op at one shape.

    bytes and flops are the least it can do; a case with flops is held against the measured product, others against the
    measured copy. `outputs` are overwritten, `accumulates` are added to (zeroed before the checked run), `in_place` are
    inputs too."""

    op = ""
    outputs = ()
    accumulates = ()
    in_place = ()
    workspace = ""
    flops = 0
    bytes = 0

    def __init__(self, shape, dtype, variant=""):
        self.shape = shape
        self.dtype = dtype
        self.variant = variant

    @property
    def dtype_name(self):
        return "bf16" if self.dtype == torch.bfloat16 else "f32"

    @property
    def name(self):
        return " ".join(filter(None, (self.op, self.variant, self.shape, self.dtype_name)))

    def inputs(self, place, generator):
        raise NotImplementedError

    def ours(self, library, x):
        raise NotImplementedError

    def prepare(self, library, place, x):
        """Our call on these inputs, with a workspace where the op wants one."""
        block = self.ours(library, x)
        if self.workspace:
            size = library.workspace_bytes(self.workspace, place.kind, block)
            if size:
                x["workspace"] = place.empty((size,), torch.uint8)
                block = self.ours(library, x)
        return place.prepare(self.op, block)

    def peers(self, place):
        return {}

    def reference(self, x):
        raise NotImplementedError

    def result(self, library, x):
        """Our outputs after the call."""
        return {name: x[name] for name in self.outputs if name in x}

    def pick(self, name, value):
        """The part of an output that `reference` covers, before rows are taken."""
        return value


@dataclasses.dataclass(frozen=True)
class Size:
    rows: int
    width: int
    feed_forward: int
    vocabulary: int
    loss_rows: int
    heads: int
    kv_heads: int
    head_width: int
    head_widths: tuple
    parameters: int
    attention_tokens: int
    attention_lengths: tuple
    products: tuple
    experts: tuple  # tokens, width, units, experts, choices

    @staticmethod
    def of(name):
        return _SIZES[name]


_SIZES = {
    # LLaMA-3-8B's widths; attention at 64 query and 8 key heads.
    "full": Size(
        16384, 4096, 14336, 128256, 4096, 32, 8, 128, (128, 64), 1 << 28, 16384, (16384, 8192, 4096, 2048),
        ((8192, 8192, 8192), (16384, 4096, 4096), (16384, 14336, 4096), (16384, 4096, 14336), (4096, 128256, 4096)),
        # Those of SonicMoE's figures (Guo et al. 2025, arXiv 2512.14080), the first Qwen3-30B-A3B's.
        ((32768, 2048, 768, 128, 8), (32768, 4096, 1024, 64, 4), (24576, 1536, 256, 128, 8), (24576, 1536, 1024, 32, 2))),
    # For a CPU: proves the drivers, measures nothing.
    "smoke": Size(
        64, 96, 160, 500, 12, 4, 2, 16, (16, 32), 5000, 96, (96, 48), ((33, 40, 24), (17, 64, 48)),
        ((40, 16, 24, 5, 2), (9, 32, 8, 3, 3))),
}
