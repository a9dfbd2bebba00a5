"""Statistics over runs: the table of cells, the Pareto front, and how much of a ranking may be believed. No torch.

Everything takes the DataFrame of `runs.load_runs`, one row per run. A loss that was not measured is NaN, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .runs import Note

BASELINE = (0.35, 2.66)  # requested share and GLU of the cell that every other one is compared with
CLOSE = 0.02  # nats per token: 2 % of perplexity, a distance that a change of seed alone can make
NO_RUNS = (
    "no runs yet: run `make` (the quick grid of 12 cells) or "
    "`papermill notebooks/train.ipynb outputs/notebooks/one.ipynb` (one cell), then this notebook again."
)

REQUEST = ["requested_share", "requested_glu"]
SHAPE = ["d_model", "n_layers", "d_ff", "n_heads", "d_head"]
COUNTS = ["total_params", "embed_params", "params_attention", "params_mlp", "params_norm"]
REALISED = ["embed_share", "glu", *COUNTS, "tokens", "unigram_loss"]
TEXTS = ["embedding", "dataset", "data_fingerprint"]
MEANS = ["dev_loss", "dev_ppl", "dev_bpb", "smallbench", "train_flops"]
SPEEDS = ["tokens_per_s", "decode_ms_per_token"]
NUMBERS = [*REQUEST, *SHAPE, *REALISED, *MEANS, *SPEEDS, "lr", "tokens_trained", "flagged_at_tokens"]
COLUMNS = ["cell", *NUMBERS, *TEXTS, "n_seeds", "status", "run_ids"]

SAME = ["data_fingerprint", "vocab_size", "embedding", "tokens", "seq_len", "batch_tokens", "recipe"]
STATUSES = ["completed", "stopped_early", "diverged", "failed", "missing"]  # the one that tells most comes first
COST_SENSE = {"tokens_per_s": "more", "decode_ms_per_token": "less", "train_flops": "less"}  # which direction of a cost is better


NOTHING = Note("no runs yet")


def comparable(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs whose losses may stand side by side: one corpus and tokenizer, one recipe length, one size within 10 %.

    Of several such groups the one with the most completed runs is kept (then the newest).
    Rows without a corpus or a size are cells that a sweep still expects: they carry no loss, so they stay.
    """
    known = runs[runs.data_fingerprint.notna() & runs.total_params.notna()]
    if known.empty:
        return runs
    size = (known.total_params.astype(float).sort_values().pct_change() > 0.1).cumsum().reindex(known.index)
    groups = [group for _, group in known.groupby([*SAME, size.rename("size")], dropna=False)]
    largest = max(groups, key=lambda group: ((group.status == "completed").sum(), str(group.created.max())))
    return runs[~runs.index.isin(known.index) | runs.index.isin(largest.index)]


