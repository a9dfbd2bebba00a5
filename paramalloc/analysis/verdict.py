"""The answer: which cell is best, how sure that is, and what share and expansion do."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ..config import TUNING_SEED
from .cells import baseline_cell, cells_table, completed_cells, is_screening
from .comparisons import differences, may_be_best
from .effects import main_effects
from .groups import REQUEST_COLUMNS
from .noise import Noise, estimate_noise, fit, means
from .screening import describe_screening
from .selection import CLOSE, NO_RUNS, eligible_runs
from .surface import fit_surface
from .wording import interval, join_words, p_value, percent, signed, signed_interval

# How a main effect names a level, several levels, and what it is averaged over.
EFFECT_WORDS = {
    "requested_share": ("a share of {}", "shares of {}", "GLU expansions"),
    "requested_glu": ("an expansion of {}", "expansions of {}", "shares"),
}


@dataclass(frozen=True)
class Verdict:
    """The answer as text and as data. Gaps are in nats per token, None without a second cell.

    `close` names the completed cells that may be the best (`may_be_best`), the best one included;
    with one seed, those within CLOSE of it. `n_seeds` is the fewest that any completed cell has.
    `meaning` holds apart what the last of the `sentences` joins: a main effect each, and so on.
    """

    sentences: tuple[str, ...]
    best: str | None = None
    next_gap: float | None = None
    baseline_gap: float | None = None
    n_seeds: int = 0
    close: tuple[str, ...] = ()
    meaning: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join(self.sentences)

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return f"**{self.sentences[0]}** {' '.join(self.sentences[1:])}".strip()


def reach_verdict(runs: pd.DataFrame) -> Verdict:
    """Which cell has the lowest dev_loss, by how much, how surely, and what that says.

    `sentences` holds the headline, then the certainty, then the main effects; of a screening, what
    is left of it and what to train next (`describe_screening`).
    """
    table = cells_table(runs)
    if table.empty:
        return Verdict((NO_RUNS,))
    if is_screening(runs):
        return Verdict(describe_screening(runs))
    done = completed_cells(table)
    if done.empty:
        none = f"None of the {len(table)} cells is complete yet, so there is no answer yet."
        return Verdict((none + _only_tuning(runs),))

    eligible = eligible_runs(runs)
    noise = estimate_noise(eligible)
    close = _close_cells(done, eligible, noise)
    baseline = baseline_cell(done)
    next_gap = _gap(done, done.iloc[1:])
    baseline_gap = _gap(done, baseline)
    headline = _headline(table, done, means(eligible).set_index("cell"))
    certainty = ""
    if next_gap is not None and noise:
        versus = _versus_baseline(done, baseline, differences(eligible), next_gap)
        certainty = f"{versus} {_certainty(done, noise, close)}"
    elif next_gap is not None:
        certainty = _certainty_of_one_seed(done, baseline, close, next_gap, baseline_gap)
    meaning = _meaning(done, _effects(eligible) if noise else [])
    return Verdict(
        tuple(text for text in (headline, certainty, " ".join(meaning)) if text),
        done.cell[0],
        next_gap,
        baseline_gap,
        int(done.n_seeds.min()),
        close,
        tuple(meaning),
    )


def _gap(done: pd.DataFrame, others: pd.DataFrame) -> float | None:
    """How far the first of `others` lies above the best cell; None without one."""
    return float(others.dev_loss.iloc[0] - done.dev_loss[0]) if len(others) else None


def _close_cells(
    done: pd.DataFrame, eligible: pd.DataFrame, noise: Noise | None
) -> tuple[str, ...]:
    """See `Verdict.close`."""
    if noise:
        return tuple(done.cell[done.cell.isin(may_be_best(fit(eligible)))])
    return tuple(done.cell[done.dev_loss <= done.dev_loss[0] + CLOSE])


def _only_tuning(runs: pd.DataFrame) -> str:
    """Completed runs whose seeds only choose a learning rate, which is easily overlooked."""
    tuning = int(((runs.status == "completed") & (runs.seed >= TUNING_SEED)).sum())
    if not tuning:
        return ""
    seeds = f"{tuning} completed runs have seeds from {TUNING_SEED} on"
    return f" {seeds}, which only choose a learning rate."


def _headline(table: pd.DataFrame, done: pd.DataFrame, intervals: pd.DataFrame) -> str:
    """The best cell with its shape, its loss and the interval of that."""
    best = done.iloc[0]
    low, high = intervals.loc[best.cell, ["low", "high"]]
    ci = f" (95 % CI over seeds {interval(low, high)})" if pd.notna(low) else ""
    loss = f"{best.dev_loss:.3f} nats per token{ci}, perplexity {best.dev_ppl:.1f}"
    if len(done) == 1:
        alone = f"One cell of {len(table)} is complete, so there is nothing to compare yet"
        return f"{alone}: {best.cell} reached {loss}."
    cells = f"{len(table)} cells"
    if len(done) < len(table):
        cells = f"the {len(done)} completed cells ({len(table)} in all)"
    shape = f"d_model {best.d_model:.0f}, {best.n_layers:.0f} layers"
    diverged = ""
    if best.n_diverged:
        trained = best.n_seeds + best.n_diverged
        diverged = f"; but {best.n_diverged} of its {trained} runs diverged"
    return f"Of {cells}, {best.cell} ({shape}) reached the lowest dev loss: {loss}{diverged}."


def _versus_baseline(
    done: pd.DataFrame, baseline: pd.DataFrame, table: pd.DataFrame, next_gap: float
) -> str:
    """The best cell's difference to the baseline, else to the next cell.

    Distinguishable is what the table of differences calls so: its step-down test finds a little
    more than the simultaneous interval does.
    """
    rows = table[(table.cell == done.cell[0]) & table.difference.notna()]
    if rows.empty:
        if done.cell[0] in set(baseline.cell):
            return "It is itself the baseline."
        return f"It is {next_gap:.3f} nats better than the next, {done.cell[1]}."
    row = rows.iloc[0]
    relation = (
        "is distinguishably better than" if row.distinguishable else "is not distinguishable from"
    )
    ci = f"simultaneous 95 % CI {signed_interval(row.low_all, row.high_all)}"
    numbers = f"{signed(row.difference)} nats (adjusted {p_value(row.p_adjusted)}, {ci})"
    return f"It {relation} the baseline, {baseline.cell.iloc[0]}: {numbers}."


def _certainty(done: pd.DataFrame, noise: Noise, close: tuple[str, ...]) -> str:
    """With repeated seeds: which cells may be the best, at which noise."""
    fewest, most = done.n_seeds.min(), done.n_seeds.max()
    seeds = f"{fewest} seeds" if fewest == most else f"{fewest} to {most} seeds"
    others = "Every other cell is distinguishably worse"
    if len(close) > 1:
        counts = f"{len(close)} of {len(done)} cells, the lowest included,"
        others = f"Comparing all pairs, {counts} may be the best{_named(done, close)}"
    sd = f"a run-to-run standard deviation of {noise.sigma:.4f} nats"
    return f"{others}, with {seeds} a cell and {sd}."


def _named(done: pd.DataFrame, close: tuple[str, ...]) -> str:
    """The close cells by name, or those that are left, whichever is shorter."""
    rest = [name for name in done.cell if name not in close]
    if not rest:
        return ""
    if len(close) <= len(rest):
        return f" ({', '.join(close)})"
    return f" (all but {', '.join(rest)})"


def _certainty_of_one_seed(
    done: pd.DataFrame,
    baseline: pd.DataFrame,
    close: tuple[str, ...],
    next_gap: float,
    baseline_gap: float | None,
) -> str:
    """Without a repeated seed: the gaps, and a rule of thumb in place of an interval."""
    gaps = f"It is {next_gap:.3f} nats better than the next, {done.cell[1]}"
    if baseline_gap:
        gaps += f", and {baseline_gap:.3f} better than the baseline, {baseline.cell.iloc[0]}"
    elif baseline_gap == 0:
        gaps += ", and is itself the baseline"
    near = f"{len(close)} of {len(done)} cells, itself included, lie within {CLOSE} nats of it"
    if len(close) == 1:
        near = f"No other of the {len(done)} cells lies within {CLOSE} nats of it"
    seeds = "one seed" if done.n_seeds.max() == 1 else "no two cells with two seeds in common"
    return f"{gaps}. {near}. With {seeds}, differences of this size may be seed noise."


def _meaning(done: pd.DataFrame, effects: list[str]) -> list[str]:
    """What share and expansion do, and that with a tied embedding a share is a shape."""
    if len(done) < 2 or not (done.embedding == "tied").all():
        return effects
    tied = (
        "With tied embeddings, share is width and GLU is depth, "
        "so this ranks shapes as much as shares."
    )
    return [*effects, tied]


def _effects(eligible: pd.DataFrame) -> list[str]:
    """The main effects in words; without a grid, where a surface has its minimum."""
    effects = main_effects(eligible).dropna(subset=["low", "high"])
    if effects.empty:
        surface = fit_surface(eligible)
        return [surface.text] if surface else []
    sentences = []
    for axis in REQUEST_COLUMNS:
        rows = effects[effects.axis == axis]
        if len(rows):
            sentences.append(_effect_sentence(axis, rows))
    if len(effects) > 1:
        sentences.append("These 95 % CIs are simultaneous.")
    return sentences


def _effect_sentence(axis: str, rows: pd.DataFrame) -> str:
    """`Averaged over shares, an expansion of 4 is 0.023 nats worse than 2.66 (95 % CI …); …`."""
    one, several, over = EFFECT_WORDS[axis]
    name = percent if axis == "requested_share" else "{:g}".format
    baseline = name(rows.baseline.iloc[0])
    similar = rows[(rows.low <= 0) & (rows.high >= 0)]
    clauses = []
    for row in rows.drop(similar.index).itertuples():
        direction = "worse" if row.difference > 0 else "better"
        ci = interval(*sorted((abs(row.low), abs(row.high))))
        clauses.append(
            f"{one.format(name(row.level))} is {abs(row.difference):.3f} nats {direction} "
            f"than {baseline} (95 % CI {ci})"
        )
    levels = [name(level) for level in similar.level]
    ends = signed_interval(similar.low.min(), similar.high.max())
    if len(levels) == 1:
        same = f"{one.format(levels[0])} is not distinguishable from {baseline}"
        clauses.append(f"{same} (95 % CI {ends})")
    elif levels:
        same = f"{several.format(join_words(levels))} are not distinguishable from {baseline}"
        clauses.append(f"{same} (all 95 % CIs within {ends})")
    return f"Averaged over {over}, {'; '.join(clauses)}."
