"""What a dataset's name means: known corpora, files and folders, several joined by `+`."""

import functools
import os
from pathlib import Path

from ..config import ROOT
from ..disk import split_names
from ..errors import DataError
from . import builtin
from .files import hash_file
from .folders import list_files
from .hub import HUB, hub_part, is_on_hub
from .readers import find_separator, is_wikitext, read_documents
from .splits import SPLITS, Opened, Part, Source, refuse_chance_splits, split_of_name

READER = 3  # raise it when the same file would give other documents
KNOWN = ", ".join(["builtin", *HUB, "wmt14:de-en and the like"])


def resolve(dataset: str, tokens: int | None) -> list[Part]:
    """The corpora that a dataset names, joined by `+` (an existing path that contains a + wins)."""
    names = split_names(dataset, lambda name: os.path.exists(_path(name)))
    return [_resolve_name(name, tokens) for name in names]


def _path(name: str) -> Path:
    """Made absolute, so that `..` gets the name of the folder that it is."""
    return Path(os.path.abspath(ROOT / os.path.expanduser(name)))


def _resolve_name(name: str, tokens: int | None) -> Part:
    """A known corpus, else a file or folder."""
    if name == "builtin":
        return _builtin_part()
    if is_on_hub(name):
        return hub_part(name, tokens)
    path = _path(name)
    if not name or not os.path.exists(path):  # an empty name would mean the whole repository
        place = "" if os.path.isabs(os.path.expanduser(name)) else f" in {ROOT}"
        known = f"and no known corpus ({KNOWN})"
        raise DataError(f"dataset {name!r}: no such file or folder{place}, {known}")
    return _path_part(path)


def _builtin_part() -> Part:
    records = [{"name": "builtin", "versions": builtin.versions()}]
    sources = [Source(split, functools.partial(builtin.read_split, split)) for split in SPLITS]
    return Part("builtin", records, lambda: Opened(sources, records))


def _path_part(path: Path) -> Part:
    """A file, or all text files of a folder. Each belongs to the split that its name holds."""
    files, left_out = list_files(path)
    if not files:
        formats = "no .txt, .jsonl or .parquet file in it (text also as .gz, .xz, .zst)"
        seen = f"; {left_out}" * bool(left_out)
        raise DataError(f"{path}: {formats}{seen}: rename what is plain text to .txt")
    folder = path if path.is_dir() else path.parent
    records = [_record(file, folder) for file in files]
    refuse_chance_splits(records)
    return Part(path.name, records, functools.partial(_open_files, files, records), left_out)


def _record(file: Path, folder: Path) -> dict:
    name = file.relative_to(folder).as_posix()
    return {
        "name": name,
        "split": split_of_name(name),
        "bytes": file.stat().st_size,
        "sha256": hash_file(file),
        "reader": READER,
    }


def _open_files(files: list[Path], records: list[dict]) -> Opened:
    """A source per file. Splits that no file belongs to are held out of those that train."""
    missing = frozenset(SPLITS) - {record["split"] for record in records}
    sources = []
    opened = []
    for file, record in zip(files, records, strict=True):
        wikitext = is_wikitext(file)
        separator = None if wikitext else find_separator(file)
        documents = functools.partial(read_documents, file, wikitext, separator)
        held_out = missing if record["split"] == "train" else frozenset()
        sources.append(Source(record["split"], documents, wikitext, held_out))
        added = {"separator": separator.marker} if separator else {}
        opened.append(record | added)
    return Opened(sources, opened)
