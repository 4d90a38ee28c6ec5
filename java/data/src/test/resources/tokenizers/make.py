"""Makes the tiny tokenizers of this folder and golden.json, the ids that the real libraries give on hard text.

    python make.py        needs sentencepiece and tokenizers; writes beside itself

bpe.model      SentencePiece BPE with byte fallback, no normalization (LLaMA's kind)
bpe.bin        the same vocabulary as llama2.c writes it
unigram.model  SentencePiece unigram with a small normalization table, extra spaces removed, no BOS (T5's kind)
bytelevel/     tokenizer.json, byte-level BPE with chat tokens (Llama 3's and Qwen's kind), tokenizer_config.json
metaspace/     tokenizer.json, BPE with byte fallback behind a Prepend normalizer (Llama 2's kind), BOS from its template
"""

import io
import json
import random
import struct
from pathlib import Path

import sentencepiece as spm
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent

# The training text is made from this sentence bank alone.
WORDS = (
    "the caravan walks slowly across a wide desert while seven old camels carry water salt and cloth to the market "
    "a trader counts 12 coins then 30 then 456 and writes each number into a small book before the evening meal "
    "answer this question step by step how many camels are left if two stay behind the answer is five"
).split()
OTHER = ["naïve café", "Größe straße", "Ωmega", "日本語", "中文", "한국어", "привет мир", "שלום", "x = y + 1;"]

TEXTS = [
    "",
    " ",
    "   ",
    "a",
    "The caravan walks.",
    "  leading and   several spaces ",
    "tabs\tand\nnew lines\r\n\n",
    "naïve café Ωmega ß ﬁ ² Ａｂ",
    "日本語のテキスト 中文 한국어 привет שלום",
    "emoji 🙂👩‍👩‍👧 ok 🏳️‍🌈",
    "1234567890 3.14159 -42 1e-5",
    "def f(x):\n    return x**2  # note",
    "<s> </s> <unk> <pad>",
    "<0x0A> is not a line feed",
    "answer: 12 + 30 = 42. The answer is 42.",
    "a\u0301 e\u0300 \u200b zero width",
    "\u2581marks\u2581as\u2581text",
    "ThE cArAvAn",
]


def corpus():
    rng = random.Random(7)
    lines = []
    for _ in range(1500):
        words = [rng.choice(WORDS) for _ in range(rng.randint(3, 12))]
        if rng.random() < 0.3:
            words.insert(rng.randrange(len(words)), rng.choice(OTHER))
        line = " ".join(words)
        lines.append(line.capitalize() + "." if rng.random() < 0.5 else line)
    return lines


def train_sentencepiece(lines):
    common = dict(sentence_iterator=None, num_threads=1, hard_vocab_limit=False, minloglevel=2)

    def train(**options):
        out = io.BytesIO()
        spm.SentencePieceTrainer.train(**{**common, **options, "sentence_iterator": iter(lines), "model_writer": out})
        return out.getvalue()

    (HERE / "bpe.model").write_bytes(
        train(
            vocab_size=420, model_type="bpe", byte_fallback=True, split_digits=True,
            normalization_rule_name="identity", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
            character_coverage=0.985,
        )
    )
    rules = HERE / "rules.tsv"
    fold = {"ﬁ": "fi", "²": "2", "Ａ": "A", "ｂ": "b", "\u3000": " ", "\t": " ", "\n": " ", "\r": " ", "\u200b": ""}
    rules.write_text("".join(
        " ".join(f"{ord(c):X}" for c in k) + "\t" + " ".join(f"{ord(c):X}" for c in v) + "\n" for k, v in fold.items()
    ))
    (HERE / "unigram.model").write_bytes(
        train(
            vocab_size=160, model_type="unigram", normalization_rule_tsv=str(rules), bos_id=-1, pad_id=0, eos_id=1,
            unk_id=2, character_coverage=0.985, user_defined_symbols=["<sep>"],
        )
    )
    rules.unlink()


