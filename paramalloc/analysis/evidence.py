"""What a recommendation rests on."""

from __future__ import annotations

import math

import pandas as pd

from ..errors import UserError
from .cells import is_screening
from .groups import SIZE, comparable_groups
from .power import LEVEL
from .quadratic import AXES
from .selection import eligible_runs
from .surface import Surface, fit_surface

NO_RESULTS = (
    "no finished runs to recommend from: train a grid first, `paramalloc sweep grid`, "
    "or name a results.csv with --runs"
)
ONLY_SCREENED = (
    "these runs are a screening: early stop killed some, so none is compared and no shape is"
    " recommended; `paramalloc report` gives the command that trains the other cells whole"
)


def nearest_first(
    runs: pd.DataFrame, total_params: int, vocab_size: int
) -> list[tuple[pd.DataFrame, Surface]]:
    """The eligible runs and the surface of each group of runs that may answer.

    One that varied both axes comes first, as another says nothing of the axis it held; then the
    nearest in size and vocabulary; of equally near ones that with more tokens, then with more runs.
    """
    if is_screening(runs):
        raise UserError(ONLY_SCREENED)
    groups = [eligible_runs(group) for group in comparable_groups(runs)]
    groups = [group for group in groups if len(group)]
    if not groups:
        raise UserError(NO_RESULTS)
    fits = [(group, fit_surface(group)) for group in groups]
    fits = [(group, surface) for group, surface in fits if surface]
    if not fits:
        raise UserError(
            f"{max(group.cell.nunique() for group in groups)} completed cells are too few for a "
            "response surface of share and GLU: train a grid first, `paramalloc sweep grid`"
        )
    rows = []
    for group, surface in fits:
        away = _away(group, total_params, vocab_size)
        rows.append((-len(surface.axes), away, -group.tokens.median(), -len(group)))
    order = pd.DataFrame(rows, columns=["axes", "away", "tokens", "runs"])
    # Sizes that only rounding sets apart share a step.
    order["away"] = (order.away.sort_values().diff() > math.log(1 + SIZE)).cumsum()
    return [fits[at] for at in order.sort_values(list(order)).index]


def _away(eligible: pd.DataFrame, total_params: int, vocab_size: int) -> float:
    """How far the runs are in size and vocabulary, as a logarithm."""
    in_size = abs(math.log(eligible.total_params.median() / total_params))
    return in_size + abs(math.log(eligible.vocab_size.median() / vocab_size))


def support(eligible: pd.DataFrame, surface: Surface) -> str:
    """What the prediction rests on, in words."""
    size, tokens = eligible.total_params.median(), eligible.tokens.median()
    names = ", ".join(f"{seed:.0f}" for seed in sorted(eligible.seed.unique()))
    seeds = f"{surface.n_seeds} seed{'s' * (surface.n_seeds > 1)} ({names})"
    text = (
        f"{len(eligible)} runs of {eligible.cell.nunique()} cells on {seeds} "
        f"at {size / 1e6:.3g}M parameters, vocabulary {eligible.vocab_size.median():,.0f}, "
        f"{tokens:,.0f} training tokens ({tokens / size:.2g} a parameter) "
        f"of {', '.join(sorted(eligible.dataset.dropna().unique()))}; "
        f"surface residual {surface.sigma:.3f} nats"
    )
    if surface.lack_of_fit_p < LEVEL:
        text += (
            ": a quadratic does not describe these cells, so what it predicts between them is a "
            "guess"
        )
    if surface.quadratic.straight:
        names = " and ".join(AXES[name] for name in surface.quadratic.straight)
        text += f"; {names} at two levels, fitted as a straight line"
    if surface.n_seeds == 1:
        text += "; one seed, so nothing is distinguishable from seed noise"
    return text
