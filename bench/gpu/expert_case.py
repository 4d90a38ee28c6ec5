"""Sparse experts: the grouped products against torch's grouped product, and the whole layer against the same layer made of
it, with a sort and a SwiGLU of its own. Routing is by a random router, so experts have about equal rows."""

import torch
import torch.nn.functional as F

from case_base import Case, bits, normal, sample_rows
from expert_layer import SWIGLU, SparseLayer

F32, I32 = torch.float32, torch.int32


def grouped_mm(a, b, offs):
    """torch's product of rows by group: the public name, or the one it had before."""
    return (getattr(F, "grouped_mm", None) or torch._grouped_mm)(a, b, offs=offs)


def sorted_choices(tokens, experts, choices, generator):
    """Distinct random experts of every token, sorted: offsets [E + 1], assignments [A]; on the CPU."""
    chosen = torch.rand((tokens, experts), generator=generator).topk(choices, dim=-1).indices
    flat = chosen.flatten()
    assignments = flat.argsort(stable=True)
    offsets = torch.zeros(experts + 1, dtype=I32)
    offsets[1:] = flat.bincount(minlength=experts).cumsum(0)
    return offsets, assignments.to(I32)


class _Products(Case):
    """Common: rows by expert, of a seed of its own, so that both devices draw the same."""

    def __init__(self, shape, dtype, variant):
        self.tokens, self.width, self.units, self.experts, self.choices = shape
        self.rows = self.tokens * self.choices
        name = f"{self.tokens}x{self.width}x{self.units}, {self.choices} of {self.experts}"
        super().__init__(name, dtype, variant=variant)

    def routed(self, place):
        seed = torch.Generator().manual_seed(self.rows + self.experts)
        offsets, assignments = sorted_choices(self.tokens, self.experts, self.choices, seed)
        return {"offsets": place.put(offsets), "assignments": place.put(assignments)}

    def sources(self, x):
        return x["assignments"].long() // self.choices

    def expert_of(self, x, rows):
        return torch.searchsorted(x["offsets"].long(), rows, right=True) - 1


class GroupedForward(_Products):
    """The first product, rows gathered and SwiGLU behind it ("up"), or the second, rows as they lie ("down")."""

    op = "grouped_matmul_forward"
    outputs = ("out", "act")

    def __init__(self, shape, dtype, up):
        super().__init__(shape, dtype, "up, gathered, swiglu" if up else "down")
        self.up = up
        self.depth, self.columns = (self.width, 2 * self.units) if up else (self.units, self.width)
        self.flops = 2 * self.rows * self.columns * self.depth
        read = self.tokens * self.width if up else self.rows * self.units
        weights = self.experts * self.columns * self.depth
        written = self.rows * (3 * self.units if up else self.width)
        self.bytes = (read + weights + written) * bits(dtype)

    def inputs(self, place, generator):
        x = self.routed(place)
        rows = self.tokens if self.up else self.rows
        x["x"] = normal(place, (rows, self.depth), self.dtype, generator)
        x["w"] = normal(place, (self.experts, self.columns, self.depth), self.dtype, generator, self.depth**-0.5)
        x["out"] = place.empty((self.rows, self.columns), self.dtype)
        if self.up:
            x["act"] = place.empty((self.rows, self.units), self.dtype)
        return x

    def ours(self, library, x):
        fields = {name: value for name, value in x.items() if self.up or name != "assignments"}
        return library.args("caravan_grouped_matmul_forward_args", choices=self.choices if self.up else 1,
                            activation=SWIGLU if self.up else 0, **fields)

    def peers(self, place):
        def product(x):
            weights, ends, sources = x["w"].transpose(-2, -1), x["offsets"][1:], self.sources(x)

            def call():
                if not self.up:
                    return {"out": grouped_mm(x["x"], weights, ends)}
                out = grouped_mm(x["x"][sources], weights, ends)
                gate, up = out.chunk(2, dim=-1)
                return {"out": out, "act": F.silu(gate) * up}

            return call

        return {"torch grouped product": product}

    def reference(self, x):
        rows = sample_rows(self.rows, x["x"], 16)
        taken = self.sources(x)[rows] if self.up else rows
        weights = x["w"][self.expert_of(x, rows)].double()
        out = torch.einsum("rk,rnk->rn", x["x"][taken].double(), weights)
        if not self.up:
            return {"out": (rows, out)}
        gate, up = out.chunk(2, dim=-1)
        return {"out": (rows, out), "act": (rows, F.silu(gate) * up)}


