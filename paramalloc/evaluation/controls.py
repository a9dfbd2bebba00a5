"""SmallBench's controls: what counts of the training text reach, and the model before training.

Their outcomes are kept beside the corpus: all its runs share them.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from ..config import ModelConfig
from ..data import Corpus, Progress
from ..model import DecoderLM, cpu_name, device_name
from .kept import digest_of, hash_arrays, keep_arrays
from .likelihood import log_likelihoods
from .ngram import KneserNey, Unigram
from .scoring import OUTCOME_COLUMNS, as_arrays, as_outcomes, encode, ngram_log_likelihoods
from .sets import Set
from .trees import BATCH_NODES, NODES, TREES_VERSION, kept_trees

CONTROLS_VERSION = 1
UNTRAINED_VERSION = 1
ORDER = 5
NGRAM_TOKENS = 25_000_000  # of the training text, at most: they take 4 GB while they are counted
CONTROL_NAMES = ("unigram", f"{ORDER}-gram")

Outcomes = dict[tuple[str, str], pd.DataFrame]  # of each (model, set)


def score_network(
    name: str,
    network: DecoderLM,
    corpus: Corpus,
    sets: list[Set],
    seq_len: int,
    progress: Progress,
) -> Outcomes:
    """Outcomes of a network: the model, or the untrained one."""
    outcomes = {}
    for part in sets:
        trees = kept_trees(corpus, part, seq_len)
        stage = f"SmallBench, {part.name}"
        if name != "model":
            stage += f" {name}"
        greedy = bool((part.choices == 1).any())
        log_p, likeliest = log_likelihoods(network, trees, greedy, partial(progress, stage))
        outcomes[name, part.name] = as_outcomes(part, log_p, likeliest)
    return outcomes


@dataclass(frozen=True)
class Untrained:
    """The model of a shape before its first step, on the device where it is measured."""

    shape: ModelConfig
    parametrization: str
    seed: int
    device: torch.device

    def build(self) -> DecoderLM:
        """Its weights are those that training starts from."""
        torch.manual_seed(self.seed)
        return DecoderLM(self.shape, self.parametrization).to(self.device)

    def digest(self, network: DecoderLM, *content) -> str:
        """12 hex digits over all that the outcomes of `network`, which was built of it, depend on
        to the last digit, and `content`."""
        machine = [torch.__version__, device_name(self.device)]
        if self.device.type == "cpu":
            machine += [cpu_name(), torch.backends.cpu.get_cpu_capability()]
            machine += [torch.get_num_threads()]
        weights = {name: weight.cpu().numpy() for name, weight in network.state_dict().items()}
        start = [asdict(self.shape), self.parametrization, self.seed, hash_arrays(weights)]
        batches = [TREES_VERSION, NODES, BATCH_NODES]
        return digest_of(UNTRAINED_VERSION, batches, start, machine, *content)


def score_untrained(
    untrained: Untrained, corpus: Corpus, sets: list[Set], seq_len: int, progress: Progress
) -> Outcomes:
    """Outcomes of the untrained model; those of one start are computed once."""
    network = untrained.build()
    digests = [part.sha256 for part in sets]
    key = untrained.digest(network, corpus.fingerprint, seq_len, digests)
    path = corpus.folder / f"untrained-{key}.safetensors"

    def make() -> Outcomes:
        return score_network("untrained", network, corpus, sets, seq_len, progress)

    return _keep_outcomes(path, ["untrained"], sets, make)


def score_controls(corpus: Corpus, sets: list[Set], seq_len: int) -> Outcomes:
    """Outcomes of the unigram and the 5-gram model of a corpus.

    Several runs that end at once do not count the same text side by side.
    """
    digests = [part.sha256 for part in sets]
    key = digest_of(CONTROLS_VERSION, ORDER, NGRAM_TOKENS, seq_len, digests)
    path = corpus.folder / f"smallbench-{key}.safetensors"
    lease = corpus.folder / "lease"
    return _keep_outcomes(path, CONTROL_NAMES, sets, lambda: _count(corpus, sets, seq_len), lease)


def _count(corpus: Corpus, sets: list[Set], seq_len: int) -> Outcomes:
    tokens = corpus.split("train")[:NGRAM_TOKENS]
    models = (
        Unigram(corpus.counts("train")),
        KneserNey(tokens, corpus.meta["vocab_size"], ORDER),
    )
    outcomes = {}
    for part in sets:
        texts, scored = encode(part, corpus.tokenizer, seq_len)
        for name, model in zip(CONTROL_NAMES, models, strict=True):
            log_p = ngram_log_likelihoods(model, texts, scored)
            outcomes[name, part.name] = as_outcomes(part, log_p)
    return outcomes


def _keep_outcomes(
    path: Path,
    names: Sequence[str],
    sets: list[Set],
    make: Callable[[], Outcomes],
    lease: Path | None = None,
) -> Outcomes:
    """The outcomes of the models `names` in the file `path`, else those that `make` returns."""
    columns = [
        f"{name}.{part.name}.{column}"
        for name in names
        for part in sets
        for column in OUTCOME_COLUMNS
    ]
    arrays = keep_arrays(path, columns, lambda: as_arrays(make()), lease)
    outcomes = {}
    for name in names:
        for part in sets:
            kept = {column: arrays[f"{name}.{part.name}.{column}"] for column in OUTCOME_COLUMNS}
            outcomes[name, part.name] = pd.DataFrame({"group": part.groups} | kept)
    return outcomes
