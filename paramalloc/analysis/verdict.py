"""The answer in three sentences: which cell, how sure, what it means."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ..config import TUNING_SEED
from .effects import main_effects
from .groups import REQUEST_COLUMNS
from .noise import Noise, differences, estimate_noise, fit, may_be_best, means
from .selection import (
    BASELINE,
    CLOSE,
    NO_RUNS,
    baseline_cell,
    cells_table,
    completed_cells,
    eligible_runs,
)
from .surface import fit_surface


@dataclass(frozen=True)
class Verdict:
    """The answer as data: gaps in nats per token, None where there is nothing to compare with."""

    sentences: tuple[str, ...]
    best: str | None = None
    next_gap: float | None = None
    baseline_gap: float | None = None
    n_seeds: int = 0  # the fewest that any completed cell has
    close: tuple[
        str, ...
    ] = ()  # completed cells that may be the best (`may_be_best`), itself included; with one seed, those within CLOSE of it

    def __str__(self) -> str:
        return " ".join(self.sentences)

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return f"**{self.sentences[0]}** {' '.join(self.sentences[1:])}".strip()


def reach_verdict(runs: pd.DataFrame) -> Verdict:
    """Which cell has the lowest dev_loss, by how much and how surely, and what that says about the allocation."""
    table = cells_table(runs)
    if table.empty:
        return Verdict((NO_RUNS,))
    done = completed_cells(table)
    if done.empty:
        return Verdict(
            (
                f"None of the {len(table)} cells is complete yet, so there is no answer yet.{_only_tuning(runs)}",
            )
        )
    best, others, base, claimed = (
        done.iloc[0],
        done.iloc[1:],
        baseline_cell(table),
        eligible_runs(runs),
    )
    scatter = estimate_noise(claimed)
    gaps = {
        "next_gap": float(others.dev_loss.iloc[0] - best.dev_loss) if len(others) else None,
        "baseline_gap": float(base.dev_loss.iloc[0] - best.dev_loss) if len(base) else None,
        "n_seeds": int(done.n_seeds.min()),
        "close": tuple(
            done.cell[
                done.cell.isin(may_be_best(fit(claimed)))
                if scatter
                else done.dev_loss <= best.dev_loss + CLOSE
            ]
        ),
    }
    certainty = (
        _certainty(done, differences(claimed), scatter, **gaps)
        if scatter
        else _one_seed(done, **gaps)
    )
    sentences = (
        _headline(table, done, means(claimed).set_index("cell")),
        certainty,
        _meaning(done, _levels(claimed) if scatter else ""),
    )
    return Verdict(tuple(s for s in sentences if s), best.cell, **gaps)


def _only_tuning(runs: pd.DataFrame) -> str:
    """Seeds that only choose are easily taken for others by who does not know of them."""
    tuning = int(((runs.status == "completed") & (runs.seed >= TUNING_SEED)).sum())
    return (
        f" {tuning} completed runs have seeds from {TUNING_SEED} on, which only choose a learning rate."
        * bool(tuning)
    )


def _headline(table: pd.DataFrame, done: pd.DataFrame, interval: pd.DataFrame) -> str:
    best = done.iloc[0]
    low, high = interval.loc[best.cell, ["low", "high"]]
    within = f" (95 %: {low:.3f} to {high:.3f})" if pd.notna(low) else ""
    loss = f"{best.dev_loss:.3f} nats per token{within}, perplexity {best.dev_ppl:.1f}"
    if len(done) == 1:
        return f"One cell of {len(table)} is complete, so there is nothing to compare yet: {best.cell} reached {loss}."
    some = f"the {len(done)} completed cells ({len(table)} in all)"
    where = some if len(done) < len(table) else f"{len(table)} cells"
    shape = f"d_model {best.d_model:.0f}, {best.n_layers:.0f} layers"
    fell = (
        f"; but {best.n_diverged} of its {best.n_seeds + best.n_diverged} runs diverged"
        if best.n_diverged
        else ""
    )
    return f"Of {where}, {best.cell} ({shape}) reached the lowest dev loss: {loss}{fell}."


def _certainty(
    done: pd.DataFrame,
    beside: pd.DataFrame,
    scatter: Noise,
    next_gap,
    baseline_gap,
    n_seeds: int,
    close: tuple,
) -> str:
    """With repeated seeds: the difference to the baseline with its interval, and which other cells the noise lets be the best."""
    if next_gap is None:
        return ""
    row = beside[(beside.cell == done.cell[0]) & beside.difference.notna()]
    if len(row):
        row = row.iloc[0]
        sure = row.high_all < 0
        interval = (
            f"{-row.high_all:.3f} to {-row.low_all:.3f}"
            if sure
            else f"{row.high_all:.3f} above to {-row.low_all:.3f} below"
        )
        versus = (
            f"It is {-row.difference:.3f} nats below the baseline, {_baseline_name(done)} (95 % for all cells together: {interval})"
            + ", which the noise may explain" * (not sure)
        )
    else:
        versus = (
            "It is itself the baseline"
            if baseline_gap == 0
            else f"It is {next_gap:.3f} nats below the next ({done.cell[1]})"
        )
    some = (
        f"{len(close)} of {len(done)} cells, itself included, may be the best{_which(done, close)}"
    )
    some = some if len(close) > 1 else "every other cell is distinguishably worse"
    seeds = (
        f"{n_seeds} seeds"
        if done.n_seeds.min() == done.n_seeds.max()
        else f"{n_seeds} to {done.n_seeds.max()} seeds"
    )
    return f"{versus}; {some} at {seeds} a cell and a run-to-run noise of {scatter.sigma:.4f} nats."


def _baseline_name(done: pd.DataFrame) -> str:
    return baseline_cell(done).cell.iloc[0]


def _which(done: pd.DataFrame, close: tuple) -> str:
    """The cells by name, or those that are left, whichever is shorter."""
    rest = [name for name in done.cell if name not in close]
    if not rest:
        return ""
    return f" ({', '.join(close)})" if len(close) <= len(rest) else f" (all but {', '.join(rest)})"


def _one_seed(done: pd.DataFrame, next_gap, baseline_gap, n_seeds: int, close: tuple) -> str:
    if next_gap is None:
        return ""
    gaps = f"It is {next_gap:.3f} nats below the next ({done.cell[1]})"
    if baseline_gap is not None:
        gaps += (
            f" and {baseline_gap:.3f} below the baseline, {_baseline_name(done)}"
            if baseline_gap
            else " and is itself the baseline"
        )
    some = f"{len(close)} of {len(done)} cells, itself included, lie within {CLOSE} nats of it"
    if len(close) == 1:
        some = f"no other of the {len(done)} cells lies within {CLOSE} nats of it"
    seeds = "one seed" if done.n_seeds.max() == 1 else "no two cells with two seeds in common"
    return f"{gaps}; {some}, and with {seeds}, differences of this order may be seed noise."


def _meaning(done: pd.DataFrame, levels: str) -> str:
    """What the share and the expansion do, and that with a tied embedding a share is a shape."""
    tied = "with tied embeddings share is width and GLU is depth, so this ranks shapes as much as shares."
    if len(done) < 2 or not (done.embedding == "tied").all():
        return levels
    return f"{levels.rstrip('.')}; {tied}" if levels else tied[0].upper() + tied[1:]


def _levels(claimed: pd.DataFrame) -> str:
    """The main effects in words, which several cells together make surer than one; without a grid, where a surface has its minimum."""
    found = main_effects(claimed).dropna(subset=["low", "high"])
    if found.empty:
        return fitted.text if (fitted := fit_surface(claimed)) else ""
    said = "; ".join(
        _level(axis, found[found.axis == axis])
        for axis in REQUEST_COLUMNS
        if (found.axis == axis).any()
    )
    return f"{said[0].upper()}{said[1:]}."


def _level(axis: str, found: pd.DataFrame) -> str:
    """`on the mean of the expansions, 25 % is 0.074 nats above 35 % (95 %: 0.056 to 0.091), 45 % is not distinguishable from 35 % (…)`."""
    share = axis == REQUEST_COLUMNS[0]
    name = lambda value: f"{100 * value:g} %" if share else f"× {value:g}"
    own, same = name(BASELINE[not share]), found[(found.low <= 0) & (found.high >= 0)]
    told = [
        f"{name(row.level)} is {abs(row.difference):.3f} nats {'above' if row.difference > 0 else 'below'} {own} "
        "(95 %: {:.3f} to {:.3f})".format(*sorted((abs(row.low), abs(row.high))))
        for row in found.drop(same.index).itertuples()
    ]
    if len(same):
        named = " and ".join(", ".join(map(name, same.level)).rsplit(", ", 1))
        told.append(
            f"{named} {'are' if len(same) > 1 else 'is'} not distinguishable from {own} "
            f"({-same.low.min():.3f} below to {same.high.max():.3f} above)"
        )
    return f"on the mean of the {'expansions' if share else 'shares'}, {', '.join(told)}"