def write_llama2c():
    sp = spm.SentencePieceProcessor(model_file=str(HERE / "bpe.model"))
    pieces = []
    for i in range(sp.get_piece_size()):
        text = sp.id_to_piece(i)
        if i == sp.bos_id():
            text = "\n<s>\n"
        elif i == sp.eos_id():
            text = "\n</s>\n"
        pieces.append((sp.get_score(i), text.replace("\u2581", " ").encode()))
    with open(HERE / "bpe.bin", "wb") as f:
        f.write(struct.pack("<i", max(len(b) for _, b in pieces)))
        for score, b in pieces:
            f.write(struct.pack("<fi", score, len(b)) + b)


def train_tokenizers(lines):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    special = ["<|begin|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]
    t.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    (HERE / "bytelevel").mkdir(exist_ok=True)
    t.save(str(HERE / "bytelevel" / "tokenizer.json"))
    config = {"bos_token": {"content": "<|begin|>"}, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
              "add_bos_token": True, "chat_template": "{% for m in messages %}<|im_start|>...{% endfor %}"}
    (HERE / "bytelevel" / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (HERE / "bytelevel" / "generation_config.json").write_text(
        json.dumps({"eos_token_id": [t.token_to_id("<|im_end|>"), t.token_to_id("<|endoftext|>")]}) + "\n")

    t = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    t.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    t.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=420, special_tokens=special, limit_alphabet=60, show_progress=False, max_token_length=12))
    data = json.loads(t.to_str())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["id"] < 3]
    data["post_processor"] = json.loads(json.dumps({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
    }))
    data["truncation"] = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    (HERE / "metaspace").mkdir(exist_ok=True)
    (HERE / "metaspace" / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False))


def without_prefix(name):
    """The library's ids of a text that follows other text."""
    if name.endswith(".model"):
        model = (HERE / name).read_bytes() + bytes([0x1A, 2, 0x18, 0])
        sp = spm.SentencePieceProcessor(model_proto=model)
        return sp.encode
    data = json.loads((HERE / name).read_text())
    data["truncation"] = None
    if data["normalizer"]:
        data["normalizer"]["normalizers"] = [n for n in data["normalizer"]["normalizers"] if n["type"] != "Prepend"]
    t = Tokenizer.from_str(json.dumps(data))
    return lambda text: t.encode(text, add_special_tokens=False).ids


def golden():
    rng = random.Random(11)
    out = {}
    for name in ["bpe.model", "unigram.model", "bytelevel/tokenizer.json", "metaspace/tokenizer.json"]:
        if name.endswith(".model"):
            sp = spm.SentencePieceProcessor(model_file=str(HERE / name))
            encode, decode, size = sp.encode, sp.decode, sp.get_piece_size()
        else:
            t = Tokenizer.from_file(str(HERE / name))
            t.no_truncation()
            encode = lambda text, t=t: t.encode(text, add_special_tokens=False).ids
            decode, size = t.decode, t.get_vocab_size()
        follow = without_prefix(name)
        cases = [{"text": text, "ids": encode(text), "follow": follow(text)} for text in TEXTS]
        decodes = []
        for _ in range(40):
            ids = [rng.randrange(size) for _ in range(rng.randint(0, 12))]
            decodes.append({"ids": ids, "text": decode(ids)})
        out[name] = {"size": size, "cases": cases, "decodes": decodes}
    lines = []
    for name, entry in out.items():
        head = f'{json.dumps(name)}: {{"size": {entry["size"]}'
        for key in ["cases", "decodes"]:
            body = ",\n".join("  " + json.dumps(case, ensure_ascii=False) for case in entry[key])
            head += f', "{key}": [\n{body}]'
        lines.append(head + "}")
    (HERE / "golden.json").write_text("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    text = corpus()
    train_sentencepiece(text)
    write_llama2c()
    train_tokenizers(text)
    golden()
