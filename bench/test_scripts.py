"""Tests of the scripts' own arithmetic; the measurements themselves are no tests.

Run:  python -m unittest discover -s bench -p 'test_*.py'
"""

import json
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE / "train", HERE / "kernels", HERE / "data"):
    sys.path.insert(0, str(folder))

import attention_compare  # noqa: E402
import conditions  # noqa: E402
import experts_compare  # noqa: E402
import generate_compare  # noqa: E402
import mixture_scale  # noqa: E402
import precision_compare  # noqa: E402
import ranks_compare  # noqa: E402
import scale  # noqa: E402
import sft_compare  # noqa: E402
import throughput  # noqa: E402


class Ids:
    def __init__(self, ids):
        self.ids = ids


class Letters:
    """A tokenizer whose tokens are characters, with 1 in front of a text."""

    def encode(self, text, add_special_tokens=True):
        return Ids(([1] if add_special_tokens else []) + [ord(letter) for letter in text])


class Throughput(unittest.TestCase):
    def test_generated_rows_are_the_same_every_time(self):
        rows = list(throughput.generate(20))
        self.assertEqual(rows, list(throughput.generate(20)))
        self.assertEqual(20, len(set(rows)))
        self.assertNotEqual(rows, list(throughput.generate(20, seed=2)))

    def test_files_of_each_kind(self):
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "a.tsv"
            table.write_text('Why "so"?\t4\tBecause.\n')
            self.assertEqual([('Why "so"?', "Because. 4")], list(throughput.read(table)))
            lines = Path(folder) / "b.jsonl"
            lines.write_text('{"question": "q", "answer": "a", "id": 1}\n')
            self.assertEqual([("q", "a")], list(throughput.read(lines)))
            lines.write_text('{"text": "q"}\n')
            with self.assertRaises(SystemExit):
                list(throughput.read(lines))

    def test_rows_that_cannot_be_too_long_are_written(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows.jsonl"
            room = 64 - len("Question: \nAnswer: ") - 1
            rows = [("p" * (room - 1), "r"), ("p" * room, "r"), ("\u00e9" * (room // 2 - 1), "r"), ("p", " ")]
            facts = throughput.write(file, [rows], 64)
            self.assertEqual(2, facts["rows_too_long_or_empty"])
            kept = [json.loads(line) for line in file.read_text().splitlines()]
            self.assertEqual([rows[0], rows[2]], [(row["prompt"], row["response"]) for row in kept])
            with self.assertRaises(SystemExit):
                throughput.write(file, [rows[3:]], 64)

    def test_a_rate_is_the_median_over_rounds(self):
        side = [{"tokens": 60, "passes": [{"cpu_s": s}, {"cpu_s": 1}]} for s in (1, 2, 30)]
        self.assertEqual(30, throughput.rate(side, 0))
        self.assertEqual(60, throughput.rate(side, 1))


class Rows(unittest.TestCase):
    def rows(self, length, most, *answers):
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in.jsonl"), Path(folder, "out.jsonl")
            source.write_text("".join(json.dumps({"question": "q", "answer": a}) + "\n" for a in answers))
            written = sft_compare.write_rows(source, Letters(), target, length, most)
            rows = [json.loads(line) for line in target.read_text().splitlines()]
        self.assertEqual(written, len(rows))
        return rows

    def test_only_the_answer_and_its_end_are_learnt(self):
        (row,) = self.rows(100, 5, "ab")
        prompt = 1 + len(sft_compare.PROMPT.format(question="q"))
        self.assertEqual(row["labels"], [-100] * prompt + [97, 98, 2])
        self.assertEqual(row["input_ids"][prompt:], [97, 98, 2])
        self.assertEqual(len(row["input_ids"]), len(row["labels"]))

    def test_rows_are_cut_and_those_without_a_target_left_out(self):
        prompt = 1 + len(sft_compare.PROMPT.format(question="q"))
        (row,) = self.rows(prompt + 1, 5, "abc")
        self.assertEqual(row["labels"][-1], 97)
        self.assertEqual(self.rows(prompt, 5, "abc"), [])

    def test_there_are_no_more_rows_than_asked_for(self):
        self.assertEqual(len(self.rows(100, 2, "a", "b", "c")), 2)


class Rates(unittest.TestCase):
    def test_the_first_steps_do_not_count(self):
        run = {"targets": [9, 9, 10, 20], "seconds": [99, 99, 1, 2]}
        self.assertEqual(sft_compare.rate(run), 10)

    def test_forward_and_backward_are_added_before_the_median(self):
        runs = [{"forward": 1, "backward": b} for b in (9, 2, 3)]
        self.assertEqual(attention_compare.together(runs), 4)

    def test_a_row_compares_medians_of_layers_and_their_results(self):
        marks = {name: [2.0, 0.5] for name in experts_compare.RESULTS}
        off = {**marks, "d_x": [2.0, 0.75]}
        ours = [
            {"layers": {"zipf": {"seconds": s, "counts": [1, 7], "marks": off}, "dense": {"seconds": 4}}}
            for s in (9, 2, 3)
        ]
        theirs = [
            {"layers": {"zipf": {"seconds": s, "way": "eager", "ways": {"eager": {"marks": marks}}}}} for s in (6, 5, 60)
        ]
        (row,) = experts_compare.rows(ours, theirs, ["zipf"])
        self.assertEqual((row["busiest"], row["speed_ratio"], row["cost_of_dense"]), (7, 2, 0.75))
        self.assertEqual((row["peer_way"], row["apart"]), ("eager", 0.125))

    def test_curves_differ_by_their_worst_step(self):
        self.assertEqual(precision_compare.greatest_difference([2, 4], [2, 5]), 0.25)
        with self.assertRaises(ValueError):
            precision_compare.greatest_difference([2], [2, 5])

    def test_tokens_agree_up_to_the_first_difference(self):
        self.assertEqual(generate_compare.same_tokens([1, 2, 3], [1, 2, 4]), 2)
        self.assertEqual(generate_compare.same_tokens([1, 2], [1, 2]), 2)

    def test_the_rate_is_read_from_what_caravan_prints(self):
        found = generate_compare.RATE.search("device: cpu\n5 tokens, 1,234.5 tokens/s behind the first")
        self.assertEqual(found.group(1), "1,234.5")

    def test_prompts_lie_in_the_vocabulary(self):
        ids = generate_compare.prompt_ids(500)
        self.assertTrue(all(3 <= token < 32000 for token in ids))

    def test_a_result_says_where_it_was_measured_and_keeps_its_runs(self):
        result = conditions.report("any", 2, steps=3)
        self.assertTrue(result["processor"])
        self.assertEqual((result["bench"], result["threads"], result["steps"]), ("any", 2, 3))
        result["runs"] = [1, 2]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "result.json"
            conditions.keep(result, file)
            self.assertEqual(json.loads(file.read_text()), result)
        self.assertIn("load_after", result)
        self.assertNotIn("runs", json.loads(conditions.summary(result)))


class Ranks(unittest.TestCase):
    def test_the_first_steps_are_left_out_and_rounds_are_compared_with_themselves(self):
        one = [{"tokens_per_s": [9, 9, 10, 10], "loss": [2, 1]}, {"tokens_per_s": [9, 9, 20, 20], "loss": [2, 1]}]
        two = [{"tokens_per_s": [1, 1, 9, 9], "loss": [2, 1]}, {"tokens_per_s": [1, 1, 22, 22], "loss": [2, 1.5]}]
        told = ranks_compare.figures(one, two)
        self.assertEqual(told["one_tokens_per_s"], 15)
        self.assertEqual(told["two_tokens_per_s"], 15.5)
        self.assertAlmostEqual(told["ratio_of_rounds"], 1.0)
        self.assertAlmostEqual(told["ratio_of_fastest"], 1.1)
        self.assertAlmostEqual(told["loss_difference"], 0.5)


class Scale(unittest.TestCase):
    def test_a_plan_is_told_whether_it_fits_or_not(self):
        one = {"fits": False, "bytes": {"total": 2e11}, "wire_bytes_per_step": 3e9, "wire_seconds": 4, "step_seconds": 5,
               "tokens_per_second_per_device": 600,
               "published": {"tokens_per_second_per_device": 300, "plan_times": 2}}
        self.assertEqual(
            scale.row("X", "h100", 1024, one),
            "| X | 1,024 h100 | 200.0 GB, does not fit | 3 GB | 5.00 s | exchanges | 600 | 300; 2.00 |")
        self.assertIn("| products | 600 |  |", scale.row("X", "h100", 8, {**one, "wire_seconds": 1, "published": None}))
        self.assertEqual(scale.row("X", "h100", 8, {"refused": "no"}), "| X | 8 h100 | no | | | | | |")

    def test_each_machine_says_its_memory(self):
        for text in scale.MACHINES.values():
            self.assertEqual(len(scale.MEMORY.findall(text)), 1)

    def test_rows_are_split_evenly_and_all_differ(self):
        with tempfile.TemporaryDirectory() as name:
            mixture_scale.write_tasks(Path(name), 3, 11)
            files = [path.read_text().splitlines() for path in sorted(Path(name).iterdir())]
        self.assertEqual([len(lines) for lines in files], [4, 4, 3])
        self.assertEqual(len({line for lines in files for line in lines}), 11)


if __name__ == "__main__":
    unittest.main()
