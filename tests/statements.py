"""What the report of the published grid says, each sentence with its numbers recomputed.

In a statement, `…` is any words without a digit and `0.123±0.002` a number of this range
(`agreement.agrees`). Where a claim could have come out otherwise, an assertion holds the numbers
against it.
"""

import pandas as pd
from agreement import about
from recomputed import BASELINE, Study
from recomputed_rates import Rates, distance


def signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def signed_interval(row: pd.Series, within: float = 0.001) -> str:
    low, high = (about(value, 3, within) for value in (row.low, row.high))
    return f"[{low}, {high}]".replace("-", "−")


def short(count: float) -> str:
    """996k, 5M."""
    return f"{count / 1e6:.3g}M" if count >= 1e6 else f"{count / 1e3:.3g}k"


# ---- what the report says, recomputed


def answers(study: Study) -> list[str]:
    """The lowest cell, how sure that is, at which scale."""
    best = study.cells.get_group(study.best)
    first, mean, half = best.iloc[0], study.means[study.best], study.mean_half(study.best)
    row = study.to_baseline.loc[study.best]
    close = study.may_be_best
    rest = sorted(set(study.means.index) - set(close), key=list(study.means.index).index)
    relation = "is distinguishably better than" if row.p < 0.05 else "is not distinguishable from"
    return [
        f"Of {study.n_cells} cells, {study.best} (d_model {first.d_model:.0f}, {first.n_layers:.0f}"
        f" layers) reached the lowest dev loss: {mean:.3f} nats per token (95 % CI over seeds"
        f" [{mean - half:.3f}, {mean + half:.3f}]), perplexity {best.dev_ppl.mean():.1f}.",
        f"It {relation} the baseline, {BASELINE}: {signed(row.difference)} nats (adjusted p ="
        f" {about(row.p, 3, 0.01)}, simultaneous 95 % CI {signed_interval(row)}).",
        f"Comparing all pairs, {len(close)} of {study.n_cells} cells, the lowest included, may be"
        f" the best (all but {', '.join(rest)}), with {study.n_seeds} seeds a cell and a run-to-run"
        f" standard deviation of {study.sigma:.4f} nats.",
        f"Measured at: {study.n_cells} of {study.n_cells} cells complete · {study.n_seeds} seeds a"
        f" cell · about {short(total_params(study))} parameters · vocabulary"
        f" {first.vocab_size:,} · {short(study.tokens)} training tokens of `{first.dataset}` · on"
        f" `{first.device}`.",
    ]


def total_params(study: Study) -> float:
    return study.cells.total_params.first().median()


def effects(study: Study) -> list[str]:
    """A worse share, and nothing else that is distinguishable; no interaction."""
    worse, same = study.effects.loc["25 %"], study.effects.loc["45 %"]
    glus = study.effects.loc[["2", "3", "4"]]
    heads = study.grid.groupby(study.grid.cell.str.startswith("25 %")).n_heads.agg(["min", "max"])
    assert worse.low > 0 and same.low < 0 < same.high
    assert (glus.low < 0).all() and (glus.high > 0).all()
    assert heads.loc[True, "max"] == 1 < heads.loc[False, "min"] and study.grid.lr.nunique() == 1
    widest = pd.Series({"low": glus.low.min(), "high": glus.high.max()})
    off = study.interaction
    assert off.low < 0 < off.high
    return [
        f"Averaged over GLU expansions, a share of 25 % is {worse.difference:.3f} nats worse than"
        f" 35 % (95 % CI [{about(worse.low, 3, 0.001)}, {about(worse.high, 3, 0.001)}]); a share of"
        f" 45 % is not distinguishable from 35 % (95 % CI {signed_interval(same)}).",
        "Averaged over shares, expansions of 2, 3 and 4 are not distinguishable from 2.66 (all 95 %"
        f" CIs within {signed_interval(widest)}).",
        "The one claim, that 25 % is worse, is confounded: only those cells have a single attention"
        " head, and all cells share one learning rate.",
        f"Share and expansion do not interact distinguishably: at most, {off.name} is"
        f" {signed(off.difference)} nats off the sum of its share's and its expansion's effect (p ="
        f" {about(off.p, 3, 0.02)}, adjusted for {study.n_cells} cells).",
    ]


