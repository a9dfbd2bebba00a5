"""What the report says beside its claims: recipe, limits and origin (see statements.py)."""

import pandas as pd
from recomputed import BASELINE, TUNING_SEED, Study
from scipy import stats
from statements import short


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
    screened = sorted(set(flagged.cell))
    no_worse = [cell for cell in screened if study.means[cell] <= study.means[BASELINE]]
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
        f"{wrong} of these ended no worse than the baseline's run on their seed, so wrongly:"
        f" {100 * wrong / len(flagged):.0f} % (95 % CI [{100 * ci.low:.0f} %, {100 * ci.high:.0f}"
        " %], as if runs were independent).",
        f"In `kill` mode it would have screened out {len(screened)} cells, of which"
        f" {len(no_worse)} ({', '.join(no_worse)}) ended no worse than the baseline in the mean"
        " over seeds, so wrongly.",
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


CIRCUMSTANCES = (recipe, limits, origin)
