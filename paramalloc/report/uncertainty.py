"""How sure the numbers are: noise, the seeds a difference needs, the test split, the rates."""

from __future__ import annotations

import pandas as pd

from ..analysis import (
    NOTHING,
    Floor,
    Noise,
    cells_table,
    completed_cells,
    eligible_runs,
    estimate_noise,
    means,
    noise_floor,
)
from ..runs import Note
from .markup import bullets
from .rates import rates_checked

GAPS = (0.02, 0.005)  # nats per token: differences whose detection is costed


def certainty(runs: pd.DataFrame) -> Note:
    """The noise behind the intervals, the seeds a difference needs, and the learning rate's part.

    Standard deviations and differences are in nats per token.
    """
    if runs.empty:
        return NOTHING
    noise = estimate_noise(runs)
    floor = noise_floor(runs)
    lines = _noise_lines(noise) if noise else [_unknown_noise(runs)]
    if floor:
        lines.append(_floor_line(floor))
    return Note(bullets([*lines, _test_line(runs), *rates_checked(runs, noise)]))


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
    intervals = (
        "Intervals hold for this dev split: the runs did not record their losses by groups of"
        " documents."
    )
    if noise.documents:
        intervals = (
            "Intervals include the choice of dev documents. Other documents would be harder or"
            " easier for all cells, so the interval of a mean is wide. In differences most of"
            " that cancels: compare cells by these."
        )
    return [
        f"Run-to-run standard deviation at a fixed seed: {noise.sigma:.4f} nats"
        f" (95 % CI [{noise.sigma_low:.4f}, {noise.sigma_high:.4f}]), pooled over"
        f" {noise.n_cells} cells and {noise.n_seeds} seeds. {shift}",
        f"One comparison of two cells, planned beforehand and on the same seeds, needs"
        f" {_seeds_needed(noise, 'seeds')} (power 80 %).",
        intervals,
    ]


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
    """Whether the split that chose nothing agrees on the lowest cell."""
    cells = completed_cells(cells_table(runs)).cell
    losses = means(runs, "test_loss").set_index("cell").test_loss
    if len(cells) < 2 or losses.reindex(cells).isna().any():
        return ""
    lowest, best = losses.idxmin(), cells[0]
    loss = f"{losses.min():.3f} nats per token"
    text = f"On the test split, which chose nothing, {lowest} is the lowest"
    if lowest == best:
        return f"{text}, as on dev ({loss})."
    return f"{text} ({loss}; {best} {losses[best]:.3f})."
