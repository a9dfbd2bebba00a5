"""One run: the loop, its optimizers, checkpoints and early stop."""

from .coordinates import coordinate_check
from .learner import Learner
from .loop import train, train_run

__all__ = ["Learner", "coordinate_check", "train", "train_run"]
