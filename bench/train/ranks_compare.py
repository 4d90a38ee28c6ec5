"""Training by two ranks of one core each against one rank with two threads: the same machine, in turns.

Run:  python ranks_compare.py [--rounds 12] [--steps 8] [--tokens 4096] [--out results/NAME.json]

The 15M LLaMA of compare.py, float32, loss on every token, sequence 256, the same rows. Each round runs both
sides, each time in the other order; the first two steps of a process are not counted. The figure is the
ratio of the medians over all counted steps. Beside it stand the median over rounds of the ratio of both
sides' medians, and the ratio of the fastest steps, which other work on the machine disturbs least. Losses
of both sides are compared: ranks must not change what is learnt.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from compare import CONFIG, WARM_UP, caravan, write_rows  # noqa: E402
from conditions import keep, report, summary  # noqa: E402

SEQUENCE = 256
SIDES = {"one": "{data: 1}", "two": "{data: 2}"}


def counted(runs):
    return [rate for run in runs for rate in run["tokens_per_s"][WARM_UP:]]


def figures(one, two):
    """What is told of both sides' runs, one of each in a round."""
    rounds = [
        statistics.median(counted([b])) / statistics.median(counted([a])) for a, b in zip(one, two)
    ]
    return {
        "one_tokens_per_s": statistics.median(counted(one)),
        "two_tokens_per_s": statistics.median(counted(two)),
        "ratio": statistics.median(counted(two)) / statistics.median(counted(one)),
        "ratio_of_rounds": statistics.median(rounds),
        "ratio_of_fastest": max(counted(two)) / max(counted(one)),
        "loss_difference": max(
            abs(a - b) / a for x, y in zip(one, two) for a, b in zip(x["loss"], y["loss"])
        ),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--out")
    args = parser.parse_args()
    result = report("ranks", 2, tokens_per_step=args.tokens, sequence=SEQUENCE, rounds=args.rounds)
    runs = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        rows = folder / "rows.jsonl"
        write_rows(rows, SEQUENCE, args.steps * args.tokens // 2048)
        for turn in range(args.rounds):
            for side in sorted(SIDES, reverse=turn % 2 == 1):
                runs[side].append(
                    caravan(folder, rows, SEQUENCE, args.tokens, args.steps, 2, SIDES[side])
                )
            print(json.dumps(figures(runs["one"], runs["two"])), flush=True)
    result.update(figures(runs["one"], runs["two"]))
    result["runs"] = runs
    keep(result, args.out)
    print(summary(result))


if __name__ == "__main__":
    main()
