"""A mixture of many generated tasks in a small heap: does it run, how long until the first step, and how much waiting.

Run:  python mixture_scale.py [--tasks 1836] [--rows 10000000] [--heap 1g] [--steps 50] [--out results/NAME.json]

Trains a tiny model twice on the same mixture: at first the cache is empty, then it is there. The time is that of
the whole command, from the launcher to the checkpoint; the memory is the largest that was resident, in which pages
of the mapped cache count too. Both runs must end with the same loss.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
from conditions import keep, report, summary  # noqa: E402

TOKENIZER = "java/cli/src/main/resources/dev/caravan/cli/recipes/first-run/tokenizer.json"
CONFIG = {
    "model_type": "llama",
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def row(task, index):
    """An example that no other one equals."""
    return {
        "prompt": f"Task {task}, row {index}: what is {index % 97} and {task % 89} in one word?",
        "response": f"{index % 97}-{task % 89}",
    }


def write_tasks(folder, tasks, rows):
    """Splits the rows over the tasks as evenly as they go, a file a task."""
    for task in range(tasks):
        count = rows // tasks + (task < rows % tasks)
        with open(folder / f"task{task:04}.jsonl", "w") as out:
            out.writelines(json.dumps(row(task, index)) + "\n" for index in range(count))


def train(folder, name, args):
    run = folder / name
    recipe = folder / "run.yaml"
    recipe.write_text(
        f"""model: {{config: {json.dumps(CONFIG)}, seed: 0}}
tokenizer: {ROOT / TOKENIZER}
data: {{mixture: {folder / "mixture.yaml"}, cache: {folder / "cache"}}}
sequence: {{length: 128}}
train: {{steps: {args.steps}, examples_per_step: 64}}
optimizer: {{lr: 1e-3}}
output: {run}
"""
    )
    environment = dict(os.environ, CARAVAN_JAVA_OPTS=f"-Xmx{args.heap}")
    command = [str(ROOT / "caravan"), "sft", str(recipe), "--device", "cpu"]
    began = time.monotonic()
    with open(folder / f"{name}.log", "w+") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            log.seek(0)
            sys.exit(log.read())
    seconds = time.monotonic() - began
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "seconds": seconds,
        "resident_mb": usage.ru_maxrss / 1024,
        "wait_s": sum(step["data_wait_s"] for step in steps),
        "steps_s": sum(step["seconds"] for step in steps),
        "loss": steps[-1]["loss"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=1836)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--heap", default="1g")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--out")
    args = parser.parse_args()
    subprocess.run([str(ROOT / "caravan"), "recipes"], check=True, stdout=subprocess.DEVNULL)
    result = report("mixture-scale", os.cpu_count(), tasks=args.tasks, rows=args.rows, heap=args.heap)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tasks").mkdir()
        write_tasks(folder / "tasks", args.tasks, args.rows)
        (folder / "mixture.yaml").write_text(
            f"""tasks:
  made:
    path: {folder / "tasks"}/*.jsonl
    each_file: true
    format: prompt
    fields: {{target: response}}
    templates: [qa]
mixture: made
"""
        )
        result["empty_cache"] = train(folder, "first", args)
        result["full_cache"] = train(folder, "second", args)
    if result["empty_cache"]["loss"] != result["full_cache"]["loss"]:
        sys.exit(f"the losses differ: {summary(result)}")
    keep(result, args.out)
    print(summary(result))


if __name__ == "__main__":
    main()
