"""What makes one run another: its parameters, its data, and the version of the recipe."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from ..config import TrainConfig, is_identity

RECIPE = 3  # raise it when the same parameters train differently


def identifying_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a run's parameters that tell it from other runs, as the config's fields are marked.

    What is not set, and what was added later and has its default, is left out. The dataset's name
    is not among them: the fingerprint of its data stands for it.
    """
    values = {spec.name: (spec, parameters.get(spec.name)) for spec in fields(TrainConfig)}
    return {name: value for name, (spec, value) in values.items() if is_identity(spec, value)}


def run_id(config: TrainConfig, fingerprint: str) -> str:
    """12 hex digits: a hash of the parameters, the data's fingerprint and the recipe's version."""
    identity = {
        "parameters": identifying_parameters(asdict(config)),
        "data": fingerprint,
        "recipe": RECIPE,
    }
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
