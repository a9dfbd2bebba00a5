"""What the report says of learning rates: how they were chosen, what others would have gained."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..analysis import (
    CommonRate,
    Noise,
    by_chance,
    cells_table,
    common_rate,
    completed_cells,
    distances_of_shares,
    eligible_runs,
    losses_at_rates,
    rate_check,
    runs_at_own_rates,
)
from ..analysis.wording import join_words, p_value, percent, signed
from ..plots import short_count
from ..runs import baseline_request
from .markup import plural, span

# ---------------------------------------------------------------- chosen rates


def describe_choice(runs: pd.DataFrame) -> str:
    """Among which rates each cell's is the best, if all tried several at the budget of the grid."""
    if not is_tuned(runs):
        return ""
    check = rate_check(runs)
    return (
        f" Each cell's is the best of those that it tried on seed {name_union(check.seeds)},"
        f" which no mean includes: {name_union(check.tried)}."
    )


def is_tuned(runs: pd.DataFrame) -> bool:
    """Whether every cell has the best of the rates that it tried at the budget of the grid."""
    done = completed_cells(cells_table(runs))
    check = rate_check(runs)
    check = check[check.tokens.isin(done.tokens)]
    return bool(set(done.cell) <= set(check.cell) and (check.gain == 0).all())


# ---------------------------------------------------------------- other rates


def rates_checked(runs: pd.DataFrame, noise: Noise | None) -> list[str]:
    """What other rates gained on tuning seeds, and what they do to the shares' distances.

    Part of a difference between cells may come from the rate. Two paragraphs a budget, and one of
    the runs at each cell's own rate.
    """
    if is_tuned(runs):
        return []
    lines = []
    for tokens, check in rate_check(runs).groupby("tokens"):
        lines.append(_gains(tokens, check, runs, noise))
        lines.append(_distances(tokens, check, runs, noise))
    return [*lines, *_other_seeds(runs, noise)]


