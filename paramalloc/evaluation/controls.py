"""SmallBench's n-gram controls: what counts of the training text alone reach."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from ..data import Corpus
from ..runs import hold
from .ngram import KneserNey, Unigram
from .scoring import OUTCOME_COLUMNS, as_arrays, ngram_score, score_items
from .sets import Set

CONTROLS_VERSION = 1
ORDER = 5
NGRAM_TOKENS = 25_000_000  # of the training text, at most: they take 4 GB while they are counted
CONTROL_NAMES = ("unigram", f"{ORDER}-gram")

Outcomes = dict[tuple[str, str], pd.DataFrame]  # of each (model, set)


def score_controls(corpus: Corpus, sets: list[Set], seq_len: int) -> Outcomes:
    """Outcomes of the unigram and the 5-gram model of a corpus.

    They are kept beside it: all its runs share them. Several runs that end at once do not count the
    same text side by side.
    """
    path = corpus.folder / f"smallbench-{_key(sets, seq_len)}.safetensors"
    if not path.exists():
        try:
            with hold(corpus.folder / "lease"):
                if not path.exists():
                    save_arrays(path, as_arrays(_compute(corpus, sets, seq_len)))
        except OSError:  # a corpus that may only be read
            return _compute(corpus, sets, seq_len)
    return _read_outcomes(path, sets)


def save_arrays(path: Path, arrays: dict[str, np.ndarray]):
    """Write beside, then rename: a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    save_file(arrays, temporary)
    os.replace(temporary, path)


def _key(sets: list[Set], seq_len: int) -> str:
    """12 hex digits over what the outcomes depend on, next to the corpus."""
    digests = [part.sha256 for part in sets]
    content = json.dumps([CONTROLS_VERSION, ORDER, NGRAM_TOKENS, seq_len, digests])
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _compute(corpus: Corpus, sets: list[Set], seq_len: int) -> Outcomes:
    tokens = corpus.split("train")[:NGRAM_TOKENS]
    models = (
        Unigram(corpus.counts("train")),
        KneserNey(tokens, corpus.meta["vocab_size"], ORDER),
    )
    outcomes = {}
    for name, model in zip(CONTROL_NAMES, models, strict=True):
        for part in sets:
            score = ngram_score(model)
            outcomes[name, part.name] = score_items(part, corpus.tokenizer, seq_len, score)
    return outcomes


def _read_outcomes(path: Path, sets: list[Set]) -> Outcomes:
    arrays = load_file(path)
    outcomes = {}
    for name in CONTROL_NAMES:
        for part in sets:
            columns = {column: arrays[f"{name}.{part.name}.{column}"] for column in OUTCOME_COLUMNS}
            groups = [item.group for item in part.items]
            outcomes[name, part.name] = pd.DataFrame({"group": groups} | columns)
    return outcomes
