"""Configuration: notebook parameters, YAML and profiles become frozen dataclasses, strictly.

An unknown name, a wrong type or a value out of range is refused with one line that says what to do.
Sizes that nobody set by name (None) are filled from the profile, `params/profiles/<profile>.yaml`.
"""

from ..values import ConfigError, DataError, UserError, as_number, refuse_unknown
from .cell import EMBEDDINGS, MLPS, TUNING_SEED, ModelConfig, TrainConfig
from .notebooks import AnalysisConfig, DataConfig, ExploreConfig, TransferConfig
from .parameters import PROFILES, ROOT, cuda_available, load_profile, load_yaml, profiles

__all__ = [name for name in dir() if not name.startswith("_")]
