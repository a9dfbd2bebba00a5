"""Charts (Altair), drawn as SVG by vl-convert: they open without a network, in a notebook, on GitHub and on paper.

Every group differs in shape, dash or printed word besides its colour. A chart without data is a `Note` that says so. Those of a
report carry tooltips, legends that single out, and the table of their numbers; all are drawn from the runs' rows alone.
"""

from .arms import ARMS, arm_chart
from .base import DARK, VEGALITE, Picture, save, say, short, show, show_all, stopped
from .curves import by_frequency, learning_curves
from .effects import difference_forest, equal_spending, share_by_payer
from .fronts import pareto
from .maps import response_surface, share_glu_heatmap
from .shapes import allocation_bars, explored
from .training import loss_curve, zipf
from .transfer import best_rates, coordinates

__all__ = [
    "ARMS",
    "DARK",
    "Picture",
    "VEGALITE",
    "allocation_bars",
    "arm_chart",
    "best_rates",
    "by_frequency",
    "coordinates",
    "difference_forest",
    "equal_spending",
    "explored",
    "learning_curves",
    "loss_curve",
    "pareto",
    "response_surface",
    "save",
    "say",
    "share_by_payer",
    "share_glu_heatmap",
    "short",
    "show",
    "show_all",
    "stopped",
    "zipf",
]
