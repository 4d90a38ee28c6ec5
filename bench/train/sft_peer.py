"""The peer of sft_compare.py: the same tuning by TRL's SFTTrainer, on the CPU.

Run:  python sft_peer.py MODEL ROWS.jsonl --mode padding|packing --steps 12 --examples 16 --threads 2
                         --lr 5e-4 --out FOLDER
Prints one JSON object: targets, seconds and loss of each step, peak_bytes of the process; writes the model.

A step's time is from the end of the step before it to its own end, so fetching and collating count.
"""

import argparse
import json
import os
import resource
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from torch.utils.data import SequentialSampler  # noqa: E402
from transformers import LlamaForCausalLM, TrainerCallback  # noqa: E402
from trl import SFTConfig, SFTTrainer  # noqa: E402

NO_LOSS = -100
PAD = 0


class Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self):
        self.ends = []

    def on_train_begin(self, args, state, control, **kwargs):
        self.ends.append(time.perf_counter())

    def on_step_end(self, args, state, control, **kwargs):
        self.ends.append(time.perf_counter())


class InOrder(SFTTrainer):
    """Rows in the order of the file."""

    def _get_train_sampler(self, *args, **kwargs):
        return SequentialSampler(self.train_dataset)


def read(path):
    with open(path) as lines:
        rows = [json.loads(line) for line in lines]
    return Dataset.from_list(rows), rows


def config(args):
    return SFTConfig(
        output_dir=args.out,
        max_steps=args.steps,
        per_device_train_batch_size=args.examples,
        gradient_accumulation_steps=1,
        learning_rate=args.lr,
        lr_scheduler_type="constant",
        weight_decay=0.1,
        adam_beta1=0.9,
        adam_beta2=0.95,
        adam_epsilon=1e-8,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        padding_free=args.mode == "packing",
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=0,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("rows")
    parser.add_argument("--mode", choices=("padding", "packing"), required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--examples", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dataset, rows = read(args.rows)
    clock = Clock()
    trainer = InOrder(
        model=LlamaForCausalLM.from_pretrained(args.model, dtype=torch.float32),
        args=config(args),
        train_dataset=dataset,
        processing_class=tokenizer(),
        callbacks=[clock],
    )
    real_stdout, sys.stdout = sys.stdout, sys.stderr
    trainer.train()
    trainer.save_model(args.out)
    sys.stdout = real_stdout
    targets = [
        sum(
            label != NO_LOSS
            for row in rows[step * args.examples : (step + 1) * args.examples]
            for label in row["labels"][1:]
        )
        for step in range(args.steps)
    ]
    seconds = [end - start for start, end in zip(clock.ends, clock.ends[1:])]
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"targets": targets, "seconds": seconds, "loss": losses, "peak_bytes": peak}))


def tokenizer():
    """A tokenizer of one word: the rows are tokens already, only its ids for padding and end matter."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<pad>": PAD, "<unk>": 1, "</s>": 2}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", eos_token="</s>"
    )


if __name__ == "__main__":
    main()
