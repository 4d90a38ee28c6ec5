"""Makes the data of the recipe first-run: rows.jsonl, held-out.jsonl, tokenizer.json.

Run with the tokenizers package installed:  python make.py
The rows are small facts in a few wordings, so that a model of some ten thousand weights can learn
them in seconds; the held-out rows ask about the same facts in a wording that is not trained on.
"""

import json
import pathlib

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

OPPOSITES = dict(
    hot="cold", big="small", tall="short", fast="slow", day="night", up="down", old="new",
    wet="dry", full="empty", light="dark", early="late", hard="soft", loud="quiet", open="closed",
    rich="poor", strong="weak", near="far", happy="sad")
YOUNG = dict(
    dog="puppy", cat="kitten", cow="calf", sheep="lamb", horse="foal", hen="chick", goat="kid",
    duck="duckling", goose="gosling", pig="piglet", bear="cub", frog="tadpole")
CAPITALS = dict(
    France="Paris", Italy="Rome", Spain="Madrid", Japan="Tokyo", Egypt="Cairo", Kenya="Nairobi",
    Peru="Lima", Chile="Santiago", Norway="Oslo", Greece="Athens", Austria="Vienna", Cuba="Havana")

TRAINED = [
    ("Give the opposite of the word.", OPPOSITES),
    ("What is the young of this animal called?", YOUNG),
    ("Name the capital of the country.", CAPITALS),
]
HELD_OUT = [
    ("Give the opposite.", OPPOSITES),
    ("What is the young animal called?", YOUNG),
    ("Name the capital.", CAPITALS),
]
# The words that the alpaca template puts around a row (github.com/tatsu-lab/stanford_alpaca).
TEMPLATE = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n### Instruction:\n"
    "{instruction}\n\n### Input:\n{input}\n\n### Response:")
SPECIAL = ["<pad>", "<s>", "</s>"]
VOCABULARY = 512


def rows(tasks, every):
    made = []
    for instruction, facts in tasks:
        for asked, answer in list(facts.items())[::every]:
            made.append(dict(instruction=instruction, input=asked, output=answer))
    return made


def write(name, lines):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    pathlib.Path(__file__).with_name(name).write_text(text)


def tokenizer(texts):
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", SPECIAL.index("<s>"))])
    made.save(str(pathlib.Path(__file__).with_name("tokenizer.json")))


def main():
    trained = rows(TRAINED, 1)
    held_out = rows(HELD_OUT, 4)
    write("rows.jsonl", trained)
    write("held-out.jsonl", held_out)
    tokenizer([TEMPLATE.format(**row) + row["output"] for row in trained + held_out])


if __name__ == "__main__":
    main()
