"""Writes corpus.jsonl.gz beside this file: the corpus of quickstart-base without the documents that
study-quality keeps apart, which the recipes glam-tiny and glam-tiny-dense are measured on.

Run:  python make.py     the same file, byte for byte, again
"""

import gzip
import json
from pathlib import Path

HERE = Path(__file__).parent


def texts(path):
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def main():
    held_out = set(texts(HERE.parent / "study-quality" / "held-out.jsonl.gz"))
    corpus = texts(HERE.parent / "quickstart-base" / "corpus.jsonl.gz")
    kept = [text for text in corpus if text not in held_out]
    assert len(corpus) - len(kept) >= len(held_out)
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in kept)
    with open(HERE / "corpus.jsonl.gz", "wb") as raw:
        with gzip.GzipFile("", "wb", 9, raw, mtime=0) as out:
            out.write(lines.encode("utf-8"))
    print(f"{len(kept)} of {len(corpus)} documents")


if __name__ == "__main__":
    main()
