"""The report's first page: the answer (words: analysis/verdict.py), how sure, at which scale."""

from __future__ import annotations

import math

import pandas as pd

from ..analysis import cells_table, comparable, is_screening, reach_verdict, trained_cells
from ..plots import short_count
from ..runs import Note
from .confounds import confound
from .markup import bullets, code, span
from .open_runs import no_cells

REPORT_TITLE = "Where should a small language model keep its parameters?"


def conclusion(runs: pd.DataFrame) -> Note:
    """Which cell has the lowest dev loss, with its interval: one sentence."""
    verdict = reach_verdict(runs)
    sentence = verdict.sentences[0]
    return Note(f"**{sentence}**" if verdict.best or is_screening(runs) else sentence)


def reasons(runs: pd.DataFrame) -> Note:
    """How sure the answer is: noise, main effects and confounds, a bullet each."""
    return Note(bullets([*reach_verdict(runs).sentences[1:], confound(runs)]))


def scale(runs: pd.DataFrame) -> Note:
    """At which scale the answer holds: parameters, vocabulary, tokens, corpus, seeds, machine."""
    done = trained_cells(runs)
    if done.empty:
        return Note("")
    used = comparable(runs)
    used = used[used.status == "completed"]
    first = done.iloc[0]
    words = [] if is_screening(runs) else _completeness(runs, done)
    words.append(f"about {short_count(done.total_params.median())} parameters")
    words += [f"vocabulary {size:,.0f}" for size in used.vocab_size.mode()[:1]]
    epochs = used.epochs.max() if "epochs" in used else math.nan
    read = f" ({epochs:.2g} epochs)" if epochs > 0 else ""
    words.append(f"{short_count(first.tokens)} training tokens of {code(first.dataset)}{read}")
    devices = sorted(used.device.dropna().unique())
    if devices:
        words.append(f"on {', '.join(map(code, devices))}")
    return Note(f"Measured at: {' · '.join(words)}.")


def _completeness(runs: pd.DataFrame, done: pd.DataFrame) -> list[str]:
    """How many cells and seeds are complete."""
    seeds = "seed" if done.n_seeds.max() == 1 else "seeds"
    return [
        f"{len(done)} of {len(cells_table(runs))} cells complete",
        f"{span(done.n_seeds)} {seeds} a cell",
    ]


def corpus(runs: pd.DataFrame) -> Note:
    """Which text, and how far each dev loss lies below the unigram entropy (nats per token)."""
    done = trained_cells(runs)
    if done.empty:
        return no_cells(runs)
    first = done.iloc[0]
    gaps = done.unigram_loss - done.dev_loss
    fingerprint = str(first.data_fingerprint)[:16]
    text = (
        f"Corpus {code(first.dataset)} (fingerprint {code(fingerprint)}),"
        f" {first.tokens:,.0f} training tokens."
    )
    if gaps.isna().all():
        return Note(text)
    return Note(
        f"{text} Token frequencies alone (the unigram entropy of the dev split) give"
        f" {first.unigram_loss:.3f} nats per token. The completed cells are {gaps.min():.3f} to"
        f" {gaps.max():.3f} nats better."
    )