class GroupedBackward(_Products):
    """Back through the second product and SwiGLU."""

    op = "grouped_matmul_backward"
    outputs = ("d_h", "act", "d_weights")

    def __init__(self, shape, dtype):
        super().__init__(shape, dtype, "swiglu")
        self.flops = 2 * self.rows * self.width * self.units
        weights = self.experts * self.width * self.units
        self.bytes = (self.tokens * self.width + weights + self.rows * 5 * self.units) * bits(dtype)

    def inputs(self, place, generator):
        x = self.routed(place)
        x["d_y"] = normal(place, (self.tokens, self.width), self.dtype, generator)
        x["w"] = normal(place, (self.experts, self.width, self.units), self.dtype, generator, self.width**-0.5)
        x["weights"] = normal(place, (self.tokens, self.choices), F32, generator)
        x["h"] = normal(place, (self.rows, 2 * self.units), self.dtype, generator)
        x["d_h"] = place.empty((self.rows, 2 * self.units), self.dtype)
        x["act"] = place.empty((self.rows, self.units), self.dtype)
        x["d_weights"] = place.empty((self.rows,), F32)
        return x

    def ours(self, library, x):
        return library.args("caravan_grouped_matmul_backward_args", activation=SWIGLU, **x)

    def by_hand(self, x, sources, slope):
        """What a gradient of act [rows, units], before its weight, makes of h."""
        gate, up = x["h"].to(slope.dtype).chunk(2, dim=-1)
        weight = x["weights"].flatten()[x["assignments"].long()].to(slope.dtype)[:, None]
        share = torch.sigmoid(gate)
        silu = gate * share
        scaled = slope * weight
        d_gate = scaled * up * (share + silu * (1 - share))
        return {"d_h": torch.cat((d_gate, scaled * silu), -1), "act": silu * up * weight,
                "d_weights": (slope * silu * up).sum(-1)}

    def peers(self, place):
        def product(x):
            sources, ends = self.sources(x), x["offsets"][1:]
            return lambda: self.by_hand(x, sources, grouped_mm(x["d_y"][sources], x["w"], ends))

        return {"torch grouped product": product}

    def reference(self, x):
        rows = sample_rows(self.rows, x["h"], 16)
        weights = x["w"][self.expert_of(x, rows)].double()
        slope = torch.einsum("rk,rkn->rn", x["d_y"][self.sources(x)[rows]].double(), weights)
        few = {"h": x["h"][rows], "weights": x["weights"], "assignments": x["assignments"][rows]}
        return {name: (rows, value) for name, value in self.by_hand(few, None, slope).items()}


class GroupedOuter(_Products):
    """The gradient of the first weights, rows of x gathered; ours adds in float32, the peer writes its storage."""

    op = "grouped_outer_forward"
    outputs = ("c",)
    accumulates = ("c",)

    def __init__(self, shape, dtype):
        super().__init__(shape, dtype, "up, gathered")
        self.flops = 4 * self.rows * self.units * self.width
        weights = self.experts * 2 * self.units * self.width
        self.bytes = (self.rows * 2 * self.units + self.tokens * self.width) * bits(dtype) + 8 * weights

    def inputs(self, place, generator):
        x = self.routed(place)
        x["a"] = normal(place, (self.rows, 2 * self.units), self.dtype, generator)
        x["b"] = normal(place, (self.tokens, self.width), self.dtype, generator)
        x["c"] = place.empty((self.experts, 2 * self.units, self.width), F32)
        return x

    def ours(self, library, x):
        return library.args("caravan_grouped_outer_args", choices=self.choices, gather_b=1, **x)

    def peers(self, place):
        def product(x):
            sources, ends = self.sources(x), x["offsets"][1:]
            return lambda: {"c": grouped_mm(x["a"].t(), x["b"][sources], ends)}

        return {"torch grouped product": product}

    def reference(self, x):
        first, last = 0, self.experts - 1
        sources, offsets = self.sources(x), x["offsets"].tolist()
        out = []
        for expert in (first, last):
            rows = slice(offsets[expert], offsets[expert + 1])
            out.append(x["a"][rows].double().t() @ x["b"][sources[rows]].double())
        return {"c": (torch.tensor([first, last], device=x["a"].device), torch.stack(out))}


def torch_layer(x, router, gate_up, down, choices):
    """The layer of torch's grouped product, with a sort, without a copy to the host."""
    probability = torch.softmax(F.linear(x.float(), router.float()), -1)
    weights, chosen = probability.topk(choices, dim=-1)
    weights = weights / weights.sum(-1, keepdim=True)
    flat = chosen.flatten()
    by_expert, order = flat.sort(stable=True)
    ends = torch.searchsorted(by_expert, torch.arange(len(gate_up), device=x.device), right=True).to(I32)
    gate, up = grouped_mm(x[order // choices], gate_up.transpose(-2, -1), ends).chunk(2, dim=-1)
    out = grouped_mm(F.silu(gate) * up, down.transpose(-2, -1), ends)
    back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=x.device))
    out = out[back].view(len(x), choices, -1)
    return (out * weights.to(out.dtype)[..., None]).sum(1)


