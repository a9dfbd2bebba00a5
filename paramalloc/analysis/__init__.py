"""Statistics over runs: what compares, how much of a ranking the noise allows, the fronts, the answer, the recommendation. No torch.

Everything takes the DataFrame of `runs.load_runs`, one row per run. A loss that was not measured is NaN, never zero. In these
modules `claimed` is `claims(runs)`: the runs that a claim rests on.
"""

from .arms import (
    arm,
    by_tradeoff,
    dev_curves,
    losses_by_frequency,
    matching_runs,
    views,
    wrong_kills,
)
from .effects import main_effects
from .floor import Floor, noise_floor
from .fronts import (
    COST_SENSE,
    QUALITY_SENSE,
    front_probability,
    front_table,
    pareto_front,
    screening,
)
from .groups import GROUP_COLUMNS, comparable, comparable_groups, with_defaults
from .noise import Noise, differences, estimate_noise, fit, linked, means
from .power import LEVEL
from .rates import by_chance, rate_check
from .recommendation import Recommendation, recommend, training_command
from .selection import (
    BASELINE,
    CLOSE,
    NO_RUNS,
    NOTHING,
    STATUSES,
    baseline_cell,
    cell_name,
    cells_table,
    completed_cells,
    eligible_runs,
    full_smallbench_only,
)
from .surface import Surface, fit_surface
from .transfer import moves, nats, optima, slopes, transfer_verdict
from .verdict import Verdict, reach_verdict

__all__ = [
    "BASELINE",
    "CLOSE",
    "COST_SENSE",
    "Floor",
    "LEVEL",
    "NOTHING",
    "NO_RUNS",
    "Noise",
    "QUALITY_SENSE",
    "Recommendation",
    "GROUP_COLUMNS",
    "STATUSES",
    "Surface",
    "Verdict",
    "matching_runs",
    "arm",
    "baseline_cell",
    "by_chance",
    "losses_by_frequency",
    "by_tradeoff",
    "cell_name",
    "cells_table",
    "eligible_runs",
    "training_command",
    "comparable",
    "completed_cells",
    "dev_curves",
    "differences",
    "fit",
    "front_probability",
    "front_table",
    "comparable_groups",
    "linked",
    "main_effects",
    "means",
    "moves",
    "nats",
    "estimate_noise",
    "noise_floor",
    "full_smallbench_only",
    "optima",
    "pareto_front",
    "rate_check",
    "recommend",
    "screening",
    "slopes",
    "transfer_verdict",
    "fit_surface",
    "reach_verdict",
    "views",
    "with_defaults",
    "wrong_kills",
]
