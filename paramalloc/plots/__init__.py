"""Charts (Altair), drawn as SVG by vl-convert: they open without a network, in a notebook, on GitHub and on paper.

Every group differs in shape, dash or printed word besides its colour. A chart without data is a `Note` that says so.
"""

from .base import Picture, save, show
from .results import by_frequency, learning_curves, pareto, share_glu_heatmap, short
from .shapes import allocation_bars, explored
from .training import loss_curve, zipf

__all__ = ["Picture", "allocation_bars", "by_frequency", "explored", "learning_curves", "loss_curve", "pareto", "save", "share_glu_heatmap", "short", "show", "zipf"]
