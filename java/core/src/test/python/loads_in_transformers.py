"""Checks by hand that a checkpoint of Caravan's loads in Hugging Face transformers and computes the
same there.

Run:  ./caravan score --model CHECKPOINT --data ROWS.jsonl --out SCORES.jsonl
      python loads_in_transformers.py CHECKPOINT ROWS.jsonl SCORES.jsonl

ROWS is in the `tokens` format. Fails if transformers finds a weight missing, unexpected or of
another shape, or if a log-probability differs by more than 1e-4.
"""

import argparse
import json
import sys
from pathlib import Path

from transformers import AutoModelForCausalLM

sys.path.append(str(Path(__file__).parents[1] / "resources" / "golden"))
from reference import load, score  # noqa: E402

TOLERANCE = 1e-4


def read_lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def check_weights(folder):
    """transformers reports what it did with each weight of the folder."""
    _, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if report.get(kind):
            sys.exit(f"{folder}: {kind}: {report[kind]}")


def largest_difference(expected, scores):
    worst = 0.0
    for line, (mine, its) in enumerate(zip(scores, expected, strict=True), 1):
        if mine["targets"] != its["targets"]:
            sys.exit(f"row {line}: {mine['targets']} targets, transformers has {its['targets']}")
        pairs = zip(mine["logprobs"], its["logprobs"], strict=True)
        worst = max([worst, *(abs(a - b) for a, b in pairs)])
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("rows")
    parser.add_argument("scores")
    given = parser.parse_args()
    check_weights(given.checkpoint)
    expected = score(load(given.checkpoint), read_lines(given.rows))
    worst = largest_difference(expected, read_lines(given.scores))
    targets = sum(row["targets"] for row in expected)
    print(f"{targets} targets in {len(expected)} rows; largest difference {worst:.2e}")
    if not worst <= TOLERANCE:
        sys.exit(f"more than {TOLERANCE}")


if __name__ == "__main__":
    main()
