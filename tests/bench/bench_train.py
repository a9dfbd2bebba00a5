"""Training against transformers' Trainer: tokens per second at the same model and batches.

    python tests/bench/bench_train.py [DATASET] [--steps 24] [--batch-tokens 4096] [--device auto]

Contestants, each in a process of its own: `LlamaForCausalLM` under `Trainer` with its defaults; the
same with bf16 and torch.compile; paramalloc. They share shape, batches, optimizer and initial
weights. Three widths: embedding share 25, 35 and 45 % of 10M parameters at GLU 2.66, seq_len 512.

The loss of the last quarter of the steps stands next to the speed: it is the same training. The
first quarter is not timed. Writes outputs/bench/train.csv and train.svg.
"""

import argparse
import json
import subprocess
import sys
import time

STARTED = time.perf_counter()  # imports are in functions: their time counts to the first step
NAMES = {
    "trainer": "transformers Trainer, defaults",
    "compiled": "transformers Trainer, bf16 and compiled",
    "paramalloc": "paramalloc",
}
TRAINER_OPTIONS = {
    "trainer": {"bf16": False, "tf32": None},
    "compiled": {"bf16": True, "torch_compile": True},
}
SHARES = (0.25, 0.35, 0.45)


# -------------------------------------------------------------- a contestant


def run_contestant(arguments: argparse.Namespace) -> dict:
    """Speed and loss of one contestant, in this process."""
    from paramalloc.config import ROOT
    from paramalloc.data import find

    config = make_config(arguments)
    corpus = find(config.dataset, config.vocab_size, ROOT / "outputs")
    tokens = corpus.split("train")
    if arguments.contestant == "paramalloc":
        times, losses = train_with_paramalloc(config, tokens)
    else:
        from trainer import train_with_trainer

        options = TRAINER_OPTIONS[arguments.contestant]
        times, quarters = train_with_trainer(config, tokens, arguments.device, **options)
        losses = quarters[-1:] * (config.steps // 4)
    return summarize(times, losses, arguments)


def make_config(arguments: argparse.Namespace):
    from paramalloc.config import TrainConfig

    return TrainConfig.from_dict(
        {
            # Three groups, which a Trainer's AdamW takes as they are.
            "parametrization": "standard",
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


def train_with_paramalloc(config, tokens) -> tuple[list[float], list[float]]:
    """(when each step ended, its loss)."""
    import torch

    from paramalloc.allocation import allocation
    from paramalloc.data import Batches
    from paramalloc.model import DecoderLM, keep_freed_memory, pick_device, pick_precision
    from paramalloc.training import Learner
    from paramalloc.training.feed import Feed
    from paramalloc.training.optimizer import schedule

    device = pick_device(config.device)
    rows = config.batch_tokens // config.seq_len
    feed = Feed(Batches(tokens, config.seq_len, rows, 0), device)
    keep_freed_memory()
    torch.manual_seed(0)
    model = DecoderLM(allocation(config).model)
    learner = Learner(config, model, device, pick_precision("auto", device))
    times = []
    losses = []
    for step in range(1, config.steps + 1):
        lr = config.lr * schedule(step, config.steps, config.warmup)
        losses.append(learner.step(*feed(step - 1), lr))
        if device.type == "cuda" and step in (1, config.steps // 4 + 1, config.steps):
            torch.cuda.synchronize()
        times.append(time.perf_counter())
    return times, [loss.item() for loss in losses]


def summarize(times: list[float], losses: list[float], arguments: argparse.Namespace) -> dict:
    """Speed after the first quarter of the steps, loss of the last, seconds to the first step."""
    from paramalloc.model import peak_memory, pick_device

    quarter = arguments.steps // 4
    tokens = (len(times) - 1 - quarter) * arguments.batch_tokens
    return {
        "tokens_per_s": tokens / (times[-1] - times[quarter]),
        "loss": sum(losses[-quarter:]) / quarter,
        "first_step_s": times[0] - STARTED,
        "peak_memory_gb": peak_memory(pick_device(arguments.device)) / 1e9,
    }


# ---------------------------------------------------------------------- all


def main(arguments: argparse.Namespace) -> None:
    import pandas as pd

    from paramalloc.config import ROOT
    from paramalloc.data import prepare
    from paramalloc.plots import save

    prepare(arguments.dataset, 16_000, ROOT / "outputs")
    rows = []
    for share in arguments.shares:
        for contestant in arguments.only or NAMES:
            result = start_contestant(contestant, share, arguments)
            if result is None:
                continue
            rows.append({"share": share, "contestant": NAMES[contestant], **result})
            print(
                f"{share:.0%}  {NAMES[contestant]:42} {result['tokens_per_s']:>10,.0f} tokens/s   "
                f"loss {result['loss']:.3f}   first step after {result['first_step_s']:.1f} s   "
                f"{result['peak_memory_gb']:.2f} GB",
                flush=True,
            )
    table = pd.DataFrame(rows)
    folder = ROOT / "outputs" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "train.csv", index=False)
    save(draw(table), folder / "train.svg")


def start_contestant(name: str, share: float, arguments: argparse.Namespace) -> dict | None:
    """The result of a contestant in a process of its own, or None where it failed."""
    command = [sys.executable, __file__, arguments.dataset, "--contestant", name]
    command += ["--share", str(share), "--steps", str(arguments.steps)]
    command += ["--batch-tokens", str(arguments.batch_tokens), "--device", arguments.device]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def draw(table):
    import altair as alt

    names = list(NAMES.values())
    wide_labels = alt.Axis(labelLimit=300)
    return (
        alt.Chart(table)
        .mark_bar()
        .encode(
            x=alt.X("tokens_per_s:Q", title="training tokens per second"),
            y=alt.Y("contestant:N", title=None, sort=names, axis=wide_labels),
            row=alt.Row("share:N", title="embedding share"),
            color=alt.Color("contestant:N", legend=None),
        )
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", nargs="?", default="builtin")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--shares", type=parse_shares, default=SHARES)
    parser.add_argument("--only", type=parse_names, help="trainer, compiled, paramalloc")
    parser.add_argument("--contestant", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--share", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def parse_shares(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def parse_names(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    arguments = parse_arguments()
    if arguments.contestant:
        print(json.dumps(run_contestant(arguments)))
    else:
        main(arguments)
