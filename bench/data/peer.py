"""Hugging Face's side of throughput.py: datasets, a fast tokenizer and TRL's packing, in one process.

Run:  python peer.py FILE.jsonl TOKENIZER.json SEQUENCE PASSES END_ID

Prints as JSON what each pass took, wall and processor time of the whole process, and what came out. Each pass
opens the tokenizer anew and keeps nothing of the one before, on disk neither.
"""

import json
import sys
import tempfile
import time
import zlib

import datasets
import numpy
from transformers import PreTrainedTokenizerFast
from trl import pack_dataset

SHOWN = 20


def tokenized(tokenizer, end):
    def encode(batch):
        prompts = [f"Question: {text}\nAnswer:" for text in batch["prompt"]]
        targets = [f" {text}" for text in batch["response"]]
        options = {"add_special_tokens": False, "return_attention_mask": False}
        heads = tokenizer(prompts, **options)["input_ids"]
        tails = tokenizer(targets, **options)["input_ids"]
        ids = [head + tail + [end] for head, tail in zip(heads, tails)]
        learnt = [[0] * len(head) + [1] * (len(tail) + 1) for head, tail in zip(heads, tails)]
        return {"input_ids": ids, "completion_mask": learnt}

    return encode


def one_pass(file, tokenizer_file, sequence, end, cache):
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=tokenizer_file)
    wall, cpu = time.perf_counter(), time.process_time()
    raw = datasets.Dataset.from_json(file, keep_in_memory=True, cache_dir=cache)
    rows = raw.map(
        tokenized(tokenizer, end), batched=True, remove_columns=raw.column_names, keep_in_memory=True
    )
    before_packing = time.process_time()
    packed = pack_dataset(rows, sequence, strategy="bfd", map_kwargs={"keep_in_memory": True})
    done = time.process_time()
    took = {
        "pack_cpu_s": done - before_packing,
        "cpu_s": done - cpu,
        "wall_s": time.perf_counter() - wall,
        "buffers": len(packed),
    }
    return rows, took


def main():
    file, tokenizer_file, sequence, passes, end = sys.argv[1:]
    datasets.disable_caching()
    datasets.disable_progress_bars()
    took = []
    for _ in range(int(passes)):
        with tempfile.TemporaryDirectory() as cache:
            rows, one = one_pass(file, tokenizer_file, int(sequence), int(end), cache)
        took.append(one)
    checksum = 0
    for ids in rows["input_ids"]:
        checksum = zlib.crc32(numpy.asarray(ids, "<i4").tobytes(), checksum)
    result = {
        "passes": took,
        "first": rows[:SHOWN]["input_ids"],
        "rows": len(rows),
        "tokens": sum(map(len, rows["input_ids"])),
        "targets": sum(map(sum, rows["completion_mask"])),
        "sum": checksum,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
