"""Configuration: notebook parameters, YAML and profiles become frozen dataclasses, strictly.

An unknown name, a wrong type or a value out of range is refused with one line that says what to do.
Sizes that are not given (None) are filled from the profile, `params/profiles/<profile>.yaml`.

fields.py      one parameter: kind, range, whether it enters the run id
parameters.py  how a dataclass is built from a dict or a notebook
profiles.py    the sizes that a profile fills, YAML files
model.py       the shape of a decoder
train.py       a cell: every parameter of training, and which of them enter the run id
notebooks.py   the parameters of the other notebooks
threads.py     the cores of this process; how its threads wait is set when this is imported
"""

from .fields import as_number, convert, is_identity, refuse_unknown
from .model import EMBEDDINGS, MLPS, ModelConfig
from .notebooks import AnalysisConfig, DataConfig, ExploreConfig, TransferConfig
from .profiles import ROOT, cuda_devices, load_yaml, profiles
from .threads import THREADS_SLEEP, cores, overload, process_environment
from .train import TUNING_SEED, TrainConfig, load_profile

__all__ = [
    "EMBEDDINGS",
    "MLPS",
    "ROOT",
    "THREADS_SLEEP",
    "TUNING_SEED",
    "AnalysisConfig",
    "DataConfig",
    "ExploreConfig",
    "ModelConfig",
    "TrainConfig",
    "TransferConfig",
    "as_number",
    "convert",
    "cores",
    "cuda_devices",
    "is_identity",
    "load_profile",
    "load_yaml",
    "overload",
    "process_environment",
    "profiles",
    "refuse_unknown",
]
