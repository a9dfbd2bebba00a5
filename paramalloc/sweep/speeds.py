"""Measure how fast this machine trains: probes in processes of their own, side by side."""

import json
import os
import subprocess
import sys
from contextlib import suppress

from ..config import ROOT, cores, process_environment
from ..errors import UserError


def measure_speeds(configs: list[str], jobs: int) -> list[dict[str, float]]:
    """What the probe measures for each config; the mean of `jobs` probes that run side by side."""
    if not configs:
        return []
    probes = [_start_probe(jobs) for _ in range(jobs)]
    try:
        for probe in probes:
            _send(probe, f"[{','.join(configs)}]")
        outputs = [probe.communicate() for probe in probes]
    finally:
        for probe in probes:
            probe.kill()  # nothing of an interrupted dry run goes on
    for probe, (_, error) in zip(probes, outputs, strict=True):
        if probe.returncode:
            lines = error.strip().splitlines() or ["it printed no error"]
            raise UserError(f"the probe failed: {lines[-1]}")
    answers = [[json.loads(line) for line in text.splitlines()] for text, _ in outputs]
    return [_mean_speeds(same) for same in zip(*answers, strict=True)]


def _start_probe(jobs: int) -> "subprocess.Popen[str]":
    """One of `jobs` probes, with its part of the cores, as a cell would have it."""
    threads = None if jobs == 1 else cores() // jobs
    return subprocess.Popen(
        [sys.executable, "-m", "paramalloc.sweep.probe"],
        cwd=ROOT,
        env=os.environ | process_environment(threads),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _send(probe: "subprocess.Popen[str]", text: str) -> None:
    """Give a probe all of its input, so that it begins."""
    assert probe.stdin is not None, "it was started with a pipe"
    with suppress(BrokenPipeError):  # one that ended already says why when its output is read
        probe.stdin.write(text)
        probe.stdin.close()
    probe.stdin = None


def _mean_speeds(speeds: tuple[dict[str, float], ...]) -> dict[str, float]:
    return {name: sum(speed[name] for speed in speeds) / len(speeds) for name in speeds[0]}
