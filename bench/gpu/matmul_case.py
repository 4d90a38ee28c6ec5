"""Products of two matrices, beside cuBLAS."""

from case_base import Case, bits, normal, sample_rows


class Matmul(Case):
    op = "matmul_forward"
    workspace = "caravan_matmul_workspace"
    outputs = ("c",)

    def __init__(self, m, n, k, dtype, transpose_a=0, transpose_b=1):
        layout = "tn"[1 - transpose_a] + "tn"[1 - transpose_b]
        super().__init__(f"{m}x{n}x{k}", dtype, variant=layout)
        self.m, self.n, self.k = m, n, k
        self.transpose_a, self.transpose_b = transpose_a, transpose_b
        self.bytes = (m * k + n * k + m * n) * bits(dtype)
        self.flops = 2 * m * n * k

    def inputs(self, place, generator):
        a = (self.k, self.m) if self.transpose_a else (self.m, self.k)
        b = (self.n, self.k) if self.transpose_b else (self.k, self.n)
        return {
            "a": normal(place, a, self.dtype, generator),
            "b": normal(place, b, self.dtype, generator),
            "c": place.empty((self.m, self.n), self.dtype),
        }

    def ours(self, library, x):
        return library.args(
            "caravan_matmul_args", transpose_a=self.transpose_a, transpose_b=self.transpose_b, alpha=1.0, beta=0.0, **x)

    def _operands(self, x):
        return x["a"].t() if self.transpose_a else x["a"], x["b"].t() if self.transpose_b else x["b"]

    def peers(self, place):
        def library(x):
            a, b = self._operands(x)
            return lambda: {"c": a @ b}

        return {"cuBLAS through torch": library}

    def reference(self, x):
        a, b = self._operands(x)
        rows = sample_rows(self.m, x["a"], 8)
        return {"c": (rows, a[rows].double() @ b.double())}
