"""SmallBench's sets, from a local folder or the Hugging Face hub, in one form. No torch."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..config import ROOT
from ..data import UNREADABLE, explain_hub_errors, is_text_file, open_file, revision_on_hub
from ..errors import DataError


@dataclass(frozen=True)
class Choices:
    """One question: what is scored are the `choices`, each after `context`; `gold` is the number of the right one."""

    group: str
    context: str
    choices: tuple[str, ...]
    gold: int = 0


@dataclass(frozen=True)
class Set:
    """`sha256` is over what is asked, so that a set is known wherever it came from."""

    name: str
    items: list[Choices]

    @property
    def sha256(self) -> str:
        asked = json.dumps(
            [[item.group, item.context, item.choices, item.gold] for item in self.items],
            ensure_ascii=False,
        )
        return hashlib.sha256(asked.encode()).hexdigest()


@dataclass(frozen=True)
class Where:
    """Where a set is: files of a local folder, or a dataset of the hub; and how a row of it is read.

    No revision is pinned: none was found in a public source. The set's sha256 tells whether it is the same.
    """

    files: str
    hub: str
    split: str
    read: Callable[[dict], Choices]
    config: str | None = None  # None: the one it has; "*": all of them


# The data's 13th term counts as argument structure, as in the published table (Warstadt et al. 2020, table 3).
PHENOMENA = {"s-selection": "argument_structure"}


def blimp(row: dict) -> Choices:
    phenomenon = PHENOMENA.get(row["linguistics_term"], row["linguistics_term"])
    return Choices(f"{phenomenon}/{row['UID']}", "", (row["sentence_good"], row["sentence_bad"]))


def lambada(row: dict) -> Choices:
    context, word = row["text"].rsplit(" ", 1)
    return Choices("lambada", context, (" " + word,))


def question(text: str, choices: list[str], gold: int) -> Choices:
    return Choices(
        "question",
        f"Question: {text}\nAnswer:",
        tuple(" " + choice for choice in choices),
        int(gold),
    )


def local(row: dict) -> Choices:
    return question(
        row["query"].removeprefix("Question: ").rstrip("\n"), row["choices"], row["gold"]
    )


def arc(row: dict) -> Choices:
    if "query" in row:
        return local(row)
    return question(
        row["question"],
        row["choices"]["text"],
        list(row["choices"]["label"]).index(row["answerKey"]),
    )


def piqa(row: dict) -> Choices:
    return (
        local(row)
        if "query" in row
        else question(row["goal"], [row["sol1"], row["sol2"]], row["label"])
    )


SETS = {
    "blimp": Where("blimp/*.jsonl*", "nyu-mll/blimp", "train", blimp, "*"),
    "lambada": Where(
        "smallbench/lambada_test.jsonl*", "EleutherAI/lambada_openai", "test", lambada, "default"
    ),
    "arc_easy": Where("smallbench/arc_easy.jsonl*", "allenai/ai2_arc", "test", arc, "ARC-Easy"),
    "piqa": Where("smallbench/piqa.jsonl*", "baber/piqa", "validation", piqa),
}


def load_sets(source: str) -> tuple[list[Set], dict[str, str]]:
    """The sets that are in the folder `source`, or on the hub when it is "hub"; and for each other one what to do.

    Pairs of identical sentences (7 in BLiMP) are dropped: no model can tell them apart."""
    sets, missing = [], {}
    for name, where in SETS.items():
        try:
            rows = hub_rows(name, where) if source == "hub" else local_rows(where, ROOT / source)
            items = [where.read(row) for row in rows]
            items = [
                item
                for item in items
                if item.context or len(set(item.choices)) == len(item.choices)
            ]
            if not items or not all(0 <= item.gold < len(item.choices) for item in items):
                raise ValueError(
                    "no items" if not items else "a right answer that is not among the choices"
                )
            sets.append(Set(name, items))
        except DataError as error:
            missing[name] = str(error)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            missing[name] = (
                f"{name} is not in the form that is read here ({type(error).__name__}: {error})"
            )
    return sets, missing


def local_rows(where: Where, folder: Path) -> list[dict]:
    files = [path for path in sorted(folder.glob(where.files)) if is_text_file(path)]
    names = [path.name.split(".jsonl")[0] for path in files]
    if len(set(names)) < len(names):
        raise DataError(
            f"{files[0].parent} holds a file of {where.files.rstrip('*')} twice, packed and not: remove one"
        )
    if not files:
        raise DataError(
            f"put {where.files.rstrip('*')} into {folder}, or set smallbench_data to hub (then {where.hub} is downloaded)"
        )
    try:
        texts = [open_file(path).read() for path in files]
        return [json.loads(line) for text in texts for line in text.splitlines()]
    except (*UNREADABLE, ValueError) as error:
        raise DataError(f"cannot read {files[0].parent}: {' '.join(str(error).split())}") from None


def hub_rows(name: str, where: Where) -> list[dict]:
    with explain_hub_errors(
        name, "put a local copy into a folder and name that folder in smallbench_data"
    ):
        from datasets import (
            disable_progress_bars,
            get_dataset_config_names,
            load_dataset,
        )  # seconds to import

        disable_progress_bars()
        revision = revision_on_hub(where.hub, None)
        configs = (
            sorted(get_dataset_config_names(where.hub, revision=revision))
            if where.config == "*"
            else [where.config]
        )
        return [
            row
            for config in configs
            for row in load_dataset(where.hub, config, split=where.split, revision=revision)
        ]
