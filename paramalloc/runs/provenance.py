"""Where a run comes from: what is known of it before training, versions, machine and commit."""

import os
import platform
import re
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from ..allocation import Allocation, flops_per_token
from ..config import ROOT, TrainConfig
from ..errors import ConfigError
from ..packages import package_version
from .flags import describe_early_stop
from .identity import RECIPE
from .schema import column_names

PACKAGES = ("paramalloc", "torch", "tokenizers", "numpy")
COMMIT_VARIABLE = "PARAMALLOC_COMMIT"  # of the environment: processes that are started inherit it


class CorpusRecord(Protocol):
    """What a run records of its corpus (data.Corpus)."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def folder(self) -> Path: ...

    def unigram_entropy(self, split: str) -> float: ...


def describe_run(
    run_id: str, config: TrainConfig, shape: Allocation, corpus: CorpusRecord
) -> dict[str, Any]:
    """The columns of a result that are known before training."""
    recipe = {name: getattr(config, name) for name in column_names(role="recorded")}
    params = shape.params
    sizes = {
        "requested_share": shape.requested_share,
        "requested_glu": shape.requested_glu,
        "total_params": params["total"],
        "embed_params": params["embedding"] + params["head"],
        "params_attention": params["attention"],
        "params_mlp": params["mlp"],
        "params_norm": params["norm"],
        "embed_share": shape.embed_share,
        "glu": shape.glu,
        "flops_per_token": flops_per_token(shape.model, config.seq_len)["train"],
    }
    origin = {
        "run_id": run_id,
        "data_fingerprint": corpus.fingerprint,
        "unigram_loss": corpus.unigram_entropy("valid"),
        "recipe": RECIPE,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": current_commit(),
        "torch": package_version("torch"),
    }
    early_stop = describe_early_stop(config, corpus.fingerprint)
    return recipe | asdict(shape.model) | sizes | origin | early_stop


def describe_provenance(corpus: CorpusRecord) -> dict[str, Any]:
    """Versions, machine and commit: what a reader needs to train a run again."""
    return {
        "python": platform.python_version(),
        "versions": {name: package_version(name) for name in PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "commit": current_commit(),
        "corpus": corpus.folder.name,
    }


def current_commit() -> str | None:
    """The commit of this code, as it was said (`say_commit`), else as git knows it."""
    return os.environ.get(COMMIT_VARIABLE) or _checkout_commit()


def say_commit(commit: str) -> None:
    """Say the commit of code that lies here without git, to this process and those it starts.

    ConfigError where it is none, or git knows another.
    """
    if not re.fullmatch(r"[0-9a-f]{7,40}(-dirty)?", commit):
        form = "7 to 40 hexadecimal digits, then perhaps -dirty"
        raise ConfigError(f"commit '{commit}' is not of the form of one: {form}")
    known = _checkout_commit()
    if known and known != commit:
        raise ConfigError(f"git says that this is commit {known}: leave out --commit {commit}")
    os.environ[COMMIT_VARIABLE] = commit


def _checkout_commit() -> str | None:
    """The commit of this checkout, marked `-dirty` where files differ; None outside of git."""
    try:
        if _git("rev-parse", "--show-prefix"):
            return None  # a folder in another project's checkout
        commit = _git("rev-parse", "--short=12", "HEAD")
        changes = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changes else commit


def _git(*words: str) -> str:
    """What git prints. It takes no lock, which a killed process would leave in the repository."""
    command = ["git", "--no-optional-locks", "-C", str(ROOT), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()
