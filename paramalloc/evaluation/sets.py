"""SmallBench's sets, from a local folder or the Hugging Face hub, in one form."""

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..config import ROOT
from ..data import (
    UNREADABLE,
    explain_hub_errors,
    hash_file,
    is_text_file,
    open_file,
    revision_on_hub,
)
from ..errors import DataError, UserError


@dataclass(frozen=True)
class Choices:
    """One question: each of the `choices` is scored after `context`; `choices[gold]` is right."""

    group: str
    context: str
    choices: tuple[str, ...]
    gold: int = 0


@dataclass(frozen=True)
class Set:
    """The items of one set, wherever they came from."""

    name: str
    items: list[Choices]

    @cached_property
    def sha256(self) -> str:
        """64 hex digits over the items: equal items, equal digits."""
        rows = [[item.group, item.context, item.choices, item.gold] for item in self.items]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()

    @cached_property
    def groups(self) -> list[str]:
        """The group of each item."""
        return [item.group for item in self.items]

    @cached_property
    def choices(self) -> np.ndarray:
        """How many choices each item has, (items,)."""
        return np.array([len(item.choices) for item in self.items])

    @cached_property
    def right(self) -> np.ndarray:
        """Where the right choice of each item stands among the choices of all, (items,)."""
        starts = self.choices.cumsum() - self.choices
        return starts + [item.gold for item in self.items]

    @cached_property
    def characters(self) -> np.ndarray:
        """The length of each choice of all items, at least 1, (choices,)."""
        return np.array(
            [max(1, len(choice.strip())) for item in self.items for choice in item.choices]
        )

    @cached_property
    def right_bytes(self) -> np.ndarray:
        """The UTF-8 bytes of the right choice of each item, (items,)."""
        return np.array([len(item.choices[item.gold].encode()) for item in self.items])


@dataclass(frozen=True)
class SetSource:
    """Where a set is, in a local folder and on the hub, and how a row of it is read.

    No revision is pinned: none was found in a public source. The set's sha256 tells whether it is
    the same.
    """

    files: str
    hub: str
    split: str
    read: Callable[[dict], Choices]
    config: str | None = None  # None: the one it has; "*": all of them


# ------------------------------------------------------------- one row of each

# The data's 13th term counts as argument structure, as in table 3 of Warstadt et al. 2020.
PHENOMENA = {"s-selection": "argument_structure"}


def _read_blimp(row: dict) -> Choices:
    phenomenon = PHENOMENA.get(row["linguistics_term"], row["linguistics_term"])
    return Choices(f"{phenomenon}/{row['UID']}", "", (row["sentence_good"], row["sentence_bad"]))


def _read_lambada(row: dict) -> Choices:
    context, word = row["text"].rsplit(" ", 1)
    return Choices("lambada", context, (" " + word,))


def _read_arc(row: dict) -> Choices:
    if "query" in row:
        return _read_local(row)
    choices = row["choices"]
    gold = list(choices["label"]).index(row["answerKey"])
    return _multiple_choice(row["question"], choices["text"], gold)


def _read_piqa(row: dict) -> Choices:
    if "query" in row:
        return _read_local(row)
    return _multiple_choice(row["goal"], [row["sol1"], row["sol2"]], row["label"])


def _read_local(row: dict) -> Choices:
    """A question as the local files hold it."""
    text = row["query"].removeprefix("Question: ").rstrip("\n")
    return _multiple_choice(text, row["choices"], row["gold"])


def _multiple_choice(text: str, choices: list[str], gold: int) -> Choices:
    """The form of lm-evaluation-harness' arc_easy and piqa."""
    context = f"Question: {text}\nAnswer:"
    return Choices("question", context, tuple(" " + choice for choice in choices), int(gold))


SETS = {
    "blimp": SetSource("blimp/*.jsonl*", "nyu-mll/blimp", "train", _read_blimp, "*"),
    "lambada": SetSource(
        "smallbench/lambada_test.jsonl*",
        "EleutherAI/lambada_openai",
        "test",
        _read_lambada,
        "default",
    ),
    "arc_easy": SetSource(
        "smallbench/arc_easy.jsonl*", "allenai/ai2_arc", "test", _read_arc, "ARC-Easy"
    ),
    "piqa": SetSource("smallbench/piqa.jsonl*", "baber/piqa", "validation", _read_piqa),
}


