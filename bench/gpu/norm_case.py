"""RMSNorm of whole rows, and of a half of every row, the sums over whole rows given; row_dot, which makes them."""

import torch
import torch.nn.functional as F

from case_base import Case, bits, compiled, gradient, normal, sample_rows

BF16, F32, F64 = torch.bfloat16, torch.float32, torch.float64


class RmsnormForward(Case):
    op = "rmsnorm_forward"

    def __init__(self, rows, width, dtype, residual=False):
        super().__init__(f"{rows}x{width}", dtype, variant="residual" if residual else "")
        self.rows, self.width, self.residual = rows, width, residual
        tensors = 4 if residual else 2
        self.bytes = rows * width * bits(dtype) * tensors + rows * 4

    def inputs(self, place, generator):
        x = {"x": normal(place, (self.rows, self.width), self.dtype, generator)}
        x["weight"] = normal(place, (self.width,), self.dtype, generator)
        if self.residual:
            x["residual"] = normal(place, (self.rows, self.width), self.dtype, generator)
            x["sum"] = place.empty((self.rows, self.width), self.dtype)
        x["y"] = place.empty((self.rows, self.width), self.dtype)
        x["rstd"] = place.empty((self.rows,), F32)
        return x

    outputs = ("y", "sum", "rstd")

    def ours(self, library, x):
        return library.args("caravan_rmsnorm_forward_args", eps=1e-5, **x)

    def plain(self, x):
        h = x["x"] + x["residual"] if self.residual else x["x"]
        y = F.rms_norm(h, (self.width,), x["weight"], 1e-5)
        return {"y": y, "sum": h} if self.residual else {"y": y}

    def peers(self, place):
        def unfused(x):
            return self.plain(x)

        def by_hand(x):
            h = x["x"] + x["residual"] if self.residual else x["x"]
            wide = h.float()
            y = (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)).to(h.dtype) * x["weight"]
            return {"y": y, "sum": h} if self.residual else {"y": y}

        fused = compiled(by_hand)
        return {"torch eager": lambda x: lambda: unfused(x), "torch.compile": lambda x: lambda: fused(x)}

    def reference(self, x):
        rows = sample_rows(self.rows, x["x"])
        h = x["x"][rows].double()
        if self.residual:
            h = h + x["residual"][rows].double()
        rstd = torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-5)
        out = {"y": (rows, h * rstd * x["weight"].double())}
        if self.residual:
            out["sum"] = (rows, h)
        return out


class RmsnormBackward(Case):
    op = "rmsnorm_backward"
    workspace = "caravan_rmsnorm_backward_workspace"
    accumulates = ("d_weight",)
    outputs = ("d_x", "d_weight")

    def __init__(self, rows, width, dtype):
        super().__init__(f"{rows}x{width}", dtype)
        self.rows, self.width = rows, width
        self.bytes = rows * width * bits(dtype) * 3 + rows * 4

    def inputs(self, place, generator):
        shape = (self.rows, self.width)
        x = {name: normal(place, shape, self.dtype, generator) for name in ("d_y", "x")}
        x["weight"] = normal(place, (self.width,), self.dtype, generator)
        x["rstd"] = place.put(torch.rsqrt(x["x"].double().pow(2).mean(-1) + 1e-5).float())
        x["d_x"] = place.empty(shape, self.dtype)
        x["d_weight"] = place.empty((self.width,), F32)
        return x

    def ours(self, library, x):
        return library.args("caravan_rmsnorm_backward_args", **x)

    def peers(self, place):
        def forward(h, weight):
            return F.rms_norm(h, (self.width,), weight, 1e-5)

        def by_hand(h, weight):
            wide = h.float()
            return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)).to(h.dtype) * weight

        fused = compiled(by_hand)
        names = ("d_x", "d_weight")
        return {
            "torch eager": lambda x: gradient(forward, (x["x"], x["weight"]), x["d_y"], names),
            "torch.compile": lambda x: gradient(fused, (x["x"], x["weight"]), x["d_y"], names),
        }

    def reference(self, x):
        rows = sample_rows(self.rows, x["x"])
        d_weight = torch.zeros(self.width, dtype=F64, device=x["x"].device)
        for first in range(0, self.rows, 4096):
            part = slice(first, first + 4096)
            d_weight += (x["d_y"][part].double() * x["x"][part].double() * x["rstd"][part, None].double()).sum(0)
        g = x["d_y"][rows].double() * x["weight"].double()
        rstd = x["rstd"][rows, None].double()
        n = x["x"][rows].double() * rstd
        return {"d_x": (rows, rstd * (g - n * (g * n).mean(-1, keepdim=True))), "d_weight": (None, d_weight)}


