"""The run folder: what a run is (its id), what it recorded, and all runs as a table. No torch.

    runs/<run_id>/   config.json   metrics.jsonl   checkpoint/   evaluation.json   items.safetensors   result.json (last)
                     lease/ (who writes it, lease.py)
"""

import csv
import errno
import hashlib
import json
import os
import platform
import subprocess
import time
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from .allocator import Allocation
from .config import ROOT, ModelConfig, TrainConfig, UserError
from .lease import SILENCE, Watch, held, sync
from .ledger import flops_per_token

RECIPE = 2  # raise it when the same parameters train differently

# Not part of what a run is: where and how fast it is computed, where it is kept, when it is cut short, what is measured.
OUTSIDE = {"device", "compile", "outputs", "profile", "early_stop", "stop_margin", "stop_patience", "stop_grace",
           "baseline_share", "baseline_glu", "baseline_lr", "checkpoint_seconds", "smallbench", "smallbench_data"}

# What is measured of a trained model (measure.py); `paramalloc evaluate` measures it again.
MEASURED = [
    "dev_loss", "dev_ppl", "dev_bpb", "dev_word_ppl", "test_loss", "test_ppl", "test_bpb", "test_word_ppl", "smallbench",
    "smallbench_se", "smallbench_size", "blimp_accuracy", "lambada_accuracy", "lambada_bpb", "arc_easy_accuracy",
    "arc_easy_accuracy_norm", "arc_easy_bpb", "piqa_accuracy", "piqa_accuracy_norm", "piqa_bpb", "decode_ms_per_token",
    "decode_ms_per_token_32", "time_to_first_token_ms", "prefill_tokens_per_s", "kv_bytes_per_token", "weight_bytes",
    "inference_memory_bytes", "inference_device", "out_of_domain", "dev_by_frequency", "dev_by_group",
]

RESULT_COLUMNS = [
    "run_id", "status", "requested_share", "requested_glu", "total_params", "embed_params", "embed_share", "glu",
    "d_model", "n_layers", "n_heads", "n_kv_heads", "d_head", "d_ff", "d_embed", "mlp", "vocab_size", "embedding",
    "seq_len", "batch_tokens", "parametrization", "optimizer", "lr", "embed_lr", "warmup", "weight_decay", "seed", "tokens",
    "tokens_trained", "dev_curve", *MEASURED, "flops_per_token", "train_flops",
    "tokens_per_s", "mfu", "outside_steps_share", "peak_memory_bytes", "wall_s", "dataset", "data_fingerprint",
    "unigram_loss", "flagged_at_tokens", "steps", "precision", "device", "threads", "compiled", "profile", "recipe",
    "params_attention", "params_mlp", "params_norm", "created",
]

# In results.csv lists are JSON text; and what is text stays text, however much an id of hex digits looks like a number.
LISTS = ["dev_curve", "dev_by_frequency", "dev_by_group"]
TEXTS = ["run_id", "status", "mlp", "embedding", "parametrization", "optimizer", "smallbench_size", "inference_device", "dataset",
         "data_fingerprint", "precision", "device", "profile", "created"]

SHAPE = tuple(ModelConfig.__dataclass_fields__)  # what of a run's config.json makes its model

METRIC_COLUMNS = ["step", "tokens", "train_loss", "dev_loss", "dev_ppl", "tokens_per_s"]


class Note(str):
    """Text that a notebook shows as Markdown and a terminal as it stands."""

    def _repr_markdown_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return str(self)


class RunError(UserError):
    """A run that is not there."""


def run_id(config: TrainConfig, fingerprint: str) -> str:
    """12 hex digits of a hash of the canonical parameters, the data fingerprint and the recipe version."""
    what = {name: value for name, value in asdict(config).items() if value is not None and name not in OUTSIDE | {"dataset"}}
    identity = json.dumps({"parameters": what, "data": fingerprint, "recipe": RECIPE}, sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


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
        with held(self.folder / "lease", waiting) as self.lease:
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
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder / "metrics.jsonl"))
        self.lease.check()

    def finish(self, result: dict) -> dict:
        result = {name: result.get(name) for name in RESULT_COLUMNS}
        os.fsync(self.metrics.fileno())  # the record is on the disk before the result says that it is whole
        self.lease.write(self.folder / "result.json", as_json(result))
        return result

    def curve(self) -> dict[int, float]:
        """Tokens -> dev perplexity of the probes so far."""
        return {row["tokens"]: row["dev_ppl"] for row in self.probes()}

    def probes(self) -> list[dict]:
        """The records that hold a probe of dev."""
        return [row for row in read_metrics(self.folder) if "dev_loss" in row]


def find_run(run: str, outputs: Path) -> Path:
    """The folder of a run, given as a folder or as the beginning of its id."""
    if (Path(run) / "config.json").exists():
        return Path(run).resolve()
    found = sorted((outputs / "runs").glob(f"{run}*/config.json")) if run.isalnum() else []
    if len(found) != 1:
        raise RunError(f"{'no run' if not found else f'{len(found)} runs'} '{run}' in {outputs / 'runs'}: give its folder or its whole id")
    return found[0].parent