# -------------------------------------------------------------------- all rows


def load_sets(source: str) -> tuple[list[Set], dict[str, str]]:
    """The sets that are in the folder `source`, or on the hub when it is "hub".

    Returns them, and for each set that is missing what to do. Pairs of identical sentences (7 in
    BLiMP) are dropped: no model can distinguish them.
    """
    sets = []
    missing = {}
    for name, where in SETS.items():
        try:
            if source == "hub":
                sets.append(_read_hub(name, where))
            else:
                sets.append(_find_local(name, where, ROOT / source))
        except DataError as error:
            missing[name] = str(error)
        except UserError:  # interrupted
            raise
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            missing[name] = f"{name} is not in the form that is read here ({reason})"
    return sets, missing


def _read_items(where: SetSource, rows: list[dict]) -> list[Choices]:
    """The items of all rows; ValueError if there are none, or one has no right answer."""
    items = [item for item in map(where.read, rows) if _is_decidable(item)]
    if not items:
        raise ValueError("no items")
    if not all(0 <= item.gold < len(item.choices) for item in items):
        raise ValueError("a right answer that is not among the choices")
    return items


def _is_decidable(item: Choices) -> bool:
    """Whether a sentence without a context differs from the others."""
    return bool(item.context) or len(set(item.choices)) == len(item.choices)


def set_files(folder: Path) -> list[Path]:
    """The files of all sets in a folder."""
    return [path for where in SETS.values() for path in _local_files(where, folder)]


def _local_files(where: SetSource, folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob(where.files)) if is_text_file(path)]


def _find_local(name: str, where: SetSource, folder: Path) -> Set:
    """A set of a folder; DataError where there are no files of it, or a file is there twice."""
    pattern = where.files.rstrip("*")
    files = _local_files(where, folder)
    names = [path.name.split(".jsonl")[0] for path in files]
    if len(set(names)) < len(names):
        raise DataError(
            f"{files[0].parent} holds a file of {pattern} twice, packed and not: remove one"
        )
    if not files:
        raise DataError(
            f"put {pattern} into {folder}, "
            f"or set smallbench_data to hub (then {where.hub} is downloaded)"
        )
    try:
        digests = [hash_file(path) for path in files]
        return _read_local_files(name, where, tuple(files), tuple(digests))
    except (*UNREADABLE, json.JSONDecodeError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"cannot read {files[0].parent}: {reason}") from None


@functools.lru_cache(maxsize=8)  # a process reads the same files once
def _read_local_files(
    name: str, where: SetSource, files: tuple[Path, ...], digests: tuple[str, ...]
) -> Set:
    """The set in `files`, whose content has the sha256 `digests`."""
    lines = [line for path in files for line in _read_bytes(path).splitlines()]
    return Set(name, _read_items(where, [json.loads(line) for line in lines]))


def _read_bytes(path: Path) -> bytes:
    with open_file(path) as file:
        return file.read()


@functools.lru_cache(maxsize=8)
def _read_hub(name: str, where: SetSource) -> Set:
    """A set of the hub; a process loads it once."""
    return Set(name, _read_items(where, _hub_rows(name, where)))


def _hub_rows(name: str, where: SetSource) -> list[dict]:
    """The rows of a set's dataset on the hub; DataError where it cannot be loaded."""
    with explain_hub_errors(
        name, "put a local copy into a folder and name that folder in smallbench_data"
    ):
        import datasets  # seconds to import

        datasets.disable_progress_bars()
        revision = revision_on_hub(where.hub, None)
        configs = [where.config]
        if where.config == "*":
            configs = sorted(datasets.get_dataset_config_names(where.hub, revision=revision))
        rows = []
        for config in configs:
            rows += datasets.load_dataset(where.hub, config, split=where.split, revision=revision)
        return rows
