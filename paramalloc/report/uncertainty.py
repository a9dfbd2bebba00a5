"""How sure the numbers are: noise, the seeds a difference needs, the test split, the rates."""

from __future__ import annotations

import pandas as pd

from ..analysis import (
    LEVEL,
    NOTHING,
    Floor,
    Noise,
    cells_table,
    completed_cells,
    eligible_runs,
    estimate_noise,
    interaction,
    is_screening,
    means,
    noise_floor,
)
from ..analysis.wording import p_value, signed, signed_interval
from ..runs import Note
from .markup import bullets
from .rates import rates_checked
from .scatter import scatter_tested

GAPS = (0.02, 0.005)  # nats per token: differences whose detection is costed
CUT_OFF = (
    "The noise is unknown as well: early stop left the runs that came out low, so they scatter too"
    " little."
)


def certainty(runs: pd.DataFrame) -> Note:
    """The noise behind the intervals, the seeds a difference needs, and the learning rate's part.

    Standard deviations and differences are in nats per token.
    """
    if runs.empty:
        return NOTHING
    if is_screening(runs):
        return Note(CUT_OFF)
    noise = estimate_noise(runs)
    floor = noise_floor(runs)
    lines = _noise_lines(noise) if noise else [_unknown_noise(runs)]
    if floor:
        lines.append(_floor_line(floor))
    lines = [
        _interaction_line(runs),
        *lines,
        scatter_tested(runs),
        _test_line(runs),
        *rates_checked(runs, noise),
    ]
    return Note(bullets(lines))


def _interaction_line(runs: pd.DataFrame) -> str:
    """Whether a share does the same at every expansion, right below the table of main effects."""
    table = interaction(runs).dropna()
    if table.empty:
        return ""
    largest = table.loc[table.deviation.abs().idxmax()]
    of_sum = "off the sum of its share's and its expansion's effect"
    size = f"{largest.cell} is {signed(largest.deviation)} nats {of_sum}"
    p = f"{p_value(largest.p_adjusted)}, adjusted for {len(table)} cells"
    if largest.p_adjusted < LEVEL:
        ci = f"simultaneous 95 % CI {signed_interval(largest.low, largest.high)}"
        return (
            f"Share and expansion interact: {size} ({ci}; {p}). A main effect is an average over"
            " unequal differences."
        )
    return f"Share and expansion do not interact distinguishably: at most, {size} ({p})."


def _unknown_noise(runs: pd.DataFrame) -> str:
    seeds = eligible_runs(runs).groupby("cell").seed.nunique()
    reason = "No two cells have two seeds in common"
    if seeds.max() == 1:
        reason = "Each cell has one seed"
    return (
        f"{reason}, so the noise is unknown and no difference has an interval."
        " For more seeds: `paramalloc sweep … --seed 0,1,2`."
    )


def _noise_lines(noise: Noise) -> list[str]:
    shift = "An effect of the seed common to all cells is not detectable."
    if noise.sigma_seed >= 5e-5:
        shift = (
            f"The effect of the seed common to all cells adds {noise.sigma_seed:.4f}"
            " (standard deviation)."
        )
    return [
        f"Run-to-run standard deviation at a fixed seed: {noise.sigma:.4f} nats"
        f" (95 % CI [{noise.sigma_low:.4f}, {noise.sigma_high:.4f}]), pooled over"
        f" {noise.n_cells} cells and {noise.n_seeds} seeds. {shift}",
        f"One comparison of two cells, planned beforehand and on the same seeds, needs"
        f" {_seeds_needed(noise, 'seeds')} (power 80 %).",
        _documents_line(noise),
    ]


def _documents_line(noise: Noise) -> str:
    """What the choice of dev documents adds: much to a mean, little to a difference."""
    if not noise.documents:
        return (
            "Intervals hold for this dev split: the runs did not record their losses by groups of"
            " documents."
        )
    return (
        "The interval of a mean is over seeds alone. The choice of dev documents adds a standard"
        f" error of {noise.documents:.3f} nats to it, but about the same to all cells. In a"
        " difference most of that cancels, and its interval includes the rest: compare cells by"
        " differences."
    )


def _floor_line(floor: Floor) -> str:
    return (
        f"Noise floor: {floor.n_seeds} seeds of the baseline have a standard deviation of"
        f" {floor.sd:.4f} nats (95 % CI [{floor.low:.4f}, {floor.high:.4f}]). Two cells on"
        f" different seeds would need {_seeds_needed(floor, 'seeds a cell')} (power 80 %)."
    )


def _seeds_needed(noise: Noise | Floor, unit: str) -> str:
    """`7 seeds to detect a difference of 0.02 nats and 91 seeds to …`."""
    parts = [f"{noise.seeds_needed(gap)} {unit} to detect {gap} nats" for gap in GAPS]
    return " and ".join(parts)


def _test_line(runs: pd.DataFrame) -> str:
    """Whether the test split agrees on the lowest cell, which is no replication."""
    cells = completed_cells(cells_table(runs)).cell
    losses = means(runs, "test_loss").set_index("cell").test_loss
    if len(cells) < 2 or losses.reindex(cells).isna().any():
        return ""
    lowest, best = losses.idxmin(), cells[0]
    loss = f"{losses.min():.3f} nats per token"
    text = f"On the test split, {lowest} is the lowest ({loss}; {best} {losses[best]:.3f})"
    if lowest == best:
        text = f"On the test split, {lowest} is the lowest, as on dev ({loss})"
    return f"{text}. That is no replication: the same weights are scored on other text."
