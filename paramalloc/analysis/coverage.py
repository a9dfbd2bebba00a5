"""Which shapes lie within what was trained, and which runs are missing where none does."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..config import load_profile, profiles
from .groups import SIZE
from .hull import EDGE_TOLERANCE
from .quadratic import AXES

# Of a shape, how each is called; those of the budget first.
PROPERTIES = {
    "total_params": "parameters",
    "vocab_size": "vocabulary",
    "d_model": "width",
    "n_layers": "layers",
    "n_heads": "heads",
    "aspect": "d_model / n_layers",
}
# A shape is unlike the cells of its share and expansion if its d_model / n_layers is that far off.
ASPECT_FACTOR = 2.0


def outside(shapes: pd.DataFrame, eligible: pd.DataFrame) -> list[tuple[str, ...]]:
    """For each shape, in words, what of it lies outside of the trained shapes' ranges.

    `shapes` has the columns PROPERTIES without aspect. Totals and vocabularies that lie no farther
    out than runs of one size do are within.
    """
    asked, trained = _with_aspect(shapes), _with_aspect(eligible)
    words: list[list[str]] = [[] for _ in range(len(asked))]
    for name, noun in PROPERTIES.items():
        low, high = trained[name].min(), trained[name].max()
        beyond = 1 + (SIZE if name in ("total_params", "vocab_size") else EDGE_TOLERANCE)
        for at, value in enumerate(asked[name]):
            if not low / beyond <= value <= high * beyond:
                words[at].append(f"{noun} {_number(name, value)} (trained: {_ends(trained[name])})")
    return [tuple(texts) for texts in words]


def _with_aspect(shapes: pd.DataFrame) -> pd.DataFrame:
    return shapes.assign(aspect=shapes.d_model / shapes.n_layers)


def _number(name: str, value: float) -> str:
    if name == "total_params":
        return f"{value / 1e6:.3g}M"
    return f"{value:.3g}" if name == "aspect" else f"{value:,.0f}"


def _ends(values: pd.Series) -> str:
    """`60 to 108`, or the one value."""
    low, high = (_number(str(values.name), value) for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def resemble(shapes: pd.DataFrame, eligible: pd.DataFrame) -> np.ndarray:
    """(n,): whether cells of the same share and expansion had about this d_model / n_layers.

    With a tied embedding a share is a width only at one size and vocabulary. At another the same
    share is another shape, of which the runs say nothing. What they had is interpolated on the
    logarithms.
    """
    trained, asked = _with_aspect(eligible), _with_aspect(shapes)
    coefficients = np.linalg.lstsq(_design(trained), np.log(trained.aspect), rcond=None)[0]
    apart = np.log(asked.aspect.to_numpy(float)) - _design(asked) @ coefficients
    return np.abs(apart) <= np.log(ASPECT_FACTOR)


def _design(shapes: pd.DataFrame) -> np.ndarray:
    logs = np.log(shapes[list(AXES)].to_numpy(float))
    return np.column_stack([np.ones(len(shapes)), logs])


def describe_unlike(shapes: pd.DataFrame, eligible: pd.DataFrame, vocab_size: int) -> str:
    """Why shapes that no run resembles are not judged: what the runs' shares are here and there."""
    share = 100 * eligible.embed_share
    return (
        f"with vocabulary {vocab_size:,}, the runs' shares of {share.min():.0f} to "
        f"{share.max():.0f} % are other shapes than were trained: {_sizes(shapes)} in place of "
        f"{_sizes(eligible)}"
    )


def _sizes(shapes: pd.DataFrame) -> str:
    """`width 60 to 108 and 3 to 21 layers`."""
    layers = "layer" if shapes.n_layers.max() == 1 else "layers"
    return f"width {_ends(shapes.d_model)} and {_ends(shapes.n_layers)} {layers}"


def missing_runs(total_params: int, vocab_size: int) -> str:
    """What to train for this budget, with the command where a profile has it."""
    sizes = {name: load_profile(name)[1] for name in profiles()}
    fitting = [
        name
        for name, size in sizes.items()
        if (size["total_params"], size["vocab_size"]) == (total_params, vocab_size)
    ]
    grid = f"a grid at {total_params:,} parameters with vocabulary {vocab_size:,}"
    if fitting:
        name = max(fitting, key=lambda name: sizes[name]["tokens"])
        return f"{grid}: `paramalloc sweep grid --profile {name}`"
    return f"{grid}: name both in a copy of params/grid.yaml, and train it with `paramalloc sweep`"
