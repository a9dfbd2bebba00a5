"""How the runs behind a recommendation were trained, and the command that trains its shape so."""

from __future__ import annotations

import math
import shlex
from dataclasses import fields

import pandas as pd

from ..config import TrainConfig, load_profile, profiles
from ..runs import column_names

WIDEST_HEAD = 64
# Parameters of the shape, given separately.
SHAPE_PARAMETERS = ("vocab_size", "embedding", "mlp", "seq_len")
# All others that make runs compare, one that is added to TrainConfig included.
_COMPARED = {*column_names(role="same"), *column_names(role="rate")}
RECIPE_PARAMETERS = [
    spec.name
    for spec in fields(TrainConfig)
    if spec.name in _COMPARED and spec.name not in SHAPE_PARAMETERS
]
MULTIPLE, TOLERANCE = 8, 0.005  # of the allocator, where no profile says otherwise


def search_grid(eligible: pd.DataFrame, total_params: int) -> dict:
    """`multiple` and `tolerance`: those of the runs' profile, so that what they trained is found.

    Widths grow as the root of the budget, and the multiple with them, in powers of two and up to
    64, the widest head.
    """
    sizes = {"multiple": MULTIPLE, "tolerance": TOLERANCE} | _profile_sizes(eligible)
    wider = math.sqrt(total_params / eligible.total_params.median())
    doublings = max(0, int(math.log2(wider)))
    return {
        "multiple": min(WIDEST_HEAD, sizes["multiple"] * 2**doublings),
        "tolerance": sizes["tolerance"],
    }


def _profile_sizes(eligible: pd.DataFrame) -> dict:
    """The sizes of the profile that trained most of the runs; none of one that is gone."""
    names = eligible.profile.dropna() if "profile" in eligible else pd.Series(dtype=str)
    name = next(iter(names.mode()), None)
    return load_profile(name)[1] if name in profiles() else {}


def recipe(eligible: pd.DataFrame, total_params: int) -> dict:
    """The parameters of `train` that the runs had, for a model of `total_params`.

    As many tokens a parameter, in whole steps; their learning rate, which under `standard` falls
    with the root of the size as TrainConfig has it. TrainConfig's own defaults are left out.
    """
    first = eligible.iloc[0]
    ratio = total_params / eligible.total_params.median()
    if 0.9 < ratio < 1.1:
        ratio = 1
    lr = eligible.lr.median()
    if first.parametrization == "standard":
        lr = lr / math.sqrt(ratio)
    batch_tokens = int(first.batch_tokens)
    parameters = {"profile": first.get("profile"), "dataset": first.dataset}
    parameters |= {name: first[name] for name in RECIPE_PARAMETERS}
    parameters |= {
        "tokens": max(1, round(first.tokens * ratio / batch_tokens)) * batch_tokens,
        "batch_tokens": batch_tokens,
        "lr": float(f"{lr:.3g}"),
    }
    if parameters["profile"] not in profiles():
        del parameters["profile"]
    default = {spec.name: spec.default for spec in fields(TrainConfig)}
    return {
        name: value
        for name, value in parameters.items()
        if pd.notna(value) and value != default[name]
    }


def training_command(
    request: dict, seq_len: int, name: str = "explored", recipe: dict | None = None
) -> str:
    """The papermill command that trains exactly this shape, whatever the profile.

    Without a recipe, with a batch that all profiles take.
    """
    parameters = request | {
        "multiple": request.get("multiple", MULTIPLE),
        "tolerance": request.get("tolerance", TOLERANCE),
        "seq_len": seq_len,
    }
    batches = {load_profile(profile)[1]["batch_tokens"] for profile in profiles()}
    if any(batch % seq_len for batch in batches):
        parameters["batch_tokens"] = max(1, min(batches) // seq_len) * seq_len
    parameters |= recipe or {}
    words = ["papermill", "notebooks/train.ipynb", f"outputs/notebooks/{name}.ipynb"]
    for parameter, value in parameters.items():
        words += ["-p", parameter, f"{value:.6g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)