def cells_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per cell: what was requested, what was realised, and the mean dev loss (nats per token) over its seeds.

    Only completed runs are averaged, at the learning rate with the lowest mean dev_loss; tokens_per_s is their median.
    """
    runs = runs.reset_index(drop=True)
    runs = runs.assign(**{name: _numbers(runs, name) for name in [*NUMBERS, "seed"]})
    runs = one_size(comparable(runs))
    cells = [_cell(group) for _, group in runs.groupby(_cell_keys(runs), dropna=False)] if len(runs) else []
    return pd.DataFrame(cells, columns=COLUMNS).sort_values([*REQUEST, "d_model"], ignore_index=True)


def one_size(runs: pd.DataFrame) -> pd.DataFrame:
    """SmallBench in full and its quick subset do not compare: where both are there, only what is in full counts."""
    if "full" in set(runs.get("smallbench_size", ())):
        return runs.assign(smallbench=runs.smallbench.where(runs.smallbench_size == "full"))
    return runs


def _numbers(runs: pd.DataFrame, name: str) -> pd.Series:
    """A column as float64 with NaN where it is null; a count per group may be absent altogether."""
    return pd.to_numeric(runs.get(name, pd.Series(np.nan, runs.index))).astype(float)


def _cell_keys(runs: pd.DataFrame) -> list[pd.Series]:
    """A cell is its request and its shape; a run that never got a shape takes the one of its request."""
    shape = runs[SHAPE].fillna(runs.groupby(REQUEST)[SHAPE].transform("first"))
    return [runs[name] for name in REQUEST] + [shape[name] for name in SHAPE]


def _cell(runs: pd.DataFrame) -> dict:
    """The row of one cell from its runs."""
    used = best_lr(runs)
    shown = used if len(used) else runs  # without a completed run, the curves still show how far the others came
    first = runs.bfill().iloc[0]
    return {
        "cell": cell_name(first),
        **first[[*REQUEST, *SHAPE]],
        **first[[*REALISED, *TEXTS]],
        **used[MEANS].mean(),
        **used[SPEEDS].median(),
        "lr": used.lr.max(),
        "n_seeds": used.seed.nunique(),
        "tokens_trained": shown.tokens_trained.max(),
        "flagged_at_tokens": used.flagged_at_tokens.min(),
        "status": min(runs.status, key=_rank),
        "run_ids": list(shown.run_id.dropna()),
    }


def _rank(status: str) -> int:
    return STATUSES.index(status) if status in STATUSES else len(STATUSES)


def best_lr(runs: pd.DataFrame) -> pd.DataFrame:
    """The completed runs of one cell at the learning rate whose mean dev_loss over seeds is lowest."""
    done = runs[(runs.status == "completed") & runs.dev_loss.notna()]
    if done.empty:
        return done
    return done[done.lr == done.groupby("lr").dev_loss.mean().idxmin()]


def cell_name(cell: pd.Series) -> str:
    """`35 % × 2.66` (requested share and GLU), or `216 × 12 × 576` (d_model, n_layers, d_ff) for an explicit shape."""
    if pd.notna(cell.requested_share) and pd.notna(cell.requested_glu):
        return f"{100 * cell.requested_share:g} % × {cell.requested_glu:.4g}"
    return " × ".join("?" if pd.isna(cell[name]) else f"{cell[name]:.0f}" for name in ("d_model", "n_layers", "d_ff"))


def pareto_front(table: pd.DataFrame, cost: str, quality: str = "dev_loss", cost_sense: str | None = None) -> pd.Series:
    """True where no other cell is at least as good in both and better in one (lower quality is better).

    `cost_sense` is "more" or "less" (which is better). Ties stay together; a cell with a NaN is never on the front.
    """
    sign = {"more": -1.0, "less": 1.0}[cost_sense or COST_SENSE[cost]]
    c, q = sign * table[cost].to_numpy(float), table[quality].to_numpy(float)
    no_worse = (c[:, None] <= c) & (q[:, None] <= q)  # (i, j): i is at least as good as j; a NaN is neither
    better = (c[:, None] < c) | (q[:, None] < q)
    dominated = (no_worse & better).any(axis=0)
    return pd.Series(~dominated & ~np.isnan(c) & ~np.isnan(q), index=table.index)


def front_table(table: pd.DataFrame, cost: str) -> pd.DataFrame:
    """The cells on the front of dev_loss against `cost`, from the lowest dev_loss on."""
    return table[pareto_front(table, cost)].sort_values(["dev_loss", cost], ignore_index=True)


def completed(table: pd.DataFrame) -> pd.DataFrame:
    """The cells with a dev_loss, from the lowest on."""
    return table[table.dev_loss.notna()].sort_values("dev_loss", ignore_index=True)


def baseline(table: pd.DataFrame) -> pd.DataFrame:
    """The completed baseline cell, as a table of one row or none."""
    near = [np.isclose(table[name].astype(float), value) for name, value in zip(REQUEST, BASELINE)]
    return completed(table[near[0] & near[1]]).head(1)


@dataclass(frozen=True)
class Verdict:
    """The answer as data: gaps in nats per token, None where there is nothing to compare with."""

    sentences: tuple[str, ...]
    best: str | None = None
    next_gap: float | None = None
    baseline_gap: float | None = None
    n_seeds: int = 0  # the fewest that any completed cell has
    n_close: int = 0  # completed cells within CLOSE of the best, the best included

    def __str__(self) -> str:
        return " ".join(self.sentences)

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return f"**{self.sentences[0]}** {' '.join(self.sentences[1:])}".strip()


def verdict(table: pd.DataFrame) -> Verdict:
    """Which cell has the lowest dev_loss, by how much, and how little that may mean."""
    if table.empty:
        return Verdict((NO_RUNS,))
    done = completed(table)
    if done.empty:
        return Verdict((f"None of the {len(table)} cells is complete yet, so there is no answer yet.",))
    best, others, base = done.iloc[0], done.iloc[1:], baseline(table)
    gaps = {
        "next_gap": float(others.dev_loss.iloc[0] - best.dev_loss) if len(others) else None,
        "baseline_gap": float(base.dev_loss.iloc[0] - best.dev_loss) if len(base) else None,
        "n_seeds": int(done.n_seeds.min()),
        "n_close": int((done.dev_loss <= best.dev_loss + CLOSE).sum()),
    }
    sentences = (_headline(table, done), _certainty(done, **gaps), _meaning(done))
    return Verdict(tuple(s for s in sentences if s), best.cell, **gaps)


def _headline(table: pd.DataFrame, done: pd.DataFrame) -> str:
    best = done.iloc[0]
    loss = f"{best.dev_loss:.3f} nats per token, perplexity {best.dev_ppl:.1f}"
    if len(done) == 1:
        return f"One cell of {len(table)} is complete, so there is nothing to compare yet: {best.cell} reached {loss}."
    some = f"the {len(done)} completed cells ({len(table)} in all)"
    where = some if len(done) < len(table) else f"{len(table)} cells"
    shape = f"d_model {best.d_model:.0f}, {best.n_layers:.0f} layers"
    return f"Of {where}, {best.cell} ({shape}) reached the lowest dev loss: {loss}."


def _certainty(done: pd.DataFrame, next_gap, baseline_gap, n_seeds: int, n_close: int) -> str:
    if next_gap is None:
        return ""
    gaps = f"It is {next_gap:.3f} nats below the next ({done.cell[1]})"
    if baseline_gap is not None:
        gaps += f" and {baseline_gap:.3f} below the baseline" if baseline_gap else " and is itself the baseline"
    close = f"{n_close} of {len(done)} cells, itself included, lie within {CLOSE} nats of it"
    if n_close == 1:
        close = f"no other of the {len(done)} cells lies within {CLOSE} nats of it"
    if n_seeds > 1:
        return f"{gaps}; {close}, and means over {n_seeds} seeds without intervals do not rank cells that close."
    seeds = "one seed" if done.n_seeds.max() == 1 else "one seed in some cells"
    return f"{gaps}; {close}, and with {seeds}, differences of this order may be seed noise."


def _meaning(done: pd.DataFrame) -> str:
    if len(done) < 2 or not (done.embedding == "tied").all():
        return ""
    return "With tied embeddings share is width and GLU is depth, so this ranks shapes as much as shares."
