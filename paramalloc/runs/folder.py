"""The folder of a run, written by the process that holds it, and its files."""

import errno
import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..config import TrainConfig
from ..disk import sha256_of, sync
from ..errors import RunError
from .identity import run_id
from .lease import SILENCE, Holder, Lease, OnWait, Watch, hold
from .process import myself
from .reading import read_json, read_metrics
from .schema import RESULT_COLUMNS


class Run:
    """One run's folder. Records are appended as they come; result.json is written last.

    Only the process that holds the run (`held`) may `begin`, `record` and `finish`.
    """

    lease: Lease
    metrics: io.FileIO | None = None  # open from `begin` on

    def __init__(self, config: TrainConfig, fingerprint: str) -> None:
        self.id = run_id(config, fingerprint)
        self.folder = config.output_folder / "runs" / self.id
        self.mode = config.early_stop

    @property
    def result(self) -> dict[str, Any] | None:
        """What stands in result.json; None for an unfinished run."""
        return read_json(self.folder / "result.json")

    @property
    def finished(self) -> bool:
        """Whether there is a result. One of a killed run counts for early stop by `kill` alone:
        other modes train it in full."""
        result = self.result
        if result is None:
            return False
        return result["status"] != "stopped_early" or self.mode == "kill"

    @contextmanager
    def held(self, waiting: OnWait | None = None) -> Iterator[Lease]:
        """Hold the run, once no living process does; `waiting(holder)` is called meanwhile."""
        with hold(self.folder / "lease", waiting) as self.lease:
            try:
                yield self.lease
            finally:
                if self.metrics:  # not begun where it was finished while we waited
                    self.metrics.close()

    def beside(self) -> set[str]:
        """The other runs of these outputs that living processes of this machine hold now."""
        return set(held_here(self.folder.parent)) - {self.id}

    @staticmethod
    def holder(folder: Path) -> Holder | None:
        """The process that writes the run in `folder`, if it was heard of within two silences."""
        _, holder = Watch(folder / "lease").look()
        if holder is None or time.time() - holder["heard"] >= 2 * SILENCE:
            return None
        return holder

    def begin(self, config: dict[str, Any], metrics: bytes = b"") -> None:
        """Begin the record with config.json and `metrics`.

        The file is a new one: what a former holder still appends to its own goes nowhere.
        """
        made = self.lease.desk / "metrics.jsonl"
        with self.lease.fenced():
            made.write_bytes(metrics)
            self.metrics = io.FileIO(made, "a")
        self.lease.discard(self.folder / "result.json")
        self.lease.write(self.folder / "config.json", as_json(config))
        self.lease.replace(made, self.folder / "metrics.jsonl")
        sync(self.folder.parent)

    def record(self, **values: Any) -> None:
        """Append a line to metrics.jsonl; OSError if the disk is full."""
        assert self.metrics is not None
        line = json.dumps(values, allow_nan=False).encode() + b"\n"
        if self.metrics.write(line) < len(line):
            path = self.folder / "metrics.jsonl"
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        self.lease.check()

    def note(self, **values: Any) -> None:
        """Tell `status` what is done now; it is forgotten when the run is not held any more."""
        with suppress(OSError):  # no run ends because of it
            write_json(self.lease.desk / "stage.json", values)

    @staticmethod
    def noted(folder: Path) -> dict[str, Any]:
        """What the holder of the run in `folder` noted last; empty if nothing."""
        notes = sorted((folder / "lease").glob("*/stage.json"))
        return (read_json(notes[-1]) if notes else None) or {}

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        """Write result.json, with a null for each column that `result` lacks."""
        assert self.metrics is not None
        result = {name: result.get(name) for name in RESULT_COLUMNS}
        os.fsync(self.metrics.fileno())  # the record is on the disk before the result says so
        self.lease.write(self.folder / "result.json", as_json(result))
        return result

    def curve(self) -> dict[int, float]:
        """Tokens -> dev perplexity of the probes so far."""
        return {row["tokens"]: row["dev_ppl"] for row in self.probes()}

    def probes(self) -> list[dict[str, Any]]:
        """The records that hold a probe of dev."""
        return read_metrics(self.folder, "dev_ppl")


def held_here(runs: Path) -> dict[str, Holder]:
    """The runs in this folder that living processes of this machine hold, by id."""
    held = {}
    for lease in sorted(runs.glob("*/lease")):
        holder = Run.holder(lease.parent)
        if holder and holder["host"] == myself()["host"]:
            held[lease.parent.name] = holder
    return held


def find_run(run: str, outputs: Path, file: str = "config.json") -> Path:
    """The folder of a run that has this file, given as a folder or as the beginning of its id.

    A restored run has a result.json, and no config.json.
    """
    if (Path(run) / file).exists():
        return Path(run).resolve()
    runs = outputs / "runs"
    paths = sorted(runs.glob(f"{run}*/{file}")) if run.isalnum() else []
    if len(paths) == 1:
        return paths[0].parent
    count = f"{len(paths)} runs" if paths else "no run"
    raise RunError(f"{count} '{run}' in {runs}: give its folder or its whole id")


def final_weights(folder: Path) -> Path | None:
    """The final weights of a run, None where it has none; RunError if they are damaged."""
    weights = folder / "checkpoint" / "final" / "model.safetensors"
    if not weights.exists():
        return None
    manifest = read_json(weights.with_name("manifest.json"))
    try:
        intact = manifest is not None and sha256_of(weights) == manifest[weights.name]
    except (OSError, KeyError, TypeError):
        intact = False
    if not intact:
        raise RunError(
            f"{weights} is damaged, or its manifest.json is: they are not what was saved. Remove "
            f"{folder} and train the run again"
        )
    return weights


# ------------------------------------------------------------------ files


def write_bytes(path: Path, content: bytes) -> None:
    """Write another file, then rename it: neither a reader nor a power cut leaves half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write `text` as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as `write_text` does."""
    write_text(path, as_json(content))


def as_json(content: dict[str, Any]) -> str:
    """JSON text with a line per value; ValueError for NaN, which is no JSON."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
