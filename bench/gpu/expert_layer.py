"""A layer of sparse experts, and a dense one, as the ops of the C ABI in the order of a training step."""

import torch

F32, I32, U8 = torch.float32, torch.int32, torch.uint8
SWIGLU = 1


class Ops:
    """Prepares calls on one place, and keeps their names: a list of (name, call)."""

    def __init__(self, library, place):
        self.library = library
        self.place = place
        self.calls = []

    def add(self, op, name=None, query=None, args=None, **fields):
        """One more call; `query` names the companion function that sizes its workspace."""
        struct = f"caravan_{args or op + '_args'}"
        block = self.library.args(struct, **fields)
        if query:
            size = self.library.workspace_bytes(f"caravan_{query}", self.place.kind, block)
            if size:
                workspace = self.place.empty((size,), U8)
                block.workspace = self.library.tensor(workspace)
                block.kept.append(workspace)
        self.calls.append((name or op, self.place.prepare(op, block)))

    def matmul(self, name, a, b, c, transpose_a=0, transpose_b=0, beta=0.0):
        fields = {"transpose_a": transpose_a, "transpose_b": transpose_b, "alpha": 1.0, "beta": beta}
        self.add("matmul_forward", name, "matmul_workspace", "matmul_args", a=a, b=b, c=c, **fields)

    def __call__(self):
        for _, call in self.calls:
            call()

    def only(self, *parts):
        """Those calls alone whose names have one of these in them."""
        chosen = Ops(self.library, self.place)
        chosen.calls = [(name, call) for name, call in self.calls if any(part in name for part in parts)]
        return chosen


class SparseLayer:
    """x [T, D]; router [E, D]; gate_up [E, 2F, D], gates first; down [E, D, F]; d_y [T, D]. Weights of the chosen are
    renormalised, as Mixtral's are. Results, given or made here: y, d_x, d_router, d_gate_up, d_down; the last three are
    float32 and added to."""

    RESULTS = ("y", "d_x", "d_router", "d_gate_up", "d_down")

    def __init__(self, library, place, x, router, gate_up, down, d_y, choices, results=None):
        tokens, width = x.shape
        experts, twice, _ = gate_up.shape
        rows = tokens * choices

        def empty(*shape, dtype=x.dtype):
            return place.empty(shape, dtype)

        logits, d_logits = empty(tokens, experts, dtype=F32), empty(tokens, experts, dtype=F32)
        weights = empty(tokens, choices, dtype=F32)
        chosen, slots = empty(tokens, choices, dtype=I32), empty(tokens, choices, dtype=I32)
        stats = empty(3 * experts + 2, dtype=F32)
        self.offsets, assignments = empty(experts + 1, dtype=I32), empty(rows, dtype=I32)
        h, act, out = empty(rows, twice), empty(rows, twice // 2), empty(rows, width)
        d_weights = empty(rows, dtype=F32)
        results = results or self.results(place, x, router, gate_up, down)
        self.y, self.d_x, *self.gradients = (results[name] for name in self.RESULTS)
        self.d_router, self.d_gate_up, self.d_down = self.gradients
        sorted_rows = {"assignments": assignments, "offsets": self.offsets}

        self.place = place
        self.forward = Ops(library, place)
        add = self.forward.add
        self.forward.matmul("router product", x, router, logits, transpose_b=1)
        add("router_forward", None, "router_forward_workspace", logits=logits, weights=weights,
            experts=chosen, stats=stats, renormalise=1)
        add("expert_sort_forward", None, "expert_sort_workspace", "expert_sort_args",
            experts=chosen, slots=slots, **sorted_rows)
        add("grouped_matmul_forward", "up", x=x, w=gate_up, out=h, act=act, choices=choices,
            activation=SWIGLU, **sorted_rows)
        add("grouped_matmul_forward", "down", x=act, offsets=self.offsets, w=down, out=out, choices=1)
        add("combine_forward", args="combine_args", x=out, slots=slots, weights=weights, y=self.y)

        self.backward = Ops(library, place)
        add = self.backward.add
        add("grouped_matmul_backward", "down backward", d_y=d_y, w=down, weights=weights, h=h, d_h=h,
            act=act, d_weights=d_weights, activation=SWIGLU, **sorted_rows)
        add("grouped_outer_forward", "d_down", args="grouped_outer_args", a=d_y, b=act, c=self.d_down,
            choices=choices, gather_a=1, **sorted_rows)
        add("grouped_outer_forward", "d_up", args="grouped_outer_args", a=h, b=x, c=self.d_gate_up,
            choices=choices, gather_b=1, **sorted_rows)
        add("grouped_matmul_forward", "up backward", x=h, offsets=self.offsets, w=gate_up, out=out,
            choices=1, transpose_w=1)
        add("combine_forward", "combine backward", args="combine_args", x=out, slots=slots, y=self.d_x)
        add("router_backward", logits=logits, weights=weights, experts=chosen, d_weights=d_weights,
            slots=slots, d_logits=d_logits, renormalise=1)
        slope = d_logits
        if x.dtype != F32:  # so that both products have one storage
            slope = empty(tokens, experts)
            add("cast_forward", "router cast", args="cast_args", x=d_logits, out=slope)
        self.backward.matmul("router gradient", slope, x, self.d_router, transpose_a=1, beta=1.0)
        self.backward.matmul("router product backward", slope, router, self.d_x, beta=1.0)

    @classmethod
    def results(cls, place, x, *weights):
        """Memory for the results."""
        made = [place.empty(x.shape, x.dtype) for _ in range(2)] + [place.empty(value.shape, F32) for value in weights]
        return dict(zip(cls.RESULTS, made))

    def counts(self):
        """Rows of each expert in the last forward."""
        return self.offsets.diff().tolist()

    def step(self):
        """Forward and backward, with gradients of weights that begin at zero."""
        for gradient in self.gradients:
            self.place.zero(gradient)
        self.forward()
        self.backward()


class DenseLayer:
    """x [T, D]; gate_up [2F, D], gates first; down [D, F]; d_y [T, D]."""

    def __init__(self, library, place, x, gate_up, down, d_y):
        tokens, width = x.shape
        twice = gate_up.shape[0]
        h, act = place.empty((tokens, twice), x.dtype), place.empty((tokens, twice // 2), x.dtype)
        d_act = place.empty((tokens, twice // 2), x.dtype)
        gate, up = h[:, : twice // 2], h[:, twice // 2 :]
        self.y, self.d_x = place.empty((tokens, width), x.dtype), place.empty((tokens, width), x.dtype)
        self.gradients = [place.put(torch.zeros(value.shape, dtype=F32)) for value in (gate_up, down)]
        self.d_gate_up, self.d_down = self.gradients

        self.place = place
        self.forward = Ops(library, place)
        self.forward.matmul("up", x, gate_up, h, transpose_b=1)
        self.forward.add("swiglu_forward", args="glu_forward_args", gate=gate, up=up, out=act)
        self.forward.matmul("down", act, down, self.y, transpose_b=1)

        self.backward = Ops(library, place)
        self.backward.matmul("d_down", d_y, act, self.d_down, transpose_a=1, beta=1.0)
        self.backward.matmul("down backward", d_y, down, d_act)
        self.backward.add("swiglu_backward", args="glu_backward_args", d_out=d_act, gate=gate, up=up,
                          d_gate=gate, d_up=up)
        self.backward.matmul("d_up", h, x, self.d_gate_up, transpose_a=1, beta=1.0)
        self.backward.matmul("up backward", h, gate_up, self.d_x)

    step = SparseLayer.step
