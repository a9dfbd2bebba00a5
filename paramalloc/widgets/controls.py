"""The controls of the explorer: one labelled slider or menu for each part of a request."""

from collections.abc import Callable
from typing import Any

import ipywidgets
from ipywidgets import Dropdown, FloatSlider, IntSlider, SelectionSlider, Widget

from ..allocation import HARDWARE
from ..config import EMBEDDINGS, MLPS, ExploreConfig

BUDGETS = [10**6 * n for n in (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100)]
VOCABULARIES = [512, 1_024, 2_048, 4_096, 8_192, 16_000, 32_000, 50_000, 65_536]
CONTEXTS = [128, 256, 512, 1_024, 2_048, 4_096]

# What a larger factorized embedding is traded against -> the dimensions that then stay as given.
TRADED_AGAINST = {
    "width, depth and MLP": (),
    "the depth": ("d_model",),
    "the MLP": ("d_model", "n_layers"),
}


def make_controls(config: ExploreConfig) -> dict[str, Widget]:
    """A control for each part of a request, at the values of `config`; arrow keys move them all."""
    return {
        "total_params": _steps("parameters", BUDGETS, config.total_params, _millions),
        "vocab_size": _steps("vocabulary", VOCABULARIES, config.vocab_size, _thousands),
        "embed_share": labelled(
            FloatSlider,
            "embedding share",
            value=config.embed_share,
            min=0.01,
            max=0.95,
            step=0.01,
            readout_format=".0%",
        ),
        "glu": labelled(FloatSlider, "GLU expansion", value=config.glu, min=0.5, max=8, step=0.02),
        "embedding": _menu("embedding", EMBEDDINGS, config.embedding),
        "traded_against": _menu("traded against", list(TRADED_AGAINST), "width, depth and MLP"),
        "d_model": labelled(IntSlider, "width (d_model)", value=288, min=64, max=1024, step=32),
        "n_layers": labelled(IntSlider, "depth (n_layers)", value=6, min=1, max=48),
        "mlp": _menu("MLP", MLPS, config.mlp),
        "seq_len": _steps("tokens of context", CONTEXTS, config.seq_len, _thousands),
        "hardware": _menu("hardware", list(HARDWARE), config.hardware),
    }


def labelled(kind: type[Widget], label: str, width: str = "400px", **options: Any) -> Widget:
    """A widget with its label to the left; `options` are those of its kind."""
    layout = ipywidgets.Layout(width=width, height=options.pop("height", None))
    style = {"description_width": "10em"}
    return kind(description=label, style=style, layout=layout, **options)


def _steps(label: str, values: list[int], value: int, words: Callable[[int], str]) -> Widget:
    """A slider over `values`, with `value` among them."""
    options = [(words(step), step) for step in sorted({*values, value})]
    return labelled(SelectionSlider, label, options=options, value=value)


def _menu(label: str, names: list[str] | tuple[str, ...], value: str) -> Widget:
    return labelled(Dropdown, label, options=names, value=value)


def _millions(count: int) -> str:
    return f"{count / 10**6:g}M"


def _thousands(count: int) -> str:
    return f"{count:,}"
