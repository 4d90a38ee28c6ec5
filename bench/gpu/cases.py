"""What is measured: for every op its inputs, our call, the peers in PyTorch, the float64 reference, and what it has to
move or compute at the least."""

import torch
import torch.nn.functional as F

import attention_case
import expert_case
import matmul_case
import norm_case
import optimizer_case
from case_base import Case, Size, bits, compiled, gradient, normal, sample_rows

BF16, F32, F64 = torch.bfloat16, torch.float32, torch.float64


# ----------------------------------------------------------------------------------------- gated units


def _gate(kind, gate):
    return F.silu(gate) if kind == "swiglu" else F.gelu(gate)


class GluForward(Case):
    outputs = ("out",)

    def __init__(self, kind, rows, width, dtype):
        self.op = f"{kind}_forward"
        super().__init__(f"{rows}x{width}", dtype)
        self.kind, self.rows, self.width = kind, rows, width
        self.bytes = rows * width * bits(dtype) * 3

    def inputs(self, place, generator):
        shape = (self.rows, self.width)
        x = {name: normal(place, shape, self.dtype, generator) for name in ("gate", "up")}
        x["out"] = place.empty(shape, self.dtype)
        return x

    def ours(self, library, x):
        return library.args("caravan_glu_forward_args", **x)

    def peers(self, place):
        def eager(x):
            return {"out": _gate(self.kind, x["gate"]) * x["up"]}

        fused = compiled(eager)
        return {"torch eager": lambda x: lambda: eager(x), "torch.compile": lambda x: lambda: fused(x)}

    def reference(self, x):
        rows = sample_rows(self.rows, x["up"])
        return {"out": (rows, _gate(self.kind, x["gate"][rows].double()) * x["up"][rows].double())}


class GluBackward(Case):
    outputs = ("d_gate", "d_up")

    def __init__(self, kind, rows, width, dtype):
        self.op = f"{kind}_backward"
        super().__init__(f"{rows}x{width}", dtype)
        self.kind, self.rows, self.width = kind, rows, width
        self.bytes = rows * width * bits(dtype) * 5

    def inputs(self, place, generator):
        shape = (self.rows, self.width)
        x = {name: normal(place, shape, self.dtype, generator) for name in ("d_out", "gate", "up")}
        x.update({name: place.empty(shape, self.dtype) for name in self.outputs})
        return x

    def ours(self, library, x):
        return library.args("caravan_glu_backward_args", **x)

    def peers(self, place):
        def forward(gate, up):
            return _gate(self.kind, gate) * up

        fused = compiled(forward)
        return {
            "torch eager": lambda x: gradient(forward, (x["gate"], x["up"]), x["d_out"], self.outputs),
            "torch.compile": lambda x: gradient(fused, (x["gate"], x["up"]), x["d_out"], self.outputs),
        }

    def reference(self, x):
        rows = sample_rows(self.rows, x["up"])
        gate, up = (x[name][rows].double().requires_grad_() for name in ("gate", "up"))
        d_gate, d_up = torch.autograd.grad(_gate(self.kind, gate) * up, (gate, up), x["d_out"][rows].double())
        return {"d_gate": (rows, d_gate), "d_up": (rows, d_up)}


# ----------------------------------------------------------------------------------------- rope


class Rope(Case):
    outputs = ("y",)

    def __init__(self, direction, tokens, heads, width, dtype):
        self.op = f"rope_{direction}"
        super().__init__(f"{tokens}x{heads}x{width}", dtype)
        self.sign = 1 if direction == "forward" else -1
        self.tokens, self.heads, self.width = tokens, heads, width
        self.bytes = tokens * heads * width * bits(dtype) * 2 + tokens * (4 + width * 4)

    def inputs(self, place, generator):
        shape = (self.tokens, self.heads, self.width)
        angles = torch.outer(
            torch.arange(self.tokens, dtype=F64),
            500000.0 ** (-torch.arange(0, self.width, 2, dtype=F64) / self.width))
        return {
            "x": normal(place, shape, self.dtype, generator),
            "y": place.empty(shape, self.dtype),
            "positions": place.put(torch.arange(self.tokens, dtype=torch.int32)),
            "cos": place.put(angles.cos().float()),
            "sin": place.put(angles.sin().float()),
        }

    def ours(self, library, x):
        return library.args("caravan_rope_args", layout=0, **x)

    def _rotate(self, x, wide):
        positions = x["positions"].long()
        cos, sin = (wide(x[name][positions]).unsqueeze(1) for name in ("cos", "sin"))
        left, right = wide(x["x"]).chunk(2, dim=-1)
        sin = self.sign * sin
        return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)

    def peers(self, place):
        def eager(x):
            return {"y": self._rotate(x, lambda t: t.float()).to(self.dtype)}

        fused = compiled(eager)
        return {"torch eager": lambda x: lambda: eager(x), "torch.compile": lambda x: lambda: fused(x)}

    def reference(self, x):
        rows = sample_rows(self.tokens, x["x"])
        part = dict(x, x=x["x"][rows], positions=x["positions"][rows])
        return {"y": (rows, self._rotate(part, lambda t: t.double()))}


