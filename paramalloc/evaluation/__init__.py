"""Evaluation: what is measured of a trained model.

- `measurement`: all of it, into result.json, evaluation.json and items.safetensors
- `measured`: what was measured, as parts that join
- `earlier`: SmallBench from before, which stays where it is not measured in full again
- `finished`: what a finished run left: its corpus, its model, its measurements for reading
- `pace`: how far a device is with its batches
- `perplexity`: losses of a split, in nats, bits per byte and perplexity; by document and frequency
- `smallbench`: SmallBench: BLiMP and three diagnostic sets, with its controls
- `sets`: the items of SmallBench, from a folder or the hub
- `kept`: arrays that are made once and kept beside the corpus
- `scoring`: from items and log-probabilities to outcomes
- `estimates`: from outcomes to accuracies with standard errors
- `controls`: outcomes of the untrained model and of n-gram models of the training text
- `ngram`: the unigram and the Kneser-Ney model
- `trees`: many short texts as trees of tokens
- `likelihood`: log-probabilities of them
- `generation`: sampling with a cache of keys and values
- `inference`: latency, throughput and memory of generation
"""

from .finished import read_sample, read_smallbench
from .measurement import measure, measure_again
from .perplexity import as_perplexity, split_losses, sum_losses
from .sets import load_sets, set_files
from .smallbench import prepare_smallbench

__all__ = [
    "as_perplexity",
    "load_sets",
    "measure",
    "measure_again",
    "prepare_smallbench",
    "read_sample",
    "read_smallbench",
    "set_files",
    "split_losses",
    "sum_losses",
]
