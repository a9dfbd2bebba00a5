"""Killed at random moments, again and again: every run ends as the one that was never disturbed."""

import json
import multiprocessing
import os
import random
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from paramalloc.config import TrainConfig
from paramalloc.data import Corpus
from paramalloc.runs import Run, Watch, read_json, read_metrics

KILLS, RUNS = 180, 12
SHORT = {
    "tokens": 30 * 1024,
    "probes": 5,
    "checkpoint_seconds": 0,
}  # a checkpoint after every step: many kills fall into its write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def train_alone(values: dict, folder: Path):
    """What a training process does, on one thread: forked from a server that has imported everything already."""
    from paramalloc.training import train

    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    train(TrainConfig.from_dict(values), Corpus.open(folder))


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["paramalloc.training", "paramalloc.evaluation", "safetensors.torch", "torch._dynamo"]
    )  # the optimizer wants it
    return context


def outcome(folder: Path) -> tuple[dict, list[dict], dict]:
    """Final weights, metrics without the speed, and what a result says of the training."""
    metrics = [
        {name: value for name, value in row.items() if name != "tokens_per_s"}
        for row in read_metrics(folder)
    ]
    result = read_json(folder / "result.json")
    same = ("status", "dev_loss", "test_loss", "steps", "tokens_trained")
    return (
        load_file(folder / "checkpoint" / "final" / "model.safetensors"),
        metrics,
        {name: result[name] for name in same},
    )


def where(folder: Path) -> str:
    """What a killed run was doing, by what it left behind."""
    desks = (
        [path for path in (folder / "lease").glob("0*") if path.is_dir()] if folder.exists() else []
    )
    if (folder / "result.json").exists():
        return "after the end"
    if any(path.name.startswith(("step", "final")) for desk in desks for path in desk.iterdir()):
        return "writing a checkpoint"
    if (folder / "checkpoint" / "final").exists():
        return "measuring"
    return "training" if (folder / "metrics.jsonl").exists() else "starting"


def test_a_training_process_killed_at_random(processes, tiny, tiny_corpus, tmp_path, capsys):
    """180 kills of 12 runs, also within a checkpoint's write: the final weights are bit for bit those of undisturbed runs."""
    chance, seen, started = random.Random(0), Counter(), time.monotonic()
    values = lambda outputs, seed: tiny | SHORT | {"outputs": str(tmp_path / outputs), "seed": seed}
    run = lambda outputs, seed: (
        Run(TrainConfig.from_dict(values(outputs, seed)), tiny_corpus.fingerprint).folder
    )
    begin = lambda outputs, seed: processes.Process(
        target=train_alone, args=(values(outputs, seed), tiny_corpus.folder)
    )

    def whole(outputs, seed):
        process, start = begin(outputs, seed), time.monotonic()
        process.start()
        process.join(120)
        assert process.exitcode == 0
        return time.monotonic() - start

    whole("whole", 0)
    lasts = max(whole("whole", seed) for seed in range(1, RUNS))
    kills, seed = 0, 0
    while kills < KILLS:
        process = begin("killed", seed)
        process.start()
        process.join(chance.uniform(0, lasts))
        if process.is_alive():
            process.kill()
            process.join()
            kills += 1
            seen[where(run("killed", seed))] += 1
        if (run("killed", seed) / "result.json").exists():
            seed = (seed + 1) % RUNS
            if (
                run("killed", seed) / "result.json"
            ).exists():  # all are through: once more from the beginning
                check(run, range(RUNS))
                shutil.rmtree(tmp_path / "killed")
    for seed in range(RUNS):
        whole("killed", seed)
    check(run, range(RUNS))
    assert (
        seen["writing a checkpoint"] >= 5
        and seen["training"] >= 30
        and not multiprocessing.active_children()
    )
    with capsys.disabled():
        print(
            f"\n{kills} kills of the training process in {time.monotonic() - started:.0f} s: {dict(seen)}; {RUNS} runs equal to the undisturbed"
        )


def check(run, seeds):
    for seed in seeds:
        one, other = outcome(run("whole", seed)), outcome(run("killed", seed))
        assert one[0].keys() == other[0].keys() and all(
            torch.equal(one[0][name], other[0][name]) for name in one[0]
        )
        assert json.dumps(one[1:]) == json.dumps(other[1:])
        lease = (
            run("killed", seed) / "lease"
        )  # one killed between its result and its lease's release leaves its name there, and nothing else
        assert Watch(lease).look()[1] is None and {path.name for path in lease.glob("*/*")} <= {
            "holder.json"
        }