# ----------------------------------------------------------------------------------------- cross-entropy


class CrossEntropy(Case):
    op = "cross_entropy_forward"
    outputs = ("logits", "nll")
    in_place = ("logits",)

    def __init__(self, rows, vocabulary, dtype):
        super().__init__(f"{rows}x{vocabulary}", dtype, variant="loss and gradient")
        self.rows, self.vocabulary = rows, vocabulary
        self.bytes = rows * vocabulary * bits(dtype) * 2

    def inputs(self, place, generator):
        targets = torch.randint(self.vocabulary, (self.rows,), generator=generator, device=generator.device)
        return {
            "logits": normal(place, (self.rows, self.vocabulary), self.dtype, generator, scale=2.0),
            "targets": place.put(targets.int()),
            "count": place.put(torch.tensor([self.rows], dtype=torch.int32)),
            "nll": place.empty((self.rows,), F32),
            "state": step_state(place, inv_targets=1 / self.rows),
        }

    def ours(self, library, x):
        return library.args("caravan_cross_entropy_args", gradient=1, **x)

    def peers(self, place):
        def loss(logits, targets):
            return F.cross_entropy(logits.float(), targets, reduction="none")

        fused = compiled(loss)

        def run(of, x):
            logits, targets = x["logits"].detach().requires_grad_(), x["targets"].long()
            upstream = torch.full((self.rows,), 1 / self.rows, device=logits.device)

            def call():
                nll = of(logits, targets)
                return {"logits": torch.autograd.grad(nll, logits, upstream)[0], "nll": nll.detach()}

            return call

        return {"torch eager": lambda x: run(loss, x), "torch.compile": lambda x: run(fused, x)}

    def reference(self, x):
        rows = sample_rows(self.rows, x["logits"])
        logits, targets = x["logits"][rows].double(), x["targets"][rows].long()
        probability = torch.softmax(logits, -1)
        probability[torch.arange(len(targets), device=targets.device), targets] -= 1
        nll = F.cross_entropy(logits, targets, reduction="none")
        return {"logits": (rows, probability / self.rows), "nll": (rows, nll)}


class ClassStatistics(Case):
    op = "class_statistics_forward"
    outputs = ("statistics",)

    def __init__(self, rows, part, classes, dtype):
        super().__init__(f"{rows}x{part}", dtype, variant=f"of {classes} classes")
        self.rows, self.part, self.classes = rows, part, classes
        self.bytes = rows * part * bits(dtype)

    def inputs(self, place, generator):
        targets = torch.randint(self.part, (self.rows,), generator=generator, device=generator.device)
        return {
            "logits": normal(place, (self.rows, self.part), self.dtype, generator, scale=2.0),
            "targets": place.put(targets.int()),
            "count": place.put(torch.tensor([self.rows], dtype=torch.int32)),
            "statistics": place.empty((self.rows, 3), F32),
        }

    def ours(self, library, x):
        return library.args("caravan_class_statistics_args", classes=self.classes, **x)

    @staticmethod
    def _statistics(logits, targets):
        most = logits.max(-1, keepdim=True).values
        return torch.cat((most, torch.exp(logits - most).sum(-1, keepdim=True), logits.gather(-1, targets[:, None])), -1)

    def peers(self, place):
        def eager(x):
            return {"statistics": self._statistics(x["logits"].float(), x["targets"].long())}

        fused = compiled(eager)
        return {"torch eager": lambda x: lambda: eager(x), "torch.compile": lambda x: lambda: fused(x)}

    def reference(self, x):
        rows = sample_rows(self.rows, x["logits"])
        return {"statistics": (rows, self._statistics(x["logits"][rows].double(), x["targets"][rows].long()))}


# ----------------------------------------------------------------------------------------- elementwise


