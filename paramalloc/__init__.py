"""How to split a small language model's parameters between embedding, depth, attention and MLP.

`allocate` gives the shape for a budget; importing it loads no torch. README.md in this folder is
the map of the packages.
"""

from .allocation import allocate
from .errors import InfeasibleError

__version__ = "0.1.0"  # as in pyproject.toml: for who runs the code without installing it

__all__ = ["InfeasibleError", "allocate"]
