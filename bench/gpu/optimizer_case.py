"""What works on a model's flat buffers at once: the global norm and AdamW."""

import math

import torch

from case_base import Case, bits, normal, sample_rows

BF16, F32, F64 = torch.bfloat16, torch.float32, torch.float64


def step_state(place, inv_targets=1.0, lr=1e-3):
    """A caravan_step_state: step 5, no clipping, finite."""
    state = place.library.structs["caravan_step_state"]()
    state.step, state.seed, state.lr, state.inv_targets = 5, 17, lr, inv_targets
    state.clip_norm, state.grad_norm, state.clip_factor, state.finite = 0.0, 1.0, 1.0, 1
    return place.put(torch.frombuffer(bytearray(bytes(state)), dtype=torch.uint8))


class Adamw(Case):
    """mode: f32 = float32 parameters and gradients (torch's own, 28 bytes a parameter); split = bf16 parameters with the
    rest of their float32 masters beside them; split bf16 moments = that with bf16 moments, rounded stochastically."""

    op = "adamw_step"

    def __init__(self, count, mode):
        super().__init__(f"{count}", F32 if mode == "f32" else BF16, variant=mode)
        self.count, self.mode = count, mode
        self.outputs = ("param", "m", "v")
        self.in_place = ("param", "remainder", "m", "v")
        moment = 2 if "bf16 moments" in mode else 4
        self.bytes = count * ((4 if mode == "f32" else 2) + 8 + 4 * moment)

    def inputs(self, place, generator):
        split = self.mode != "f32"
        moments = BF16 if "bf16 moments" in self.mode else F32
        master = normal(place, (self.count,), F32, generator, scale=0.02)
        x = {"param": master}
        if split:
            x["param"] = place.put(master.to(BF16))
            low = master.view(torch.int32) - (x["param"].view(torch.int16).int() << 16)
            low = low.clamp(-32768, 32767)  # a tie at the edge may lie one outside
            x["remainder"] = place.put(low.to(torch.int16))
        x["grad"] = normal(place, (self.count,), BF16 if split else F32, generator, scale=0.1)
        x["m"] = place.put(normal(place, (self.count,), F32, generator, scale=0.1).to(moments))
        x["v"] = place.put(normal(place, (self.count,), F32, generator, scale=0.1).square().to(moments))
        segment = place.library.structs["caravan_segment"]()
        segment.count, segment.decay = self.count, 1.0
        x["segments"] = place.put(torch.frombuffer(bytearray(bytes(segment)), dtype=torch.uint8))
        x["state"] = step_state(place)
        return x

    def ours(self, library, x):
        return library.args("caravan_adamw_args", beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, **x)

    def peers(self, place):
        def fused(x):
            step = torch.full((), 4.0, device=x["param"].device)
            lists = [[x["param"]], [x["grad"]], [x["m"]], [x["v"]], [], [step]]

            def call():
                step.fill_(5.0)
                torch._fused_adamw_(
                    *lists, lr=1e-3, beta1=0.9, beta2=0.95, weight_decay=0.1, eps=1e-8, amsgrad=False, maximize=False)
                return {"param": x["param"], "m": x["m"], "v": x["v"]}

            return call

        return {"torch fused": fused} if self.mode == "f32" else {}

    def reference(self, x):
        rows = sample_rows(self.count, x["param"], 4096)
        p = x["param"][rows].double()
        if "remainder" in x:
            whole = (x["param"][rows].view(torch.int16).int() << 16) + x["remainder"][rows].int()
            p = whole.view(F32).double()
        g, m, v = (x[name][rows].double() for name in ("grad", "m", "v"))
        m = 0.9 * m + 0.1 * g
        v = 0.95 * v + 0.05 * g * g
        update = m / (1 - 0.9**5) / ((v / (1 - 0.95**5)).sqrt() + 1e-8) + 0.1 * p
        return {"param": (rows, p - 1e-3 * update), "m": (rows, m), "v": (rows, v)}


class GlobalNorm(Case):
    op = "global_norm_forward"
    workspace = "caravan_global_norm_workspace"
    outputs = ("norm",)

    def __init__(self, count, dtype):
        super().__init__(f"{count}", dtype)
        self.count = count
        self.bytes = count * bits(dtype)

    def inputs(self, place, generator):
        return {"grads": normal(place, (self.count,), self.dtype, generator), "state": step_state(place)}

    def ours(self, library, x):
        return library.args("caravan_global_norm_args", **x)

    def result(self, library, x):
        known = library.structs["caravan_step_state"].from_buffer_copy(bytes(x["state"].tolist()))
        return {"norm": torch.tensor([known.grad_norm], dtype=F64)}

    def peers(self, place):
        return {"torch eager": lambda x: lambda: {"norm": torch.linalg.vector_norm(x["grads"], dtype=F32).view(1)}}

    def reference(self, x):
        total = sum(part.double().square().sum().item() for part in x["grads"].split(1 << 26))
        return {"norm": (None, torch.tensor([math.sqrt(total)], dtype=F64))}