def _gains(tokens: float, check: pd.DataFrame, runs: pd.DataFrame, noise: Noise | None) -> str:
    """Whether the grid's rate was the best, for all cells together and for each."""
    cells = plural(eligible_runs(runs).cell.nunique(), "cell")
    rows = f"rows of `tokens` {tokens:.0f} and `seed` {name_union(check.seeds)}"
    most = check.gain.idxmax()
    common = common_rate(check)
    sentences = [
        f"Was the learning rate fair? {len(check)} of {cells} tried {span(check.tried.map(len))}"
        f" rates at {short_count(tokens)} tokens a run ({rows}{_other_precisions(check, runs)}).",
        _common_sentence(common) if common and common.is_better else _chance_sentence(check, noise),
        f"Each cell's own best rate gains {check.gain.mean():.3f} nats on average,"
        f" {check.gain.max():.3f} at most ({check.cell[most]}).",
        _criterion(check, noise),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _other_precisions(check: pd.DataFrame, runs: pd.DataFrame) -> str:
    """The precisions of the check where they are not those of the grid."""
    tried = name_union(check.precisions)
    used = ", ".join(sorted(eligible_runs(runs).precision.dropna().unique()))
    return "" if tried == used else f", in {tried}"


def _common_sentence(common: CommonRate) -> str:
    """One other rate for all that is distinguishably better than the grid's."""
    direction = "higher" if common.best_lr > common.lr else "lower"
    test = f"t({common.df}) = {common.t:.1f}".replace("-", "−")
    p = f"{p_value(common.p)}, adjusted for {plural(common.n_rates, 'rate')}"
    return (
        f"Not quite: one {direction} rate for all, {common.best_lr:g} in place of {common.lr:g},"
        f" gains {-common.difference:.3f} nats ({test}, {p})."
    )


def _chance_sentence(check: pd.DataFrame, noise: Noise | None) -> str:
    if noise is None:
        return ""
    mean, most = by_chance(check, noise.sigma)
    return (
        "No other rate is distinguishably better for all. Equally good rates would give each cell"
        f" {mean:.3f} nats on average and {most:.3f} at most by chance, if runs of one cell at"
        " several rates scatter as runs of different cells on one seed do."
    )


def _criterion(check: pd.DataFrame, noise: Noise | None) -> str:
    """What `lr_check` asks: is one rate the best of all cells, or what they gain below the noise?

    Its words stand in params/lr_check.yaml.
    """
    if noise is None:
        return ""
    more = int((check.gain > noise.sigma).sum())
    if check.best_lr.nunique() == 1 or not more:
        return "By the criterion of `lr_check`, one rate suits all cells."
    return (
        "By the criterion of `lr_check`, each cell wants a rate of its own: the best ones differ"
        f" ({span(check.best_lr, '{:g}')}), and {more} of {plural(len(check), 'cell')} gain more"
        f" than the run-to-run noise ({noise.sigma:.4f})."
    )


def _distances(tokens: float, check: pd.DataFrame, runs: pd.DataFrame, noise: Noise | None) -> str:
    """How far the shares lie apart at the grid's rate, at the best for all, at each cell's own."""
    losses = losses_at_rates(check)
    common = common_rate(check)
    rates = {"the grid's rate": losses.min(axis=1) + check.gain}
    if common:
        rates[f"{common.best_lr:g}"] = losses[common.best_lr]
    rates["each cell's own best"] = losses.min(axis=1)
    baseline, _ = baseline_request(eligible_runs(runs))
    table = pd.DataFrame(
        {name: distances_of_shares(check, loss, baseline) for name, loss in rates.items()}
    )
    if table.empty:
        return ""
    first, *others = table.index
    at_rates = [f"{signed(distance)} with {name}" for name, distance in table.loc[first].items()]
    shares = [f"{_name_distance(first, baseline)} is {join_words(at_rates)}"]
    for share in others:
        distances = join_words(map(signed, table.loc[share]))
        shares.append(f"{_name_distance(share, baseline)} is {distances}")
    error = _standard_error(check, check.seeds.map(len).min(), noise)
    return (
        f"Does the rate move the shares? At {short_count(tokens)} tokens, {'; '.join(shares)} nats"
        f"{error}."
    )


def _name_distance(share: float, baseline: float) -> str:
    return f"{percent(share)} − {percent(baseline)}"


def _standard_error(cells: pd.DataFrame, n_seeds: int, noise: Noise | None) -> str:
    """That of the distance of two shares, in brackets; empty without noise."""
    if noise is None:
        return ""
    n_expansions = cells.groupby("requested_share").requested_glu.nunique().min()
    error = noise.sigma * np.sqrt(2 / (n_seeds * n_expansions))
    return f" (standard error about {error:.4f} each)"


# ---------------------------------------------------------------- runs at each cell's own rate


def _other_seeds(runs: pd.DataFrame, noise: Noise | None) -> list[str]:
    """The runs at each cell's own rate, on seeds that did not choose it: a paragraph a budget."""
    return [
        _own_rates_paragraph(tokens, own, runs, noise)
        for tokens, own in runs_at_own_rates(runs).groupby("tokens")
        if own.cell.nunique() > 1
    ]


def _own_rates_paragraph(
    tokens: float, own: pd.DataFrame, runs: pd.DataFrame, noise: Noise | None
) -> str:
    baseline, _ = baseline_request(eligible_runs(runs))
    distances = distances_of_shares(own, own.dev_loss, baseline)
    shares = [
        f"{_name_distance(share, baseline)} is {signed(distance)}"
        for share, distance in distances.items()
    ]
    seeds = ", ".join(f"{seed:g}" for seed in sorted(own.seed.unique()))
    n_seeds = own.groupby("cell").seed.nunique().min()
    sentences = [
        f"{plural(own.cell.nunique(), 'cell')} were also trained at the best rate of each, on"
        f" `seed` {seeds}, which did not choose it ({short_count(tokens)} tokens)."
    ]
    if shares:
        error = _standard_error(own, n_seeds, noise)
        sentences.append(f"There {' and '.join(shares)} nats{error}.")
    sentences.append(_place_of_best(own, runs))
    if n_seeds == 1:
        sentences.append("One seed claims nothing.")
    return " ".join(sentence for sentence in sentences if sentence)


def _place_of_best(own: pd.DataFrame, runs: pd.DataFrame) -> str:
    """The place of the grid's lowest cell among these runs."""
    best = completed_cells(cells_table(runs)).cell[0]
    places = own.groupby("cell").dev_loss.mean().rank(method="min")
    if best not in places:
        return ""
    place = int(places[best])
    return f"{best}, the lowest of the grid, is number {place} of {len(places)}."


def own_rates_clause(runs: pd.DataFrame, share: float) -> str:
    """What is left of a worse share where each cell has its own rate; empty without such runs."""
    own = runs_at_own_rates(runs)
    if own.tokens.nunique() != 1:
        return ""
    baseline, _ = baseline_request(eligible_runs(runs))
    distance = distances_of_shares(own, own.dev_loss, baseline).get(share)
    if distance is None:
        return ""
    n_seeds = plural(own.groupby("cell").seed.nunique().min(), "seed")
    found = "still {:.3f} nats worse" if distance > 0 else "{:.3f} nats better"
    return (
        f"With each cell at its own rate ({n_seeds}, {short_count(own.tokens.iloc[0])} tokens),"
        f" {percent(share)} is {found.format(abs(distance))}."
    )


def name_union(values: pd.Series) -> str:
    """Every value of these tuples."""
    union = sorted(set().union(*values))
    return ", ".join(value if isinstance(value, str) else f"{value:g}" for value in union)
