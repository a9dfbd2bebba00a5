"""The folder of a run, written by who holds it, and its files."""

import errno
import json
import os
import time
from contextlib import contextmanager
from pathlib import Path

from ..config import TrainConfig
from ..errors import RunError
from .identity import run_id
from .lease import SILENCE, Watch, hold, sync
from .schema import RESULT_COLUMNS


class Run:
    """One run's folder, written by who holds it. Records are appended as they come; result.json is written last."""

    def __init__(self, config: TrainConfig, fingerprint: str):
        self.id = run_id(config, fingerprint)
        self.folder = config.output_folder / "runs" / self.id
        self.mode = config.early_stop
        self.lease = self.metrics = None

    @property
    def result(self) -> dict | None:
        return read_json(self.folder / "result.json")

    @property
    def finished(self) -> bool:
        """A killed run is finished only for who asks for early stop by `kill`; others train it in full."""
        result = self.result
        return result is not None and (result["status"] != "stopped_early" or self.mode == "kill")

    @contextmanager
    def held(self, waiting=None):
        """Hold the run, as soon as no other process that lives holds it; `waiting(holder)` is called meanwhile."""
        with hold(self.folder / "lease", waiting) as self.lease:
            try:
                yield self.lease
            finally:
                if self.metrics:
                    self.metrics.close()

    @staticmethod
    def holder(folder: Path) -> dict | None:
        """Who writes a run just now; by the clocks, nobody whose last sign of life is two silences old."""
        _, holder = Watch(folder / "lease").look()
        return holder if holder and time.time() - holder["heard"] < 2 * SILENCE else None

    def begin(self, config: dict, metrics: bytes = b""):
        """A record that begins with `metrics`. The file itself is new: what a former holder still appends goes nowhere."""
        made = self.lease.desk / "metrics.jsonl"
        with self.lease.fenced():
            made.write_bytes(metrics)
            self.metrics = open(made, "ab", buffering=0)
        self.lease.discard(self.folder / "result.json")
        self.lease.write(self.folder / "config.json", as_json(config))
        self.lease.replace(made, self.folder / "metrics.jsonl")
        sync(self.folder.parent)

    def record(self, **values):
        line = json.dumps(values, allow_nan=False).encode() + b"\n"
        if self.metrics.write(line) < len(line):
            raise OSError(
                errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder / "metrics.jsonl")
            )
        self.lease.check()

    def finish(self, result: dict) -> dict:
        result = {name: result.get(name) for name in RESULT_COLUMNS}
        os.fsync(
            self.metrics.fileno()
        )  # the record is on the disk before the result says that it is whole
        self.lease.write(self.folder / "result.json", as_json(result))
        return result

    def curve(self) -> dict[int, float]:
        """Tokens -> dev perplexity of the probes so far."""
        return {row["tokens"]: row["dev_ppl"] for row in self.probes()}

    def probes(self) -> list[dict]:
        """The records that hold a probe of dev."""
        return [row for row in read_metrics(self.folder) if "dev_ppl" in row]


def find_run(run: str, outputs: Path) -> Path:
    """The folder of a run, given as a folder or as the beginning of its id."""
    if (Path(run) / "config.json").exists():
        return Path(run).resolve()
    found = sorted((outputs / "runs").glob(f"{run}*/config.json")) if run.isalnum() else []
    if len(found) != 1:
        raise RunError(
            f"{'no run' if not found else f'{len(found)} runs'} '{run}' in {outputs / 'runs'}: give its folder or its whole id"
        )
    return found[0].parent


def write_text(path: Path, text: str):
    """Write beside, then rename: a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def write_json(path: Path, content: dict):
    write_text(path, as_json(content))


def as_json(content: dict) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def read_json(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None


def read_metrics(folder: Path) -> list[dict]:
    """The records of metrics.jsonl; a last line that is still being written is left out."""
    path = folder / "metrics.jsonl"
    records = []
    for line in path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []:
        try:
            records.append(json.loads(line))
        except ValueError:  # torn: what follows does not belong to it
            break
    return records
