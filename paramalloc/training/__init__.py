"""Training: one run, from its weights at random to its result.

loop          train a cell's runs; what stops one becomes a message
trainer       one run: set-up, step, conclusion
learner       a model with its optimizers: one step, one probe
compiled      compiled losses: one for each shape, kept
step_graph    the whole step as one CUDA graph: recorded once, then replayed
recorder      records what is given to a CUDA device
feed          batches on the device, and the dev tokens of a probe
optimizer     AdamW and Muon, their parameter groups, the schedule
checkpoint    save a run, and go on from there
early_stop    kill waits for the baseline's curve
meter         tokens, speed, and the records of progress
interrupt     SIGTERM and Ctrl-C
coordinates   the coordinate check: how far a step moves the activations
"""

from .coordinates import coordinate_check
from .learner import Learner
from .loop import train

__all__ = ["Learner", "coordinate_check", "train"]
