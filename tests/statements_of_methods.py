"""What the report says beside its claims: surface, recipe, limits, origin (see statements.py)."""

import numpy as np
import pandas as pd
from recomputed import BASELINE, TUNING_SEED, Study, about
from scipy import stats
from statements import short


def surface(study: Study) -> list[str]:
    """A quadratic in the logarithms; Box and Hunter's region of its stationary point, on a grid."""
    grid = study.grid
    x = np.log(grid[["embed_share", "glu"]].to_numpy())
    blocks = pd.get_dummies(grid.seed, dtype=float).to_numpy()
    design = np.column_stack([blocks, quadratic(x)])
    beta, rss, rank, _ = np.linalg.lstsq(design, grid.dev_loss.to_numpy(), rcond=None)
    df = len(grid) - rank
    n = blocks.shape[1]
    covariance = (rss[0] / df * np.linalg.inv(design.T @ design))[n:, n:]
    low, high = x.min(axis=0), x.max(axis=0)
    points = lattice(low - (high - low), high + (high - low))
    u, v = points.T
    zero, one = np.zeros(len(u)), np.ones(len(u))
    slopes = np.stack(
        [np.stack([one, zero, 2 * u, v, zero], 1), np.stack([zero, one, zero, u, 2 * v], 1)], 1
    )
    g = slopes @ beta[n:]
    size = np.einsum(
        "pi,pij,pj->p", g, np.linalg.inv(slopes @ covariance @ slopes.transpose(0, 2, 1)), g
    )
    region = points[size <= 2 * stats.f.ppf(0.95, 2, df)]
    inside = lattice(low, high)
    least = inside[np.argmin(quadratic(inside) @ beta[n:])]
    margin = 0.1 * (high - low)
    assert np.isclose(least[0], high[0]) and region[:, 0].max() > high[0] + margin[0]
    assert region[:, 1].min() < low[1] - margin[1] and region[:, 1].max() > high[1] + margin[1]
    share = 100 * np.exp([high[0], region[:, 0].min()])
    glus = np.exp([low[1], high[1]])
    return [
        f"The fitted loss is lowest at the edge, {share[0]:.0f} %; the best embedding share is at"
        f" least {about(share[1], 0, 1)} % (95 % confidence); a best GLU expansion is not"
        f" distinguishable between {glus[0]:.2f} and {glus[1]:.2f}."
    ]


def quadratic(x: np.ndarray) -> np.ndarray:
    u, v = x.T
    return np.column_stack([u, v, u**2, u * v, v**2])


def lattice(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(301^2, 2) points between two corners."""
    axes = np.meshgrid(*np.linspace(low, high, 301).T)
    return np.column_stack([axis.ravel() for axis in axes])


def recipe(study: Study) -> list[str]:
    first = study.grid.iloc[0]
    for name in ("lr", "embed_lr", "batch_tokens", "seq_len", "warmup", "weight_decay"):
        assert study.grid[name].nunique() == 1
    unigram = first.unigram_loss
    watched = study.grid[study.grid.cell != BASELINE]
    flagged = watched[watched.flagged_at_tokens > 0]
    baseline = study.losses.loc[BASELINE]
    wrong = int((flagged.dev_loss <= flagged.seed.map(baseline)).sum())
    ci = stats.binomtest(wrong, len(flagged)).proportion_ci()
    return [
        f"Corpus `{first.dataset}` (fingerprint `{first.data_fingerprint[:16]}`),"
        f" {study.tokens:,} training tokens.",
        "Token frequencies alone (the unigram entropy of the dev split) give"
        f" {unigram:.3f} nats per token.",
        f"The completed cells are {unigram - study.means.max():.3f} to"
        f" {unigram - study.means.min():.3f} nats better.",
        f"Optimizer `{first.optimizer}`,…base learning rate {first.lr:g} and its multiple for the"
        f" embedding tables {first.embed_lr:g}.",
        f"A step takes {first.batch_tokens:,} tokens in windows of {first.seq_len}.",
        f"The rate rises over {100 * first.warmup:g} % of the steps and falls linearly to zero.",
        f"Weight decay is {first.weight_decay:g}; gradients are clipped at a norm of"
        f" {first.grad_clip:g}.",
        f"It would have ended {len(flagged)} of the {len(watched)} runs that it watched.",
        f"{wrong} of these ended no worse than the baseline, so wrongly:"
        f" {100 * wrong / len(flagged):.0f} % (95 % CI [{100 * ci.low:.0f} %, {100 * ci.high:.0f}"
        " %], as if runs were independent).",
        "SmallBench is BLiMP's accuracy…the mean over 12 phenomena: 0 is chance, 1 is perfect.",
        "Its standard error over the sentences is"
        f" {study.grid.smallbench_se.median():.4f} for one run;…",
        f"A cell's are the completed ones with…`tokens` {study.tokens} and the table's `lr`.",
        f"Seeds from {TUNING_SEED} on are left out: they only choose a learning rate.",
    ]


def limits(study: Study) -> list[str]:
    grid, totals = study.grid, study.cells.total_params.first()
    others = study.rows[study.rows.tokens != study.tokens]
    spreads = {
        cost: study.cells[cost].max() / study.cells[cost].min()
        for cost in ("tokens_per_s", "decode_ms_per_token")
    }
    size, tokens = short(totals.median()), short(study.tokens)
    return [
        f"The attention heads move with the shape ({grid.n_heads.min()} to {grid.n_heads.max()} of"
        f" dimension {grid.d_head.min()} to {grid.d_head.max()}; 25 % alone 1):…",
        f"The cells' totals differ by up to {100 * (totals.max() / totals.min() - 1):.1f} %:…",
        f"{size} parameters and {tokens} tokens are not the study's 10M and 50M, where the answer"
        " may differ.",
        f"{tokens} training tokens are {study.tokens / totals.median():.2g} a parameter: a larger"
        " budget may change the ranking.",
        *[
            f"The runs of one cell differ by a factor of up to {factor.max():.2f} (median cell:"
            f" {factor.median():.2f}); fronts take their geometric means."
            for factor in spreads.values()
        ],
        f"{len(others)} other runs (tokens `{others.tokens.unique()[0]}`) do not compare with the"
        " grid's.",
    ]


def origin(study: Study) -> list[str]:
    """The grid's runs a line each, then all facts of the others in one."""
    others = study.rows.drop(study.grid.index)
    facts = facts_of(study.grid)
    of_others = "; ".join(
        f"{name.removeprefix('the runs were ')} {value}" for name, value in facts_of(others).items()
    )
    lines = [f"{name}: {value}" for name, value in facts.items()]
    return [*lines, f"the {len(others)} other runs: {of_others}"]


def facts_of(rows: pd.DataFrame) -> dict[str, str]:
    """When, by which code, on what and from which text these runs were made."""
    devices = sorted({f"{row.device} ({row.precision})" for row in rows.itertuples()})
    [text] = {f"`{row.dataset}` (`{row.data_fingerprint}`)" for row in rows.itertuples()}
    return {
        "the runs were made": f"`{rows.created.min()}` to `{rows.created.max()}`",
        "by commit": ", ".join(f"`{commit}`" for commit in sorted(rows.commit.unique())),
        "with torch": ", ".join(f"`{version}`" for version in sorted(rows.torch.unique())),
        "on": f"`{', '.join(devices)}`",
        "from the data": text,
    }


CIRCUMSTANCES = (surface, recipe, limits, origin)