def noise(study: Study) -> list[str]:
    low, high = study.sigma_interval
    assert study.sigma_seed < 5e-5
    test = study.cells.test_loss.mean()
    assert test.idxmin() == study.best
    return [
        f"Run-to-run standard deviation at a fixed seed: {study.sigma:.4f} nats (95 % CI"
        f" [{low:.4f}, {high:.4f}]), pooled over {study.n_cells} cells and {study.n_seeds} seeds.",
        "One comparison of two cells, planned beforehand and on the same seeds, needs"
        f" {study.seeds_needed(0.02)} seeds to detect 0.02 nats and {study.seeds_needed(0.005)}"
        " seeds to detect 0.005 nats (power 80 %).",
        f"No share is known to scatter more than another (Brown-Forsythe test of the shares, p ="
        f" {study.equal_scatter_p:.3f}).",
        f"The choice of dev documents adds a standard error of {study.documents_error:.3f} nats…",
        f"On the test split, {study.best} is the lowest, as on dev ({test.min():.3f} nats per"
        " token).",
    ]


def rates(study: Study) -> list[str]:
    """One common rate would have been better; the shares' distances; runs at own rates."""
    tried = Rates(study)
    n_tried, gains = tried.n_tried, tried.gains
    rate, test, p = tried.common()
    assert p < 0.001 and test.statistic < 0
    common = tried.losses[rate]
    own_best = tried.losses.min(axis=1)
    three = (tried.losses[tried.lr], common, own_best)
    apart = {
        share: [signed(distance(losses, share)) for losses in three] for share in ("25 %", "45 %")
    }
    more = (gains > study.sigma).sum()
    own = tried.own()
    [seed] = study.claims[study.claims.tokens == tried.tokens].seed.unique()
    place = own.rank()[study.best]
    left = {share: signed(distance(own, share)) for share in apart}
    return [
        f"{len(gains)} of {study.n_cells} cells tried {n_tried.min()} to {n_tried.max()} rates at"
        f" {short(tried.tokens)} tokens a run (rows of `tokens` {tried.tokens} and `seed`"
        f" {tried.seed}, in {', '.join(tried.precisions)}).",
        f"Not quite: one higher rate for all, {rate:g} in place of {tried.lr:g}, gains"
        f" {(tried.losses[tried.lr] - common).mean():.3f} nats (t({test.df}) ="
        f" {test.statistic:.1f}, p < 0.001, adjusted for 4 rates).".replace("-", "−"),
        f"Each cell's own best rate gains {gains.mean():.3f} nats on average, {gains.max():.3f} at"
        f" most ({gains.idxmax()}).",
        "By the criterion of `lr_check`, each cell wants a rate of its own: the best ones differ"
        f" ({tried.best.min():g} to {tried.best.max():g}), and {more} of {len(gains)} cells gain"
        f" more than the run-to-run noise ({study.sigma:.4f}).",
        f"At {short(tried.tokens)} tokens, 25 % − 35 % is {apart['25 %'][0]} with the grid's rate,"
        f" {apart['25 %'][1]} with {rate:g} and {apart['25 %'][2]} with each cell's own best; 45 %"
        f" − 35 % is {apart['45 %'][0]}, {apart['45 %'][1]} and {apart['45 %'][2]} nats (standard"
        f" error about {tried.error():.4f} each).",
        f"{len(own)} cells were also trained at the best rate of each, on `seed` {seed}, which did"
        f" not choose it ({short(tried.tokens)} tokens).",
        f"There 25 % − 35 % is {left['25 %']} and 45 % − 35 % is {left['45 %']} nats"
        f" (standard error about {tried.error():.4f} each).",
        f"{study.best}, the lowest of the grid, is number {place:.0f} of {len(own)}.",
        f"With each cell at its own rate (1 seed, {short(tried.tokens)} tokens), 25 % is still"
        f" {distance(own, '25 %'):.3f} nats worse.",
    ]


def own_rates(study: Study) -> list[str]:
    """What params/README.md says of the learning rates."""
    tried = Rates(study)
    rate, _, _ = tried.common()
    gain = -(tried.losses[rate] - tried.losses[tried.lr]).mean()
    by_share = tried.gains.groupby([cell.split(" × ")[0] for cell in tried.gains.index]).mean()
    apart = by_share.max() - by_share.min()
    effect = study.effects.difference[["25 %", "45 %"]].abs().max()
    assert apart < effect / 4
    return [
        f"The published grid trains all cells at {tried.lr:g}.",
        f"`lr_check` tried at least {tried.n_tried.min()} rates for each cell, with"
        f" {short(tried.tokens)} tokens and seed {tried.seed}.",
        f"A cell's best rate gains {tried.gains.mean():.3f} nats, averaged over"
        f" {len(tried.gains)} cells; one rate for all, {rate:g}, would gain {gain:.3f}.",
        f"The averages of the three shares differ by at most {apart:.3f}.",
        f"So at that budget the rate explains little of the {effect:.3f} nats between shares…",
    ]


CLAIMS = (answers, effects, noise, rates)