class Layer(Case):
    """Forward and backward, or its forward, or all of its ops but the grouped products, for their share."""

    op = "experts"
    outputs = SparseLayer.RESULTS
    accumulates = SparseLayer.RESULTS[2:]
    AROUND = ("router", "sort", "combine")

    def __init__(self, shape, dtype, part):
        self.tokens, self.width, self.units, self.experts, self.choices = shape
        name = f"{self.tokens}x{self.width}x{self.units}, {self.choices} of {self.experts}"
        super().__init__(name, dtype, variant=part)
        self.part = part
        forward = 6 * self.tokens * self.choices * self.width * self.units
        self.flops = {"layer": 3 * forward, "layer forward": forward, "around the products": 0}[part]
        # At the least: x, d_y, y, d_x; all rows' h once each way where it is kept; weights, and their gradients.
        weights = 3 * self.experts * self.width * self.units
        kept = self.tokens * self.choices * 2 * self.units
        self.bytes = (4 * self.tokens * self.width + 4 * kept + 2 * weights) * bits(dtype) + 8 * weights
        if part == "around the products":  # rows of both combines, their sums, x and its gradient
            self.bytes = (2 * self.choices + 4) * self.tokens * self.width * bits(dtype)
        if part != "layer":
            self.outputs = ("y",)
            self.accumulates = ()

    def inputs(self, place, generator):
        scale = self.width**-0.5
        x = {"x": normal(place, (self.tokens, self.width), self.dtype, generator)}
        x["router"] = normal(place, (self.experts, self.width), self.dtype, generator, scale)
        x["gate_up"] = normal(place, (self.experts, 2 * self.units, self.width), self.dtype, generator, scale)
        x["down"] = normal(place, (self.experts, self.width, self.units), self.dtype, generator, self.units**-0.5)
        x["d_y"] = normal(place, (self.tokens, self.width), self.dtype, generator)
        results = SparseLayer.results(place, x["x"], x["router"], x["gate_up"], x["down"])
        for name in SparseLayer.RESULTS[2:]:
            results[name].zero_()
        return {**x, **results}

    def prepare(self, library, place, x):
        given = [x[name] for name in ("x", "router", "gate_up", "down", "d_y")]
        results = {name: x[name] for name in SparseLayer.RESULTS}
        layer = SparseLayer(library, place, *given, self.choices, results)
        if self.part == "layer forward":
            return layer.forward
        if self.part == "around the products":
            layer.forward()  # its rows are what both combines add up
            forward, backward = layer.forward.only(*self.AROUND), layer.backward.only(*self.AROUND)
        else:
            forward, backward = layer.forward, layer.backward

        def call():
            forward()
            backward()

        return call

    def peers(self, place):
        if self.part == "around the products":
            return {}

        def layer(x):
            weights = [x[name] for name in ("router", "gate_up", "down")]

            def forward():
                with torch.no_grad():
                    return {"y": torch_layer(x["x"], *weights, self.choices)}

            def both():
                leaves = [value.detach().requires_grad_() for value in (x["x"], *weights)]
                y = torch_layer(*leaves, self.choices)
                return dict(zip(SparseLayer.RESULTS, (y.detach(), *torch.autograd.grad(y, leaves, x["d_y"]))))

            return both if self.part == "layer" else forward

        return {"torch grouped product, sort": layer}

    def reference(self, x):
        """y and d_x of some tokens, each of them alone: by definition."""
        rows = sample_rows(self.tokens, x["x"], 8)
        leaf = x["x"][rows].double().requires_grad_()
        probability = torch.softmax(leaf @ x["router"].double().t(), -1)
        weights, chosen = probability.topk(self.choices, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        y = torch.zeros_like(leaf)
        for place, experts in enumerate(chosen.tolist()):
            for choice, expert in enumerate(experts):
                gate, up = (x["gate_up"][expert].double() @ leaf[place]).chunk(2)
                out = x["down"][expert].double() @ (F.silu(gate) * up)
                y = y + torch.zeros_like(y).index_add(0, torch.tensor([place], device=y.device),
                                                      (weights[place, choice] * out)[None])
        (d_x,) = torch.autograd.grad(y, leaf, x["d_y"][rows].double())
        return {"y": (rows, y.detach()), "d_x": (rows, d_x)}


def cases(size):
    """Most valuable first."""
    shapes, bf16 = size.experts, torch.bfloat16
    first, second = shapes[0], shapes[1]
    found = [
        Layer(second, bf16, "layer"),
        GroupedForward(second, bf16, True),
        GroupedForward(second, bf16, False),
        GroupedBackward(second, bf16),
        GroupedOuter(second, bf16),
        Layer(second, bf16, "layer forward"),
        Layer(second, bf16, "around the products"),
        GroupedForward(first, bf16, True),
        Layer(first, bf16, "layer"),
        Layer(first, bf16, "around the products"),
    ]
    return found + [Layer(shape, bf16, "layer") for shape in shapes[2:]]
