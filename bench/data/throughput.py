"""Rendering, tokenizing and packing: Caravan against Hugging Face datasets, tokenizers and TRL's packing.

Run:  python throughput.py --tokenizer FOLDER/tokenizer.json [--data FILE ...] [--rounds 3] [--out results/NAME.json]
Build first:  mvn -q -o package -DskipTests
Needs datasets, transformers and trl for the peer.

--data takes jsonl files with the fields prompt and response, or question and answer, and FLAN's tsv files; without
it rows of made-up words are generated. They are copied into one jsonl file of prompts and responses, without those
longer than the sequence, which is what both sides read.

Each round runs one side, then the other, each in a process of its own that makes three passes over the file with a
tokenizer that has seen nothing. The first pass has all that a cold process costs; the last is that of a long run.
Figures are tokens per second of processor time of the whole process (that is, per core that it keeps busy), which
neighbours on the machine change less than wall time; of each, the median over rounds. Both sides must make the same
tokens: the ids of the first rows, the number of tokens and of targets and a checksum of all ids are compared.

Last, examples at random places of a mixture over the same file are read from the cache, in microseconds of wall time.
"""

import argparse
import csv
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))
from conditions import keep, missing, report, summary  # noqa: E402

PASSES = 3
SAME = ("first", "rows", "tokens", "targets", "sum")
FIELDS = (("prompt", "response"), ("question", "answer"))


def read(file):
    """The prompts and responses of a file."""
    if file.suffix == ".tsv":
        with open(file, newline="") as lines:
            for question, answer, rationale in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
                yield question, f"{rationale} {answer}"
        return
    with open(file) as lines:
        for line in lines:
            record = json.loads(line)
            names = next((pair for pair in FIELDS if pair[0] in record and pair[1] in record), None)
            if names is None:
                raise SystemExit(f"{file}: fields {sorted(record)}, needs {' or '.join(map(str, FIELDS))}")
            yield record[names[0]], record[names[1]]


def generate(rows, seed=1):
    """Rows of made-up words, as often as words of a language are: the n-th has 1/n of the first's share."""
    rng = random.Random(seed)
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er", "is", "ou")]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(30000)]
    weights = [1 / (n + 1) for n in range(len(words))]

    def text(least, most):
        chosen = rng.choices(words, weights, k=rng.randint(least, most))
        chosen[0] = chosen[0].capitalize()
        for i in range(7, len(chosen), 11):
            chosen[i] = rng.choice((chosen[i] + ",", str(rng.randrange(10000)), chosen[i] + "."))
        return " ".join(chosen) + "."

    for _ in range(rows):
        yield text(10, 80), text(2, 120)


def write(path, sources, sequence):
    """Writes the file that both sides read; a token has at least one byte, so no row is too long."""
    kept = left = 0
    with open(path, "w") as out:
        for source in sources:
            for prompt, response in source:
                room = sequence - len("Question: \nAnswer: ") - 1
                if not response.strip() or len(f"{prompt}{response}".encode()) > room:
                    left += 1
                    continue
                out.write(json.dumps({"prompt": prompt, "response": response}) + "\n")
                kept += 1
    if kept == 0:
        raise SystemExit("no row is left")
    return {"rows": kept, "rows_too_long_or_empty": left, "bytes": path.stat().st_size}


def end_id(tokenizer):
    """The id of the end token, which both sides put behind a row."""
    for name in ("</s>", "<|end_of_text|>", "<eos>", "<|endoftext|>"):
        for token in json.loads(tokenizer.read_text())["added_tokens"]:
            if token["content"] == name:
                return token["id"]
    raise SystemExit(f"{tokenizer}: no end token that this program knows")


def run(command, environment=None):
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        raise SystemExit(done.stderr or done.stdout)
    return json.loads(done.stdout.splitlines()[-1])


def rate(side, place, seconds="cpu_s"):
    return statistics.median(one["tokens"] / one["passes"][place][seconds] for one in side)


def compare(name, sources, args):
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.jsonl"
        facts = write(data, sources, args.sequence)
        settings = [data, args.tokenizer, args.sequence, PASSES]
        ours, theirs = [], []
        for _ in range(args.rounds):
            ours.append(run([HERE / "run", "Prepare", *settings]))
            theirs.append(run([sys.executable, HERE / "peer.py", *settings, end_id(args.tokenizer)]))
            for key in SAME:
                if ours[-1][key] != theirs[-1][key]:
                    raise SystemExit(f"{name}: {key} differs: {ours[-1][key]} against {theirs[-1][key]}")
        access = run([HERE / "run", "Access", *settings[:3], args.reads, Path(folder) / "cache"])
    result = {"name": name, **facts, "tokens": ours[0]["tokens"]}
    for label, place in (("cold", 0), ("warm", PASSES - 1)):
        result[label] = {
            "caravan_tokens_per_cpu_s": rate(ours, place),
            "peer_tokens_per_cpu_s": rate(theirs, place),
            "ratio": rate(ours, place) / rate(theirs, place),
            "wall_ratio": rate(ours, place, "wall_s") / rate(theirs, place, "wall_s"),
            "packing_ratio": rate(ours, place, "pack_cpu_s") / rate(theirs, place, "pack_cpu_s"),
        }
    for side in (*ours, *theirs):
        del side["first"]
    result["buffers"] = {"caravan": ours[0]["passes"][0]["buffers"], "peer": theirs[0]["passes"][0]["buffers"]}
    result["access"] = access
    result["runs"] = {"caravan": ours, "peer": theirs}
    print(summary(result), flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", type=Path, required=True, help="a tokenizer.json without a start mark")
    parser.add_argument("--data", type=Path, nargs="*", default=[])
    parser.add_argument("--rows", type=int, default=50000, help="of generated data")
    parser.add_argument("--sequence", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reads", type=int, default=200000, help="of examples at random places")
    parser.add_argument("--out")
    args = parser.parse_args()
    missing(parser, args.tokenizer, *args.data)
    result = report("data", os.cpu_count(), sequence=args.sequence)
    if args.data:
        results = [compare("files", [read(file) for file in args.data], args)]
    else:
        results = [compare("generated", [generate(args.rows)], args)]
    result["results"] = results
    keep(result, args.out)


if __name__ == "__main__":
    main()
