"""Makes the data of the recipe first-run: rows.jsonl, held-out.jsonl, tokenizer.json.

Run with the tokenizers package installed:  python make.py
The rows are 42 small facts, so that a model of some hundred thousand weights can learn them in
seconds. Each is asked in two wordings, but for every fourth the second wording is held out: to answer
it, the model must have learnt that the wordings mean the same.
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

TASKS = [
    ("Give the opposite of the word.", "What is the contrary of this?", OPPOSITES),
    ("What is the young of this animal called?", "Name the baby of this animal.", YOUNG),
    ("Name the capital of the country.", "Which city is the capital here?", CAPITALS),
]
# The words that the alpaca template puts around a row (github.com/tatsu-lab/stanford_alpaca).
TEMPLATE = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n### Instruction:\n"
    "{instruction}\n\n### Input:\n{input}\n\n### Response:")
SPECIAL = ["<pad>", "<s>", "</s>"]
VOCABULARY = 512


def row(instruction, asked, answer):
    return dict(instruction=instruction, input=asked, output=answer)


def rows():
    trained, held_out = [], []
    for first, second, facts in TASKS:
        for number, (asked, answer) in enumerate(facts.items()):
            trained.append(row(first, asked, answer))
            to = held_out if number % 4 == 3 else trained
            to.append(row(second, asked, answer))
    return trained, held_out


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
    trained, held_out = rows()
    write("rows.jsonl", trained)
    write("held-out.jsonl", held_out)
    tokenizer([TEMPLATE.format(**row) + row["output"] for row in trained + held_out])


if __name__ == "__main__":
    main()