class RowDot(Case):
    op = "row_dot_forward"
    outputs = ("out",)

    def __init__(self, rows, width, dtype):
        super().__init__(f"{rows}x{width}", dtype)
        self.rows, self.width = rows, width
        self.bytes = rows * width * bits(dtype) * 2 + rows * 4

    def inputs(self, place, generator):
        x = {name: normal(place, (self.rows, self.width), self.dtype, generator) for name in ("a", "b")}
        x["weight"] = normal(place, (self.width,), self.dtype, generator)
        x["out"] = place.empty((self.rows,), F32)
        return x

    def ours(self, library, x):
        return library.args("caravan_row_dot_args", **x)

    def peers(self, place):
        def eager(x):
            return {"out": (x["a"].float() * x["b"].float() * x["weight"].float()).sum(-1)}

        fused = compiled(eager)
        return {"torch eager": lambda x: lambda: eager(x), "torch.compile": lambda x: lambda: fused(x)}

    def reference(self, x):
        rows = sample_rows(self.rows, x["a"])
        return {"out": (rows, (x["a"][rows].double() * x["b"][rows].double() * x["weight"].double()).sum(-1))}


def _squares(x):
    """Those of whole rows of which x is a half, the other of the same size."""
    return 2 * x.double().pow(2).sum(-1)


class RmsnormHalfForward(Case):
    op = "rmsnorm_forward"
    outputs = ("y", "rstd")

    def __init__(self, rows, width, dtype):
        super().__init__(f"{rows}x{width}", dtype, variant="half")
        self.rows, self.width = rows, width
        self.bytes = rows * width * bits(dtype) * 2 + rows * 8

    def inputs(self, place, generator):
        x = {"x": normal(place, (self.rows, self.width), self.dtype, generator)}
        x["weight"] = normal(place, (self.width,), self.dtype, generator)
        x["squares"] = place.put(_squares(x["x"]).float())
        x["y"] = place.empty((self.rows, self.width), self.dtype)
        x["rstd"] = place.empty((self.rows,), F32)
        return x

    def ours(self, library, x):
        return library.args("caravan_rmsnorm_forward_args", eps=1e-5, whole=2 * self.width, **x)

    def peers(self, place):
        def eager(x):
            rstd = torch.rsqrt(x["squares"] / (2 * self.width) + 1e-5)
            return {"y": (x["x"].float() * rstd[:, None]).to(x["x"].dtype) * x["weight"], "rstd": rstd}

        fused = compiled(eager)
        return {"torch eager": lambda x: lambda: eager(x), "torch.compile": lambda x: lambda: fused(x)}

    def reference(self, x):
        rows = sample_rows(self.rows, x["x"])
        rstd = torch.rsqrt(x["squares"][rows].double() / (2 * self.width) + 1e-5)
        return {"y": (rows, x["x"][rows].double() * rstd[:, None] * x["weight"].double()), "rstd": (rows, rstd)}


class RmsnormHalfBackward(Case):
    op = "rmsnorm_backward"
    workspace = "caravan_rmsnorm_backward_workspace"
    accumulates = ("d_weight",)
    outputs = ("d_x", "d_weight")

    def __init__(self, rows, width, dtype):
        super().__init__(f"{rows}x{width}", dtype, variant="half")
        self.rows, self.width = rows, width
        self.bytes = rows * width * bits(dtype) * 3 + rows * 8

    def inputs(self, place, generator):
        shape = (self.rows, self.width)
        x = {name: normal(place, shape, self.dtype, generator) for name in ("d_y", "x")}
        x["weight"] = normal(place, (self.width,), self.dtype, generator)
        x["rstd"] = place.put(torch.rsqrt(_squares(x["x"]) / (2 * self.width) + 1e-5).float())
        x["dots"] = place.put(2 * (x["d_y"].float() * x["weight"].float() * x["x"].float()).sum(-1))
        x["d_x"] = place.empty(shape, self.dtype)
        x["d_weight"] = place.empty((self.width,), F32)
        return x

    def ours(self, library, x):
        return library.args("caravan_rmsnorm_backward_args", whole=2 * self.width, **x)

    def _gradients(self, x, wide, rows=slice(None)):
        rstd = wide(x["rstd"][rows])[:, None]
        normal_x = wide(x["x"][rows]) * rstd
        mean = wide(x["dots"][rows])[:, None] * rstd / (2 * self.width)
        d_y = wide(x["d_y"][rows])
        return (d_y * wide(x["weight"]) - normal_x * mean) * rstd, d_y * normal_x

    def peers(self, place):
        def eager(x):
            d_x, terms = self._gradients(x, torch.Tensor.float)
            return {"d_x": d_x.to(self.dtype), "d_weight": terms.sum(0)}

        fused = compiled(eager)
        return {"torch eager": lambda x: lambda: eager(x), "torch.compile": lambda x: lambda: fused(x)}

    def reference(self, x):
        d_weight = torch.zeros(self.width, dtype=F64, device=x["x"].device)
        for first in range(0, self.rows, 4096):
            d_weight += self._gradients(x, torch.Tensor.double, slice(first, first + 4096))[1].sum(0)
        rows = sample_rows(self.rows, x["x"])
        return {"d_x": (rows, self._gradients(x, torch.Tensor.double, rows)[0]), "d_weight": (None, d_weight)}
