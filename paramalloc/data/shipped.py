"""Corpora that came prepared from another machine: which one a dataset's name means here.

    outputs/data/shipped.json   a list of {"dataset", "vocab_size", "tokens", "corpus" (a folder)}

`paramalloc pack` writes it. A dataset that stands in it is never read from a text of this machine:
the built-in corpus, for one, differs between environments.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from ..config import ROOT, TrainConfig
from ..errors import DataError

SHIPPED = "shipped.json"
KEY = ("dataset", "vocab_size", "tokens")  # of the parameters: which corpus is meant


def as_shipped(pairs: Iterable[tuple[TrainConfig, str]]) -> str:
    """The content of shipped.json: the corpus folder of each config."""
    entries = []
    for config, folder in pairs:
        entry = {name: getattr(config, name) for name in KEY} | {"corpus": folder}
        if entry not in entries:
            entries.append(entry)
    return json.dumps(entries, indent=1) + "\n"


def find_shipped(dataset: str, vocab_size: int, outputs: Path, tokens: int | None) -> Path | None:
    """The folder of the corpus that came for a dataset; None where none did.

    DataError if one came, but for another vocabulary or another budget.
    """
    data = Path(ROOT, outputs) / "data"
    if not (data / SHIPPED).exists():
        return None
    entries = json.loads((data / SHIPPED).read_text(encoding="utf-8"))
    entries = [entry for entry in entries if entry["dataset"] == dataset]
    for entry in entries:
        if (entry["vocab_size"], entry["tokens"]) == (vocab_size, tokens):
            return data / entry["corpus"]
    if entries:
        sizes = [f"{entry['vocab_size']:,} at {entry['tokens']:,} tokens" for entry in entries]
        raise DataError(
            f"dataset {dataset!r} came here for a vocabulary of {', '.join(sizes)}, not of "
            f"{vocab_size:,} at {tokens or 0:,}: pack the sweep with that profile"
        )
    return None