class Add(Case):
    op = "add_forward"
    outputs = ("out",)

    def __init__(self, rows, width, dtype):
        super().__init__(f"{rows}x{width}", dtype)
        self.rows, self.width = rows, width
        self.bytes = rows * width * bits(dtype) * 3

    def inputs(self, place, generator):
        shape = (self.rows, self.width)
        x = {name: normal(place, shape, self.dtype, generator) for name in ("a", "b")}
        x["out"] = place.empty(shape, self.dtype)
        return x

    def ours(self, library, x):
        return library.args("caravan_add_args", **x)

    def peers(self, place):
        return {"torch eager": lambda x: lambda: {"out": x["a"] + x["b"]}}

    def reference(self, x):
        rows = sample_rows(self.rows, x["a"])
        return {"out": (rows, x["a"][rows].double() + x["b"][rows].double())}


class Cast(Case):
    op = "cast_forward"
    outputs = ("out",)

    def __init__(self, rows, width, dtype, to):
        super().__init__(f"{rows}x{width}", dtype, variant=f"to {'bf16' if to == BF16 else 'f32'}")
        self.rows, self.width, self.to = rows, width, to
        self.bytes = rows * width * (bits(dtype) + bits(to))

    def inputs(self, place, generator):
        shape = (self.rows, self.width)
        return {"x": normal(place, shape, self.dtype, generator), "out": place.empty(shape, self.to)}

    def ours(self, library, x):
        return library.args("caravan_cast_args", **x)

    def peers(self, place):
        return {"torch eager": lambda x: lambda: {"out": x["x"].to(self.to)}}

    def reference(self, x):
        rows = sample_rows(self.rows, x["x"])
        return {"out": (rows, x["x"][rows].double())}


class BiasForward(Case):
    op = "bias_forward"
    outputs = ("y",)

    def __init__(self, rows, width, dtype):
        super().__init__(f"{rows}x{width}", dtype)
        self.rows, self.width = rows, width
        self.bytes = rows * width * bits(dtype) * 2

    def inputs(self, place, generator):
        x = {"x": normal(place, (self.rows, self.width), self.dtype, generator)}
        x["bias"] = normal(place, (self.width,), self.dtype, generator)
        x["y"] = place.empty((self.rows, self.width), self.dtype)
        return x

    def ours(self, library, x):
        return library.args("caravan_bias_forward_args", **x)

    def peers(self, place):
        return {"torch eager": lambda x: lambda: {"y": x["x"] + x["bias"]}}

    def reference(self, x):
        rows = sample_rows(self.rows, x["x"])
        return {"y": (rows, x["x"][rows].double() + x["bias"].double())}


class BiasBackward(Case):
    op = "bias_backward"
    workspace = "caravan_bias_backward_workspace"
    outputs = ("d_bias",)
    accumulates = ("d_bias",)

    def __init__(self, rows, width, dtype):
        super().__init__(f"{rows}x{width}", dtype)
        self.rows, self.width = rows, width
        self.bytes = rows * width * bits(dtype)

    def inputs(self, place, generator):
        x = {"d_y": normal(place, (self.rows, self.width), self.dtype, generator)}
        x["d_bias"] = place.empty((self.width,), F32)
        return x

    def ours(self, library, x):
        return library.args("caravan_bias_backward_args", **x)

    def peers(self, place):
        return {"torch eager": lambda x: lambda: {"d_bias": x["d_y"].sum(0, dtype=F32)}}

    def reference(self, x):
        d_bias = torch.zeros(self.width, dtype=F64, device=x["d_y"].device)
        for first in range(0, self.rows, 4096):
            d_bias += x["d_y"][first : first + 4096].double().sum(0)
        return {"d_bias": (None, d_bias)}


# ----------------------------------------------------------------------------------------- embedding


class EmbeddingForward(Case):
    op = "embedding_forward"
    outputs = ("out",)

    def __init__(self, tokens, vocabulary, width, dtype):
        super().__init__(f"{tokens} of {vocabulary}x{width}", dtype)
        self.tokens, self.vocabulary, self.width = tokens, vocabulary, width
        self.bytes = tokens * (width * bits(dtype) * 2 + 4)

    def inputs(self, place, generator):
        ids = torch.randint(self.vocabulary, (self.tokens,), generator=generator, device=generator.device)
        return {
            "ids": place.put(ids.int()),
            "table": normal(place, (self.vocabulary, self.width), self.dtype, generator),
            "out": place.empty((self.tokens, self.width), self.dtype),
        }

    def ours(self, library, x):
        return library.args("caravan_embedding_forward_args", **x)

    def peers(self, place):
        return {"torch eager": lambda x: lambda: {"out": F.embedding(x["ids"], x["table"])}}

    def reference(self, x):
        rows = sample_rows(self.tokens, x["out"])
        return {"out": (rows, x["table"][x["ids"][rows].long()].double())}