def describe_run(run_id: str, config: TrainConfig, shape: Allocation, corpus) -> dict:
    """The columns of a result that are known before training."""
    recipe = ("seq_len", "batch_tokens", "parametrization", "optimizer", "lr", "embed_lr", "warmup", "weight_decay", "seed", "tokens",
              "dataset", "profile")
    model = asdict(shape.model)
    return {name: getattr(config, name, None) for name in recipe} | model | {
        "run_id": run_id,
        "requested_share": shape.requested_share,
        "requested_glu": shape.requested_glu,
        "total_params": shape.params["total"],
        "embed_params": shape.params["embedding"] + shape.params["head"],
        "params_attention": shape.params["attention"],
        "params_mlp": shape.params["mlp"],
        "params_norm": shape.params["norm"],
        "embed_share": shape.embed_share,
        "glu": shape.glu,
        "flops_per_token": flops_per_token(shape.model, config.seq_len)["train"],
        "data_fingerprint": corpus.fingerprint,
        "unigram_loss": corpus.unigram_entropy("valid"),
        "recipe": RECIPE,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def provenance(corpus) -> dict:
    """Versions, machine and commit: what a reader needs to train this again."""
    return {
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("paramalloc", "torch", "tokenizers", "numpy")},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "commit": commit(),
        "corpus": corpus.folder.name,
    }


def commit() -> str | None:
    """The commit of this checkout, marked where files differ from it; None outside of git. No lock is taken: of a process that
    is killed it would stay in the user's repository."""
    git = ["git", "--no-optional-locks", "-C", str(ROOT)]
    ask = lambda *words: subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout.strip()
    try:
        return ask("rev-parse", "--short=12", "HEAD") + "-dirty" * bool(ask("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None


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


def load_runs(outputs: Path) -> pd.DataFrame:
    """One row per finished run under outputs/runs, the keys of result.json as columns; missing is NaN."""
    found = (read_json(path) for path in sorted((Path(outputs) / "runs").glob("*/result.json")))
    return as_frame([result for result in found if result])


def as_frame(results: list[dict]) -> pd.DataFrame:
    """Results as rows; what is missing is NaN, also in a column that nobody measured."""
    frame = pd.DataFrame(results, columns=RESULT_COLUMNS)
    return frame.where(frame.notna(), np.nan).infer_objects()


def as_csv(runs: pd.DataFrame) -> str:
    """The text of results.csv: a row per run, numbers in full, lists as JSON, what is missing empty."""
    return runs.map(lambda value: json.dumps(value) if isinstance(value, list) else value).to_csv(index=False)


def read_results(path: Path) -> pd.DataFrame:
    """The runs of a results.csv as `load_runs` gives them, bit for bit. RunError if it is not there or no such table."""
    value = lambda name, cell: None if not cell else cell if name in TEXTS else json.loads(cell.lower())  # pandas writes True
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = [{name: value(name, cell) for name, cell in row.items()} for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise RunError(f"there is no file {path}") from None
    except (ValueError, AttributeError, csv.Error):
        rows = []
    if not all(row.get("status") for row in rows or [{}]):
        raise RunError(f"{path} is not a results.csv of this project")
    return as_frame(rows)


def load_curves(outputs: Path, run_ids) -> pd.DataFrame:
    """The probes of the named runs: columns run_id, tokens, dev_loss, dev_ppl."""
    rows = [{"run_id": name} | row for name in run_ids for row in read_metrics(Path(outputs) / "runs" / name)
            if "dev_loss" in row]
    return pd.DataFrame(rows, columns=["run_id", "tokens", "dev_loss", "dev_ppl"])


def load_frequency(outputs: Path, run_ids) -> pd.DataFrame:
    """Dev loss by decile of token frequency of the named runs: columns run_id, decile, tokens, loss."""
    found = ((name, read_json(Path(outputs) / "runs" / name / "evaluation.json") or {}) for name in run_ids)
    rows = [{"run_id": name} | row for name, evaluation in found for row in evaluation.get("dev_by_frequency", [])]
    return pd.DataFrame(rows, columns=["run_id", "decile", "tokens", "loss"])


def load_metrics(outputs: Path, run_id: str) -> pd.DataFrame:
    """All records of one run: columns tokens, train_loss, dev_loss and more."""
    return pd.DataFrame(read_metrics(Path(outputs) / "runs" / run_id), columns=METRIC_COLUMNS)


def summary(results: list[dict]) -> pd.DataFrame:
    """What a reader looks for first, a column per run."""
    rows = ["status", "lr", "seed", "tokens_trained", "dev_loss", "dev_ppl", "dev_bpb", "test_ppl", "unigram_loss", "smallbench",
            "tokens_per_s", "decode_ms_per_token", "decode_ms_per_token_32", "wall_s", "precision", "device", "threads", "compiled"]
    show = lambda value: f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else value
    return pd.DataFrame({result["run_id"]: {row: show(result.get(row)) for row in rows} for result in results})
