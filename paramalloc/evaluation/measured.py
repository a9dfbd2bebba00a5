"""What was measured of a run, and where each part of it is kept."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Measurement:
    """Parts are joined by `|`: what is measured later replaces what has the same name."""

    columns: dict = field(default_factory=dict)  # of result.json
    details: dict = field(default_factory=dict)  # of evaluation.json
    arrays: dict[str, np.ndarray] = field(default_factory=dict)  # of items.safetensors
    failed: dict[str, str] = field(default_factory=dict)  # what could not be measured, and why

    def __or__(self, other: "Measurement") -> "Measurement":
        return Measurement(
            self.columns | other.columns,
            self.details | other.details,
            self.arrays | other.arrays,
            self.failed | other.failed,
        )
