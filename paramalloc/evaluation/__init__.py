"""What is measured of a trained model: perplexity, SmallBench, generation and its cost."""

from .measurement import measure, measure_again, smallbench_of, written_by
from .perplexity import as_perplexity, mean_loss, split_losses

__all__ = [
    "mean_loss",
    "measure",
    "measure_again",
    "as_perplexity",
    "smallbench_of",
    "split_losses",
    "written_by",
]
