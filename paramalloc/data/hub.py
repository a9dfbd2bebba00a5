"""Datasets of the Hugging Face hub: which are known, how they are loaded, what can go wrong."""

import functools
import json
import math
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ..errors import DataError, UserError
from ..packages import lacks
from .readers import cut_articles
from .splits import SPLITS, Opened, Part, Source


class HubDataset(NamedTuple):
    """A dataset of the hub: one of its configurations, at a revision (None: the newest)."""

    repo: str
    config: str
    revision: str | None


WIKITEXT_REVISION = "b08601e04326c79dfdd32d625aee71d232d685c3"
HUB = {
    "wikitext-2": HubDataset("Salesforce/wikitext", "wikitext-2-v1", WIKITEXT_REVISION),
    "wikitext-103": HubDataset("Salesforce/wikitext", "wikitext-103-v1", WIKITEXT_REVISION),
    "wmt": HubDataset("wmt/wmt14", "de-en", None),  # and any wmtNN:xx-en
}
HUB_SPLITS = {"train": "train", "valid": "validation", "test": "test"}
BYTES_PER_TOKEN = 5  # more than English takes, so that the text streamed fills the token budget
INSTEAD = "name a local folder, as in -p dataset path/to/folder"


def is_on_hub(name: str) -> bool:
    """Whether a dataset of this name is known to be on the hub."""
    return name in HUB or bool(re.fullmatch(r"wmt\d\d:[a-z]{2}-en", name))


def hub_part(name: str, tokens: int | None) -> Part:
    """The corpus of this name; its record holds what is asked for, so no network is needed yet.

    WMT is streamed until it has about `tokens` tokens; the others are loaded whole.
    """
    dataset = HUB.get(name) or HubDataset(f"wmt/{name[:5]}", name[6:], None)
    record = {
        "name": name,
        "hub": dataset.repo,
        "config": dataset.config,
        "revision": dataset.revision,
    }
    if name.startswith("wmt"):
        if not tokens:
            advice = "give tokens, as in -p tokens 50_000_000"
            raise DataError(f"{name} is streamed to a token budget: {advice}")
        record["tokens"] = tokens
    return Part(name, [record], functools.partial(_open, record))


def _open(record: dict) -> Opened:
    """Load what the record asks for; the record of what was opened holds the commit as well."""
    is_streamed = "tokens" in record
    with explain_hub_errors(record["name"], INSTEAD):
        from datasets import disable_progress_bars, load_dataset  # seconds to import

        disable_progress_bars()
        commit = revision_on_hub(record["hub"], record["revision"])
        splits = load_dataset(
            record["hub"], record["config"], revision=commit, streaming=is_streamed
        )
    sources = []
    for split in SPLITS:
        rows = splits[HUB_SPLITS[split]]
        if is_streamed:
            sources.append(_stream_wmt(record, split, rows))
        else:
            sources.append(_open_wikitext(split, rows))
    return Opened(sources, [record | {"commit": commit}])


def _open_wikitext(split: str, rows) -> Source:
    return Source(split, functools.partial(_read_wikitext, rows), wikitext=True)


def _stream_wmt(record: dict, split: str, rows) -> Source:
    """The English side: of train as many bytes as the token budget needs, of the others all."""
    limit = BYTES_PER_TOKEN * record["tokens"] if split == "train" else math.inf
    return Source(split, _Spool(record["name"], functools.partial(_read_english, rows, limit)))


def _read_wikitext(rows) -> Iterator[str]:
    """Articles. A row of the hub is a line; with the space that empty lines lost there, the text
    equals the original file."""
    lines = (line or " \n" for batch in rows.iter(batch_size=1000) for line in batch["text"])
    return cut_articles(lines)


def _read_english(rows: Iterable[dict], limit: float) -> Iterator[str]:
    """Sentences until they have `limit` bytes."""
    size = 0
    for row in rows:
        text = row["translation"]["en"]
        yield text
        size += len(text.encode())
        if size >= limit:
            return


class _Spool:
    """Texts that are downloaded once and read twice, kept in an unnamed temporary file."""

    def __init__(self, name: str, texts: Callable[[], Iterator[str]]):
        self.name = name
        self.texts = texts
        self.file = None

    def __call__(self) -> Iterator[str]:
        if self.file is None:
            self.file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 (kept open)
            with explain_hub_errors(self.name, INSTEAD):
                self.file.writelines(json.dumps(text) + "\n" for text in self.texts())
        self.file.seek(0)
        return map(json.loads, self.file)


def revision_on_hub(repo: str, revision: str | None) -> str | None:
    """The commit that a revision means.

    Asked before `datasets` is: one request fails at once where `datasets` tries for long.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        return HfApi().dataset_info(repo, revision=revision, timeout=5).sha
    except OfflineModeIsEnabled:  # HF_HUB_OFFLINE=1: the user's cache may have it
        return revision


@contextmanager
def explain_hub_errors(name: str, instead: str) -> Iterator[None]:
    """Turn whatever fails on the way to the hub into one line that says what to do `instead`."""
    try:
        yield
    except UserError:  # interrupted
        raise
    except ModuleNotFoundError as error:
        raise DataError(f"{lacks(name, [str(error.name)])}, or {instead}") from error
    except Exception as error:  # whatever the network, the hub and three libraries may raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        advice = f"check the network or {instead}"
        raise DataError(
            f"cannot load {name} from the Hugging Face hub ({reason}): {advice}"
        ) from error
