"""What trained the runs, and what made the report of them."""

from __future__ import annotations

import os
import platform
import shlex

import pandas as pd

from ..analysis import comparable
from ..config import AnalysisConfig
from ..packages import package_version
from ..runs import Note, current_commit
from .markup import bullets, code

VERSIONED = ["paramalloc", "numpy", "pandas", "scipy", "tokenizers", "altair", "vl-convert-python"]


def report_command(config: AnalysisConfig) -> str:
    """The command that writes this report again, from the parameters of the analysis notebook."""
    words = ["paramalloc", "report"]
    if config.runs:
        words.append(config.runs)
    for name in ("name", "profile", "dataset", "outputs"):
        value = getattr(config, name)
        if value:
            words += [f"--{name}", value]
    return shlex.join(words)


def provenance(runs: pd.DataFrame, command: str) -> Note:
    """What trained the runs, then where and with what this report was made."""
    used = comparable(runs)
    others = runs.drop(used.index)
    facts = _training_facts(used)
    if len(others):
        parts = [
            f"{name.removeprefix('the runs were ')} {value}"
            for name, value in _training_facts(others).items()
        ]
        facts[f"the {len(others)} other runs"] = "; ".join(parts)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"
    facts |= {
        "this report was made by": code(command),
        "at commit": code(current_commit() or "unknown"),
        "with": ", ".join(_installed_versions()),
        "under Python": f"{platform.python_version()}, {machine}",
    }
    return Note(bullets([f"{name}: {value}" for name, value in facts.items()]))


def _training_facts(runs: pd.DataFrame) -> dict[str, str]:
    """When, by which code, where and from what these runs were made."""
    dates = sorted(runs.created.dropna().astype(str))
    pairs = zip(runs.device, runs.precision, strict=True)
    devices = {f"{device} ({precision})" for device, precision in pairs if pd.notna(device)}
    corpora = [f"{code(name)} ({code(fingerprint)})" for name, fingerprint in _corpora(runs)]
    return {
        "the runs were made": f"{code(dates[0])} to {code(dates[-1])}" if dates else "none",
        "by commit": _recorded(runs, "commit"),
        "with torch": _recorded(runs, "torch"),
        "on": code(", ".join(sorted(devices)) or "none"),
        "from the data": ", ".join(corpora) or "none",
    }


def _recorded(runs: pd.DataFrame, name: str) -> str:
    """All values that the started runs recorded; some may have been trained before it was."""
    if name not in runs:
        runs = runs.assign(**{name: None})
    values = runs[name][runs.created.notna()]
    names = [code(value) for value in sorted(values.dropna().astype(str).unique())]
    if values.isna().any():
        names.append("not recorded")
    return ", ".join(names) or "none"


def _corpora(runs: pd.DataFrame) -> list[tuple]:
    """Names and fingerprints (sha256 over what was tokenised, and how) of the corpora."""
    columns = ["dataset", "data_fingerprint"]
    rows = runs[columns].dropna().drop_duplicates().sort_values(columns)
    return list(rows.itertuples(index=False, name=None))


def _installed_versions() -> list[str]:
    versions = {package: package_version(package) for package in VERSIONED}
    return [f"{package} {version}" for package, version in versions.items() if version]
