"""Makes the golden files beside this file: what other programs make of answers and options.

Run:  python make.py       the same files, byte for byte, again
Needs torch and transformers (5.18), and rouge_score with NLTK's Porter stemmer. The committed files
come from NLTK 3.10.3 and the source of rouge_score as google-research/google-research had it in
2022 (folder rouge, imported as rouge_score).

  stems.json     [word, stem]: NLTK's PorterStemmer in its default mode, on stems with every suffix
                 that the algorithm knows
  rouge.json     reference, prediction, F-measure of rougeL without and with use_stemmer
  answers.json   pairs with the exact match and F1 of SQuAD's and the exact match of TriviaQA's
                 normalisation, written here anew from their definitions
  options.json   log-probabilities of options behind contexts, as token ids, by the model of
                 ../golden/llama2-gqa in float32 with a float64 log-softmax
"""

import json
import random
import re
import string
from collections import Counter
from pathlib import Path

import torch
from nltk.stem.porter import PorterStemmer
from rouge_score import rouge_scorer
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
MODEL = HERE.parent / "golden" / "llama2-gqa"

STEMS = (
    "hop fil tann fall hiss fizz agre confl troubl siz happ sk enjo fli di ti spi relat condit valenc"
    " hesit digit conform radic different vil analog vietnam predic oper feud decis hope call formal"
    " sensit triplic electr good reviv allow infer airlin gyroscop adjust defens irrit replac depend"
    " adopt homolog commun activ angular effect bowdler prob rat ceas control roll geo theo archaeo"
    " a be xy by toy syzyg q1 2nd"
).split()
SUFFIXES = (
    "s es ies sses ss eed ed ing ied y ational tional enci anci izer bli abli alli entli eli ousli"
    " ization ation ator alism iveness fulness ousness aliti iviti biliti fulli logi icate ative alize"
    " iciti ical ful ness al ance ence er ic able ible ant ement ment ent ion sion tion ou ism ate iti"
    " ous ive ize e ll lling lled ating bling izing nning"
).split()
IRREGULAR = (
    "sky skies dying lying tying news innings inning outings outing cannings canning howe proceed"
    " exceed succeed"
).split()

TEXTS = [
    "The quick brown fox jumps over the lazy dog",
    "the quick brown dog jumps on the log.",
    "A fox, quick and brown, jumped over lazy dogs!",
    "",
    "   ",
    "...!?",
    "Running runners run; the runner's running was relational and conditional.",
    "He ran. They were relating conditions of the races",
    "1,250.50 dollars",
    "1250 50 dollars",
    "Éclairs à la crème brûlée naïve café",
    "eclairs a la creme brulee naive cafe",
    "one two three four five six seven eight nine ten",
    "ten nine eight seven six five four three two one",
    "a a a b b c",
    "a b c a b c",
    "word_with_underscores and-hyphens/slashes",
    "word with underscores and hyphens slashes",
    "数学 mathematics 2nd",
    "Mathematical 2nd",
    "line one\nline two\n\nline three",
    "line one line three",
    "Yes",
    "yes.",
]

ANSWERS = [
    ("The Sunset Boulevard", "sunset boulevard."),
    ("an apple a day", "Apple day"),
    ("Theatre", "the atre"),
    ("U.S.A.", "usa"),
    ("U.S.A.", "u s a"),
    ("Sunset_Boulevard", "sunset boulevard"),
    ("rock-and-roll", "rock and roll"),
    ("rock-and-roll", "rockandroll"),
    ("O\u2019Neill", "O'Neill"),
    ("O\u2019Neill", "o neill"),
    ("caf\u00e9 de Flore", "Caf\u00e9 de Flore!"),
    ("", ""),
    ("the", "a"),
    ("the", "x"),
    ("one two three", "two three four"),
    ("two two three", "two two two"),
    ("  spaced \t out\n text ", "spaced out text"),
    ("42", "42.0"),
    ("$5 (five)", "5 five"),
    ("anthem", "them"),
    ("\u4e2d\u6587 \u7b54\u6848", "\u4e2d\u6587\u7b54\u6848"),
    ("a", "A."),
]


def squad(text):
    """Lower case, no ASCII punctuation, no articles, single spaces (SQuAD)."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def squad_f1(reference, prediction):
    expected, given = squad(reference).split(), squad(prediction).split()
    common = sum((Counter(expected) & Counter(given)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(given), common / len(expected)
    return 2 * precision * recall / (precision + recall)


def trivia(text):
    """Underscores and punctuation become spaces, then as above (TriviaQA)."""
    outside = set(string.punctuation + "\u2018\u2019\u00b4`")
    text = "".join(" " if c in outside else c for c in text.replace("_", " ").lower())
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def stems():
    stemmer = PorterStemmer()
    words = {stem + suffix for stem in STEMS for suffix in SUFFIXES} | set(IRREGULAR) | set(STEMS)
    words = sorted(words)
    random.Random(7).shuffle(words)
    kept = sorted(set(words[:1500]) | set(IRREGULAR))
    return [[word, stemmer.stem(word)] for word in kept]


def rouge():
    plain = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    stemmed = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)
    pairs = []
    for reference in TEXTS:
        for prediction in TEXTS:
            pairs.append(
                {
                    "reference": reference,
                    "prediction": prediction,
                    "plain": plain.score(reference, prediction)["rougeL"].fmeasure,
                    "stemmed": stemmed.score(reference, prediction)["rougeL"].fmeasure,
                }
            )
    return pairs


def answers():
    return [
        {
            "reference": r,
            "prediction": p,
            "squad": squad(r) == squad(p),
            "f1": squad_f1(r, p),
            "trivia": trivia(r) == trivia(p),
        }
        for r, p in ANSWERS
    ]


@torch.no_grad()
def options():
    model = AutoModelForCausalLM.from_pretrained(
        MODEL, attn_implementation="eager", dtype=torch.float32
    ).eval()
    rng = random.Random(11)
    shared = [1] + [rng.randrange(3, 250) for _ in range(70)]
    questions = []
    for number, lengths in enumerate([(1, 1, 1, 1), (2, 2, 2), (1, 3, 5, 9), (4, 1), (1,) * 5]):
        tail = [rng.randrange(3, 250) for _ in range(7 * number + 1)]
        context = shared + tail if number % 2 == 0 else [1] + tail
        first = rng.randrange(3, 250)
        chosen = []
        for length in lengths:
            ids = [rng.randrange(3, 250) for _ in range(length)]
            # Of the second question, options differ in their last token only.
            chosen.append([first] + ids[1:] if number == 1 else ids)
        logprobs = []
        for option in chosen:
            ids = torch.tensor([context + option])
            logits = model(input_ids=ids).logits[0].double().log_softmax(-1)
            at = range(len(context), len(context) + len(option))
            logprobs.append(sum(logits[i - 1, ids[0, i]].item() for i in at))
        questions.append({"context": context, "options": chosen, "logprobs": logprobs})
    return questions


def write(name, value):
    lines = ",\n".join(json.dumps(item) for item in value)
    (HERE / name).write_text("[\n" + lines + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    write("stems.json", stems())
    write("rouge.json", rouge())
    write("answers.json", answers())
    write("options.json", options())