class EmbeddingBackward(Case):
    op = "embedding_backward"
    workspace = "caravan_embedding_backward_workspace"
    outputs = ("d_table",)
    accumulates = ("d_table",)

    def __init__(self, tokens, vocabulary, width, dtype):
        super().__init__(f"{tokens} to {vocabulary}x{width}", dtype)
        self.tokens, self.vocabulary, self.width = tokens, vocabulary, width
        self.bytes = tokens * (width * bits(dtype) * 3 + 4)  # repeated ids are fewer rows to read and write

    def inputs(self, place, generator):
        ids = torch.randint(self.vocabulary, (self.tokens,), generator=generator, device=generator.device)
        return {
            "ids": place.put(ids.int()),
            "d_out": normal(place, (self.tokens, self.width), self.dtype, generator),
            "d_table": place.empty((self.vocabulary, self.width), self.dtype),
        }

    def ours(self, library, x):
        return library.args("caravan_embedding_backward_args", **x)

    def peers(self, place):
        def dense(x):
            ids, vocabulary = x["ids"].long(), self.vocabulary
            return lambda: {"d_table": torch.ops.aten.embedding_dense_backward(x["d_out"], ids, vocabulary, -1, False)}

        return {"torch eager (writes all rows)": dense}

    def reference(self, x):
        rows = x["ids"][sample_rows(self.tokens, x["d_out"])].long()
        same = (x["ids"].long()[None, :] == rows[:, None]).to(F64)
        return {"d_table": (rows, same @ x["d_out"].double())}


# ----------------------------------------------------------------------------------------- the lists


def all_cases(size):
    """Most valuable first: a run may be cut short."""
    s = Size.of(size)
    r, d, f, v = s.rows, s.width, s.feed_forward, s.vocabulary
    cases = [
        norm_case.RmsnormForward(r, d, BF16),
        norm_case.RmsnormBackward(r, d, BF16),
        GluForward("swiglu", r, f, BF16),
        GluBackward("swiglu", r, f, BF16),
        Rope("forward", r, s.heads, s.head_width, BF16),
        CrossEntropy(s.loss_rows, v, BF16),
        optimizer_case.Adamw(s.parameters, "f32"),
        optimizer_case.Adamw(s.parameters, "split"),
        optimizer_case.Adamw(s.parameters, "split bf16 moments"),
    ]
    attention = attention_case.cases(s)
    experts = expert_case.cases(s)
    cases += attention[:4] + experts[:8]
    cases += [matmul_case.Matmul(m, n, k, BF16) for m, n, k in s.products]
    cases += [
        matmul_case.Matmul(s.products[0][0], s.products[0][1], s.products[0][2], BF16, 1, 0),
        matmul_case.Matmul(s.products[0][0], s.products[0][1], s.products[0][2], BF16, 0, 0),
        norm_case.RmsnormForward(r, d, BF16, residual=True),
        norm_case.RmsnormForward(r // 2, 2 * d, BF16),
        norm_case.RmsnormBackward(r // 2, 2 * d, BF16),
        norm_case.RmsnormForward(8 * r, s.head_width, BF16),
        norm_case.RmsnormBackward(8 * r, s.head_width, BF16),
        norm_case.RmsnormForward(r // 4, 4 * d, BF16),
        norm_case.RmsnormBackward(r // 4, 4 * d, BF16),
        norm_case.RmsnormForward(r, d, F32),
        norm_case.RmsnormBackward(r, d, F32),
        norm_case.RowDot(r, d, BF16),
        norm_case.RmsnormHalfForward(r, d, BF16),
        norm_case.RmsnormHalfBackward(r, d, BF16),
        Rope("backward", r, s.heads, s.head_width, BF16),
        GluForward("geglu", r, f, BF16),
        GluBackward("geglu", r, f, BF16),
        CrossEntropy(s.loss_rows // 2, v, F32),
        ClassStatistics(s.loss_rows, v // 8, v, BF16),
        optimizer_case.GlobalNorm(s.parameters, F32),
        optimizer_case.GlobalNorm(s.parameters, BF16),
        EmbeddingForward(r, v, d, BF16),
        EmbeddingBackward(r, v, d, BF16),
        Add(r, d, BF16),
        Cast(r, d, F32, BF16),
        Cast(r, d, BF16, F32),
        BiasForward(r, d, BF16),
        BiasBackward(r, d, BF16),
    ]
    return cases + attention[4:] + experts[8:]
