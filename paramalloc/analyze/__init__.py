"""Statistics over runs: what compares, how much of a ranking the noise allows, the fronts, the answer, the recommendation. No torch.

Everything takes the DataFrame of `runs.load_runs`, one row per run. A loss that was not measured is NaN, never zero. In these
modules `claimed` is `claims(runs)`: the runs that a claim rests on.
"""

from ..runs import Note
from .arms import alike, arm, by_frequency, by_payer, curves, views, wrong_kills
from .cells import (
    BASELINE,
    CLOSE,
    NO_RUNS,
    NOTHING,
    baseline,
    cell_name,
    cells_table,
    claims,
    completed,
    one_size,
)
from .floor import Floor, noise_floor
from .fronts import (
    COST_SENSE,
    QUALITY_SENSE,
    front_probability,
    front_table,
    pareto_front,
    screening,
)
from .groups import comparable, groups
from .main_effects import main_effects
from .noise import Noise, differences, means, noise
from .rates import by_chance, rate_check
from .recommend import Recommendation, command, recommend
from .surface import Surface, surface
from .verdict import Verdict, verdict
