"""Killed at random moments, again and again: every run ends as one that was never disturbed."""

import multiprocessing
import os
import random
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from processes import KILLS, assert_same_run

from paramalloc.config import TrainConfig
from paramalloc.data import Corpus
from paramalloc.runs import Run, Watch

RUNS = max(4, KILLS // 15)
# A checkpoint after every step, so that many kills fall into its write.
SHORT = {"tokens": 30 * 1024, "probes": 5, "checkpoint_seconds": 0}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def train_alone(values: dict, folder: Path):
    """What a training process does, on one thread; what it forks from has imported everything."""
    from paramalloc.training import train

    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    train(TrainConfig.from_dict(values), Corpus.open(folder))


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["paramalloc.training", "paramalloc.evaluation", "safetensors.torch", "torch._dynamo"]
    )  # the optimizer wants the last one
    return context


@pytest.fixture
def trainings(processes, tiny, tiny_corpus, tmp_path):
    return Trainings(processes, tiny | SHORT, tiny_corpus, tmp_path)


class Trainings:
    """Trainings of one cell, by the name of their outputs and their seed."""

    def __init__(self, processes, values, corpus, root):
        self.processes = processes
        self.values = values
        self.corpus = corpus
        self.root = root

    def parameters(self, outputs: str, seed: int) -> dict:
        return self.values | {"outputs": str(self.root / outputs), "seed": seed}

    def folder(self, outputs: str, seed: int) -> Path:
        config = TrainConfig.from_dict(self.parameters(outputs, seed))
        return Run(config, self.corpus.fingerprint).folder

    def start(self, outputs: str, seed: int):
        arguments = (self.parameters(outputs, seed), self.corpus.folder)
        process = self.processes.Process(target=train_alone, args=arguments)
        process.start()
        return process

    def finish(self, outputs: str, seed: int) -> float:
        """Train to the end; the seconds that it took."""
        started = time.monotonic()
        process = self.start(outputs, seed)
        process.join(120)
        assert process.exitcode == 0
        return time.monotonic() - started

    def check(self):
        """All that were killed are equal to the undisturbed, and hold nothing else."""
        for seed in range(RUNS):
            killed = self.folder("killed", seed)
            assert_same_run(self.folder("whole", seed), killed)
            # One killed between its result and its lease's release leaves its name there.
            lease = killed / "lease"
            assert Watch(lease).look()[1] is None
            assert {path.name for path in lease.glob("*/*")} <= {"holder.json"}


def stage_of(folder: Path) -> str:
    """What a killed run was doing, by what it left behind."""
    if (folder / "result.json").exists():
        return "after the end"
    for path in folder.glob("lease/0*/*"):
        if path.name.startswith(("step", "final")):
            return "writing a checkpoint"
    if (folder / "checkpoint" / "final").exists():
        return "measuring"
    return "training" if (folder / "metrics.jsonl").exists() else "starting"


def test_a_training_process_killed_at_random(trainings, tmp_path, capsys):
    """KILLS kills, also within a checkpoint's write: the weights are those of undisturbed runs."""
    chance = random.Random(0)
    stages = Counter()
    started = time.monotonic()
    trainings.finish("whole", 0)  # the first one is slower
    longest = max(trainings.finish("whole", seed) for seed in range(1, RUNS))
    seed = 0
    while stages.total() < KILLS:
        folder = trainings.folder("killed", seed)
        process = trainings.start("killed", seed)
        process.join(chance.uniform(0, longest))
        if process.is_alive():
            process.kill()
            process.join()
            stages[stage_of(folder)] += 1
        if (folder / "result.json").exists():
            seed = (seed + 1) % RUNS
            if (trainings.folder("killed", seed) / "result.json").exists():
                # All are through: once more from the beginning.
                trainings.check()
                shutil.rmtree(tmp_path / "killed")
    for seed in range(RUNS):
        trainings.finish("killed", seed)
    trainings.check()
    assert stages["writing a checkpoint"] >= KILLS // 30
    assert stages["training"] >= KILLS // 6
    assert not multiprocessing.active_children()
    with capsys.disabled():
        seconds = time.monotonic() - started
        print(f"\n{KILLS} kills of the training process in {seconds:.0f} s: {dict(stages)};")
        print(f"{RUNS} runs equal to the undisturbed")
