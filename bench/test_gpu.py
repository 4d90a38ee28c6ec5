"""Tests of the GPU run's own code, without a GPU and without PyTorch.

Run:  python -m unittest discover -s bench -p 'test_*.py'
"""

import ctypes
import importlib.machinery
import importlib.util
import json
import math
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE / "gpu"))

import header  # noqa: E402
import report  # noqa: E402
import training  # noqa: E402

HEADER = ROOT / "native/include/caravan/caravan.h"


def script(name):
    loader = importlib.machinery.SourceFileLoader(name, str(HERE / "gpu" / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


class Header(unittest.TestCase):
    def test_layouts_are_the_compilers(self):
        """Sizes and offsets of every field, as the C compiler lays them out."""
        _, structs, functions = header.parse(HEADER)
        self.assertGreater(len(structs), 20)
        self.assertIn("caravan_rmsnorm_forward", functions)
        probe = ["#include <stddef.h>", "#include <stdio.h>", f'#include "{HEADER}"', "int main(void) {"]
        expected = []
        for name, struct in structs.items():
            probe.append(f'printf("%zu\\n", sizeof({name}));')
            expected.append(ctypes.sizeof(struct))
            for field, _ in struct._fields_:
                probe.append(f'printf("%zu\\n", offsetof({name}, {field}));')
                expected.append(getattr(struct, field).offset)
        probe.append("return 0; }")
        with tempfile.TemporaryDirectory() as folder:
            source, program = Path(folder, "probe.c"), Path(folder, "probe")
            source.write_text("\n".join(probe))
            subprocess.run(["cc", "-o", program, source], check=True)
            printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
        self.assertEqual([int(value) for value in printed.split()], expected)

    def test_a_field_that_is_not_understood_is_an_error(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "h.h")
            path.write_text("typedef struct x { int32_t a : 3; } x;")
            with self.assertRaises(ValueError):
                header.parse(path)


def measured(**more):
    return {"op": "op", "variant": "", "shape": "2x3", "dtype": "bf16", "bytes": 4e9, "flops": 0, "state": "measured",
            "seconds": 1e-3, "bytes_per_s": 4e12, "roof_share": 0.93, "error": 1e-3, **more}


class Report(unittest.TestCase):
    document = {
        "device": "Some <GPU>", "torch": "2", "roof": {"copy_bytes_per_s": 4.3e12, "product_flops_per_s": 8e14},
        "results": [
            measured(peers={"peer": {"state": "measured", "seconds": 2e-3, "ratio": 2.0, "error_ratio": 0.5}}),
            measured(flops=4e12, flops_per_s=4e15, roof_share=5.0),
            {**measured(), "state": "not built", "message": "no kernel"}]}

    def test_the_table_tells_rates_ratios_and_what_is_not_built(self):
        del self.document["results"][2]["seconds"]
        rows = report.kernel_rows(self.document)
        self.assertEqual(rows[1][3:5], ["4,000 GB/s", "93.0 %"])
        self.assertIn("peer: 2000.0, x2.00, 0.50", rows[1][6])
        self.assertEqual(rows[3][2:4], ["-", "not built"])

    def test_the_plot_is_xml_and_has_a_point_for_each_measured_op(self):
        drawn = xml.dom.minidom.parseString(report.plot(self.document))
        self.assertGreaterEqual(len(drawn.getElementsByTagName("circle")), 2)

    def test_no_plot_without_a_roof(self):
        self.assertIsNone(report.plot({**self.document, "roof": None}))

    def test_the_copies_are_told(self):
        self.assertEqual(report.roof_lines(None), [])
        lines = report.roof_lines({"copies_bytes_per_s": {"one": 3e12, "other": 4.25e12}})
        self.assertIn("one 3,000, other 4,250", lines[0])

    def test_a_failed_stage_says_so(self):
        line = report.stage_line("tile", {"ok": False, "message": "why", "seconds": 1})
        self.assertIn("NOT OK: why", line)


@unittest.skipUnless(importlib.util.find_spec("torch"), "needs torch")
class Peers(unittest.TestCase):
    def test_products_of_java_are_compared_with_torchs(self):
        ours = [
            {"op": "matmul", "shape": "5x3x4", "seconds": 1.0}, {"op": "matmul dX", "shape": "5x4x3", "seconds": 1.0},
            {"op": "matmul", "shape": "5x3x4", "refusal": "no room"}, {"op": "rmsnorm", "shape": "5x4", "seconds": 1.0}]
        compared = training.products(ours, on_gpu=False)
        self.assertEqual([(one["op"], one["shape"]) for one in compared], [("matmul", "5x3x4"), ("matmul dX", "5x4x3")])
        self.assertTrue(all(0 < one["ratio"] == one["torch_seconds"] for one in compared))

    def test_products_of_attention_are_counted_as_they_are_masked(self):
        import attention_case

        for length, window in ((7, 2), (7, 6), (7, 9), (1, 0)):
            seen = sum(0 <= q - k <= window for q in range(length) for k in range(length))
            self.assertEqual(attention_case.pairs(length, True, window), seen)
        self.assertEqual(attention_case.pairs(8, True, -1), 32)
        self.assertEqual(attention_case.pairs(8, False, -1), 64)
        lengths = attention_case.mix(16384, 512, 4096)
        self.assertEqual(sum(lengths), 16384)
        self.assertTrue(all(512 <= length <= 4096 for length in lengths[:-1]) and lengths[-1] <= 4096)

    def test_buckets_of_distances_are_exact_and_then_grow(self):
        import attention_case
        import torch

        behind = torch.tensor([-3, 0, 1, 15, 16, 19, 100, 127, 128, 5000])
        self.assertEqual(attention_case.buckets_of(behind, 32, 128).tolist(), [0, 0, 1, 15, 16, 17, 30, 31, 31, 31])

    def test_every_case_is_in_the_lists(self):
        import cases

        names = {case.op for case in cases.all_cases("smoke")}
        self.assertLessEqual({"adamw_step", "global_norm_forward", "attention_forward", "matmul_forward"}, names)


class Pack(unittest.TestCase):
    def test_other_platforms_natives_stay_behind(self):
        pack = script("pack")
        names = ["a/B.class", "native/lib/osx/libx.dylib", "org/bytedeco/javacpp/linux-x86_64/libjnijavacpp.so",
                 "org/bytedeco/openblas/linux-x86_64/libopenblas_full.so.0", "x.dll"]
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in.jar"), Path(folder, "out.jar")
            with zipfile.ZipFile(source, "w") as jar:
                for name in names:
                    jar.writestr(name, "x")
            pack.slim_jar(source, target)
            self.assertEqual(zipfile.ZipFile(target).namelist(), [names[0], names[2]])

    def test_it_finds_the_ops_that_have_kernels(self):
        self.assertIn("add", script("pack").cuda_tests())


class Run(unittest.TestCase):
    def run_in(self, folder, *stages):
        chosen = [str(HERE / "gpu/run"), "--out", folder, "--bundle", f"{folder}/bundle.tar.xz", "--device", "cpu",
                  "--stages", ",".join(stages), "--time-limit", "60"]
        done = subprocess.run([sys.executable, *chosen], capture_output=True, text=True, cwd=folder)
        return done.returncode, json.loads(Path(folder, "results.json").read_text()), done.stdout

    def test_a_stage_that_fails_does_not_stop_the_next(self):
        import tarfile

        with tempfile.TemporaryDirectory() as folder:
            tests = Path(folder, "tests")
            tests.mkdir()
            for name, code in {"status": 0, "good": 0, "bad": 3, "tile": 0}.items():
                (tests / f"{name}_test").write_text(f"#!/bin/sh\necho said {name}\nexit {code}\n")
                (tests / f"{name}_test").chmod(0o755)
            (tests / "cuda.json").write_text('["good", "bad", "missing"]')
            with tarfile.open(Path(folder, "bundle.tar.xz"), "w:xz") as tar:
                tar.add(tests, arcname="tests")
            code, results, printed = self.run_in(folder, "correctness", "training", "tile")
            self.assertEqual(code, 1)
            stages = results["stages"]
            self.assertEqual(stages["correctness"]["passed"], 1)
            programs = stages["correctness"]["programs"]
            self.assertEqual(programs["bad_test"]["exit_code"], 3)
            self.assertIn("said bad", programs["bad_test"]["message"])
            self.assertEqual(programs["missing_test"]["state"], "failed")
            self.assertFalse(stages["training"]["ok"])
            self.assertTrue(stages["tile"]["ok"])
            self.assertTrue(Path(folder, "logs.tar.gz").is_file())
            self.assertIn("1 of 3 programs (not: bad_test, missing_test)", printed)


    def test_exchanges_are_told_and_their_failure_too(self):
        import tarfile

        rows = [{"kind": kind, "bytes": size, "bytes_per_s": 2e9}
                for kind in ("all_reduce", "reduce_scatter", "all_gather", "all_to_all", "broadcast")
                for size in (1 << 20, 1 << 24)]
        document = {"bench": "collectives", "ranks": 2, "library": "threads", "rows": rows}
        for answer, code in ((f"echo '{json.dumps(document)}'", 0), ("echo all_gather: element 3 is wrong; exit 1", 1)):
            with tempfile.TemporaryDirectory() as folder:
                program = Path(folder, "caravan")
                program.write_text(f"#!/bin/sh\n{answer}\n")
                program.chmod(0o755)
                tests = Path(folder, "tests")
                tests.mkdir()
                (tests / "status_test").write_text("#!/bin/sh\n")
                (tests / "status_test").chmod(0o755)
                with tarfile.open(Path(folder, "bundle.tar.xz"), "w:xz") as tar:
                    tar.add(program, arcname="caravan")
                    tar.add(tests, arcname="tests")
                got, results, printed = self.run_in(folder, "nccl")
                self.assertEqual(got, code)
                if code == 0:
                    self.assertIn("GB/s of 16,777,216 bytes: all_reduce 2, ", printed)
                else:
                    self.assertIn("element 3 is wrong", results["stages"]["nccl"]["message"])


class Training(unittest.TestCase):
    def test_rows_follow_their_rule(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "rows.jsonl")
            training.write_rows(path)
            rows = [json.loads(line) for line in path.read_text().splitlines()]
        self.assertEqual(len(rows), 600)
        for row in rows[:20]:
            ids = row["input_ids"]
            self.assertTrue(all(0 <= value < 512 for value in ids))
            self.assertEqual(ids[5], 100 + ((ids[1] - 99) * (ids[4] - 100) + ids[2] - 100) % 97)
            self.assertEqual(row["labels"][:4], [-100] * 4)
        self.assertTrue(math.isclose(len({tuple(row["input_ids"]) for row in rows}), 600, rel_tol=0.1))


if __name__ == "__main__":
    unittest.main()
