"""Charts (Altair), drawn as SVG by vl-convert: they open without a network, anywhere and on paper.

Groups differ in shape, dash or printed word besides colour. A chart without data is a `Note`.
Charts of a report carry tooltips, legends that single out, and the table of their numbers. All are
drawn from the runs' rows alone: each module prepares its data first, then draws.

    theme        colours, letters, number formats
    base         words, tooltips and legends of a chart; how it becomes a picture
    labels       where the labels of a scatter plot go
    lines        points with intervals, joined by lines
    heatmap      the share x GLU map
    effects      differences to the baseline; what a larger share displaces
    fronts       a quality against a cost, with the Pareto front
    surface      the fitted loss between the cells
    shapes       where the parameters are
    curves       the loss during training
    early_order  pairs of cells that smaller budgets put into their final order
    frequency    the loss by token frequency
    spending     the ranking at equal tokens, FLOPs and time
    arms         the answer when one more thing changes
    training     one run, one corpus (for notebooks/train and data)
    transfer     learning rates over sizes (for notebooks/transfer)
    exploration  the explorer's chart
"""

# ruff: noqa: E402 - what keeps Altair's import short has to come before it
import sys

# Altair imports jsonschema, which would build a grammar of web addresses where this package is:
# over a second at every start.
sys.modules.setdefault("rfc3987_syntax", None)

from .arms import ARMS, arm_chart
from .base import (
    VEGALITE,
    Picture,
    format_rows,
    save,
    short_count,
    show,
    show_all,
)
from .curves import learning_curves
from .early_order import order_by_budget
from .effects import difference_forest, share_tradeoff
from .exploration import explored
from .frequency import frequency_deciles
from .fronts import COST_AXES, pareto
from .heatmap import share_glu_heatmap
from .shapes import allocation_bars
from .spending import equal_spending
from .surface import response_surface
from .theme import DARK
from .training import loss_curve, zipf
from .transfer import best_rates, coordinates

__all__ = [
    "ARMS",
    "COST_AXES",
    "DARK",
    "VEGALITE",
    "Picture",
    "allocation_bars",
    "arm_chart",
    "best_rates",
    "coordinates",
    "difference_forest",
    "equal_spending",
    "explored",
    "format_rows",
    "frequency_deciles",
    "learning_curves",
    "loss_curve",
    "order_by_budget",
    "pareto",
    "response_surface",
    "save",
    "share_glu_heatmap",
    "share_tradeoff",
    "short_count",
    "show",
    "show_all",
    "zipf",
]
