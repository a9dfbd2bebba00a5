"""Statistics over runs: from the runs that compare to an answer and a recommendation. No torch.

Everything takes the DataFrame of `runs.load_runs`, one row per run. A loss that was not measured is
NaN, never zero. Losses and differences are in nats per token. `eligible` is `eligible_runs(runs)`.

Which runs:
- `groups`: what is read of a run, and which runs compare with each other
- `selection`: the eligible runs, of each cell those at its best learning rate; names of cells
- `cells`: the table of cells, one row each
- `screening`: what a sweep says of which early stop killed runs

How sure:
- `power`: the level of all intervals, and how many seeds a difference needs
- `variances`: the variance of each cell, shrunk towards that of its share and of all
- `least_squares`: the cell + seed model, arrays in and out
- `noise`: run-to-run noise, means and their intervals
- `scatter`: whether shares and cells scatter equally
- `comparisons`: differences between cells, corrected for how many there are
- `effects`: main effects of share and GLU expansion
- `floor`: the scatter of the baseline over many seeds
- `rates`: whether one learning rate was fair to every cell

What follows:
- `fronts`: Pareto fronts of quality against cost, and the probability of a place on them
- `hull`, `quadratic`, `optimum`, `surface`: a response surface, and where its minimum may lie
- `arms`: runs that differ in one more axis, and what the share is traded against
- `curves`: probes during training, losses at equal cost, kills of early stop
- `early_order`: at which smaller budget the cells had their final order
- `transfer`: whether the best learning rate moves with width and depth
- `verdict`: the answer in words
- `evidence`, `elsewhere`, `coverage`: what a recommendation rests on, what contradicts it, what it
  extrapolates
- `decoding`, `recipe`, `candidates`, `advice`, `recommendation`: the shape for a budget
- `wording`: how numbers stand in a sentence
"""

from .advice import Recommendation
from .arms import arm, by_tradeoff, matching_runs
from .cells import (
    STATUSES,
    SURVIVED,
    baseline_cell,
    baseline_name,
    cells_table,
    completed_cells,
    is_screening,
    screened_out,
    trained_cells,
)
from .comparisons import differences, linked
from .curves import dev_curves, losses_by_frequency, views, wrong_kills
from .early_order import early_order, other_seeds, tokens_until_known
from .effects import interaction, main_effects
from .floor import Floor, noise_floor
from .fronts import (
    COST_SENSE,
    QUALITY_SENSE,
    front_probability,
    front_table,
    is_timed_alone,
    lacks_width,
    pareto_front,
)
from .groups import (
    GROUP_COLUMNS,
    SPEED_COLUMNS,
    comparable,
    comparable_groups,
    lacks_speeds,
    with_defaults,
)
from .noise import Noise, estimate_noise, fit, means
from .power import LEVEL
from .rates import (
    CommonRate,
    by_chance,
    common_rate,
    distances_of_shares,
    losses_at_rates,
    rate_check,
    runs_at_own_rates,
)
from .recipe import training_command
from .recommendation import recommend
from .scatter import equal_scatter_p, scatter_table
from .screening import NO_COMPARISON, describe_earlier_screening
from .selection import NO_RUNS, NOTHING, cell_name, eligible_runs
from .surface import Surface, fit_surface
from .transfer import moves, nats, optima, slopes, transfer_verdict
from .verdict import Verdict, reach_verdict

__all__ = [
    "COST_SENSE",
    "GROUP_COLUMNS",
    "LEVEL",
    "NOTHING",
    "NO_COMPARISON",
    "NO_RUNS",
    "QUALITY_SENSE",
    "SPEED_COLUMNS",
    "STATUSES",
    "SURVIVED",
    "CommonRate",
    "Floor",
    "Noise",
    "Recommendation",
    "Surface",
    "Verdict",
    "arm",
    "baseline_cell",
    "baseline_name",
    "by_chance",
    "by_tradeoff",
    "cell_name",
    "cells_table",
    "common_rate",
    "comparable",
    "comparable_groups",
    "completed_cells",
    "describe_earlier_screening",
    "dev_curves",
    "differences",
    "distances_of_shares",
    "early_order",
    "eligible_runs",
    "equal_scatter_p",
    "estimate_noise",
    "fit",
    "fit_surface",
    "front_probability",
    "front_table",
    "interaction",
    "is_screening",
    "is_timed_alone",
    "lacks_speeds",
    "lacks_width",
    "linked",
    "losses_at_rates",
    "losses_by_frequency",
    "main_effects",
    "matching_runs",
    "means",
    "moves",
    "nats",
    "noise_floor",
    "optima",
    "other_seeds",
    "pareto_front",
    "rate_check",
    "reach_verdict",
    "recommend",
    "runs_at_own_rates",
    "scatter_table",
    "screened_out",
    "slopes",
    "tokens_until_known",
    "trained_cells",
    "training_command",
    "transfer_verdict",
    "views",
    "with_defaults",
    "wrong_kills",
]
