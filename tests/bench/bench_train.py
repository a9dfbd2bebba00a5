"""Training beside transformers' Trainer: tokens per second at the same shape, batches, optimizer and initial weights.

    python tests/bench/bench_train.py [DATASET] [--steps 24] [--batch-tokens 4096] [--device auto]

Contestants, each in a process of its own: `LlamaForCausalLM` under `Trainer` with its defaults; the same with bf16 and
torch.compile; paramalloc. Three widths: embedding share 25, 35 and 45 % of 10M parameters at GLU 2.66, seq_len 512. The
loss of the last quarter of the steps stands beside the speed: it is the same training. The first quarter is not timed.
Writes outputs/bench/train.csv and train.svg.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STARTED = time.perf_counter()
NAMES = {
    "trainer": "transformers Trainer, defaults",
    "compiled": "transformers Trainer, bf16 and compiled",
    "paramalloc": "paramalloc",
}
SHARES = (0.25, 0.35, 0.45)


def cell(arguments):
    from paramalloc.config import TrainConfig

    return TrainConfig.from_dict(
        {
            "parametrization": "standard",  # three groups, which a Trainer's AdamW takes as they are
            "dataset": arguments.dataset,
            "profile": "study",
            "total_params": 10_000_000,
            "embed_share": arguments.share,
            "seq_len": 512,
            "batch_tokens": arguments.batch_tokens,
            "tokens": arguments.steps * arguments.batch_tokens,
            "lr": 1e-3,
            "device": arguments.device,
            "probes": 1,
        }
    )


def laps(times: list[float], losses: list[float], arguments) -> dict:
    """Speed without the first quarter of the steps, loss of the last quarter, seconds to the end of the first step."""
    skipped = arguments.steps // 4
    from paramalloc.model import peak_memory, pick_device

    return {
        "tokens_per_s": (len(times) - 1 - skipped)
        * arguments.batch_tokens
        / (times[-1] - times[skipped]),
        "loss": sum(losses[-skipped:]) / skipped,
        "first_step_s": times[0] - STARTED,
        "peak_memory_gb": peak_memory(pick_device(arguments.device)) / 1e9,
    }


def ours(arguments) -> dict:
    import torch

    from paramalloc.allocation import allocation
    from paramalloc.config import ROOT
    from paramalloc.data import Batches, find
    from paramalloc.model import DecoderLM, keep_freed_memory, pick_device, pick_precision
    from paramalloc.training import Learner
    from paramalloc.training.feed import Feed
    from paramalloc.training.optimizer import schedule

    config = cell(arguments)
    corpus, device = (
        find(config.dataset, config.vocab_size, ROOT / "outputs"),
        pick_device(config.device),
    )
    feed = Feed(
        Batches(corpus.split("train"), config.seq_len, config.batch_tokens // config.seq_len, 0),
        device,
    )
    keep_freed_memory()
    torch.manual_seed(0)
    learner = Learner(
        config, DecoderLM(allocation(config).model), device, pick_precision("auto", device)
    )
    times, losses = [], []
    for step in range(1, config.steps + 1):
        losses.append(
            learner.step(*feed(step - 1), config.lr * schedule(step, config.steps, config.warmup))
        )
        if device.type == "cuda" and step in (1, config.steps // 4 + 1, config.steps):
            torch.cuda.synchronize()
        times.append(time.perf_counter())
    return laps(times, [loss.item() for loss in losses], arguments)


def theirs(arguments, **options) -> dict:
    import torch
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from paramalloc.allocation import allocation
    from paramalloc.config import ROOT
    from paramalloc.data import Batches, find
    from paramalloc.export import llama_config, llama_weights
    from paramalloc.model import DecoderLM
    from paramalloc.training.optimizer import make_optimizers, schedule

    config = cell(arguments)
    corpus = find(config.dataset, config.vocab_size, ROOT / "outputs")
    rows = config.batch_tokens // config.seq_len
    batches = Batches(corpus.split("train"), config.seq_len, rows, 0)
    torch.manual_seed(0)
    shape, twin = allocation(config).model, DecoderLM(allocation(config).model)
    llama = LlamaForCausalLM(LlamaConfig(**llama_config(shape, config.seq_len), use_cache=False))
    llama.load_state_dict(
        llama_weights(twin.state_dict(), shape), strict=False
    )  # a tied head has no entry
    llama.tie_weights()
    groups = make_optimizers(twin, config)[0].param_groups
    owners = {"tables": [llama.model.embed_tokens.weight]}
    rest = [
        weight
        for name, weight in llama.named_parameters()
        if "embed_tokens" not in name and "lm_head" not in name
    ]
    weights = [
        owners["tables"],
        [w for w in rest if w.dim() < 2],
        [w for w in rest if w.dim() >= 2],
    ]  # the order of the groups
    optimizer = torch.optim.AdamW(
        [
            {
                "params": part,
                "weight_decay": group["weight_decay"],
                "lr": config.lr * group["lr_scale"],
            }
            for part, group in zip(weights, groups)
        ],
        betas=groups[0]["betas"],
        fused=True,
    )
    falling = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: schedule(step + 1, config.steps, config.warmup)
    )

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return rows * config.steps

        def __getitem__(self, i):
            x, y = batches(i // rows)
            return {
                "input_ids": torch.tensor(x[i % rows]),
                "labels": torch.tensor(y[i % rows]),
                "shift_labels": torch.tensor(y[i % rows]),
            }

    class InOrder(Trainer):
        def _get_train_sampler(self, *_):
            return torch.utils.data.SequentialSampler(self.train_dataset)

    class Clock(TrainerCallback):
        times, losses = [], []

        def on_step_end(self, *_, **__):
            if torch.cuda.is_available() and len(self.times) in (
                0,
                config.steps // 4,
                config.steps - 1,
            ):
                torch.cuda.synchronize()
            self.times.append(time.perf_counter())

        def on_log(self, args, state, control, logs=None, **_):
            if "loss" in (logs or {}):
                self.losses.append(logs["loss"])

    with tempfile.TemporaryDirectory() as folder:
        given = TrainingArguments(
            folder,
            per_device_train_batch_size=rows,
            max_steps=config.steps,
            logging_steps=config.steps // 4,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            use_cpu=arguments.device == "cpu" or not torch.cuda.is_available(),
            **options,
        )
        clock = Clock()
        InOrder(
            llama, given, train_dataset=Rows(), optimizers=(optimizer, falling), callbacks=[clock]
        ).train()
    return laps(clock.times, clock.losses[-1:] * (config.steps // 4), arguments)


CONTESTANTS = {
    "trainer": lambda arguments: theirs(arguments, bf16=False, tf32=None),
    "compiled": lambda arguments: theirs(arguments, bf16=True, torch_compile=True),
    "paramalloc": ours,
}


def main(arguments):
    import altair as alt
    import pandas as pd

    from paramalloc.config import ROOT
    from paramalloc.data import prepare
    from paramalloc.plots import save

    prepare(arguments.dataset, 16_000, ROOT / "outputs")
    rows = []
    for share in arguments.shares:
        for name in arguments.only or NAMES:
            command = [
                sys.executable,
                __file__,
                arguments.dataset,
                "--contestant",
                name,
                "--share",
                share,
                "--steps",
                arguments.steps,
                "--batch-tokens",
                arguments.batch_tokens,
                "--device",
                arguments.device,
            ]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
            if done.returncode:
                print(done.stderr[-3000:], file=sys.stderr)
                continue
            rows.append(
                {"share": share, "contestant": NAMES[name]}
                | json.loads(done.stdout.splitlines()[-1])
            )
            print(
                f"{share:.0%}  {NAMES[name]:42} {rows[-1]['tokens_per_s']:>10,.0f} tokens/s   loss {rows[-1]['loss']:.3f}   "
                f"first step after {rows[-1]['first_step_s']:.1f} s   {rows[-1]['peak_memory_gb']:.2f} GB",
                flush=True,
            )
    table, folder = pd.DataFrame(rows), ROOT / "outputs" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "train.csv", index=False)
    chart = (
        alt.Chart(table)
        .mark_bar()
        .encode(
            x=alt.X("tokens_per_s:Q", title="training tokens per second"),
            y=alt.Y(
                "contestant:N", title=None, sort=list(NAMES.values()), axis=alt.Axis(labelLimit=300)
            ),
            row=alt.Row("share:N", title="embedding share"),
            color=alt.Color("contestant:N", legend=None),
        )
    )
    save(chart, Path(folder / "train.svg"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", nargs="?", default="builtin")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--shares", type=lambda text: [float(part) for part in text.split(",")], default=SHARES
    )
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=None,
        help="trainer, compiled, paramalloc",
    )
    parser.add_argument("--contestant", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--share", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        print(json.dumps(CONTESTANTS[arguments.contestant](arguments)))
    else:
        main(arguments)
