"""The corpora of a sweep: each is looked for once, however many cells read it.

To look for one takes reading all of its text. A sweep trains on one text to its end.
"""

from dataclasses import dataclass, field

from ..config import TrainConfig
from ..data import Corpus, account, find, prepare
from ..errors import DataError

Key = tuple[str, int, int]  # dataset, vocab_size, tokens; all cells have one outputs folder


@dataclass
class Corpora:
    """What was found so far: a corpus, None for one that is not prepared, or why there is none."""

    seen: dict[Key, Corpus | DataError | None] = field(default_factory=dict)

    def prepared(self, config: TrainConfig) -> Corpus | None:
        """The corpus of a cell if it is prepared already; DataError if its text is not there."""
        key = _key(config)
        if key not in self.seen:
            try:
                self.seen[key] = find(
                    config.dataset, config.vocab_size, config.output_folder, config.tokens
                )
            except DataError as error:
                self.seen[key] = error
        return self._get(key)

    def prepare(self, config: TrainConfig) -> Corpus:
        """The corpus of a cell, made where it is not there; DataError says why it cannot be."""
        corpus = self.prepared(config) or self._make(config)
        corpus.check()  # once, and not in every cell
        return corpus

    def _make(self, config: TrainConfig) -> Corpus:
        key = _key(config)
        try:
            corpus = prepare(
                config.dataset,
                config.vocab_size,
                config.output_folder,
                config.tokens,
                StagePrinter(),
            )
        except DataError as error:
            self.seen[key] = error
            raise
        print(account(corpus, config.tokens), flush=True)
        self.seen[key] = corpus
        return corpus

    def _get(self, key: Key) -> Corpus | None:
        outcome = self.seen[key]
        if isinstance(outcome, DataError):
            raise outcome
        return outcome


def _key(config: TrainConfig) -> Key:
    return config.dataset, config.vocab_size, config.tokens


class StagePrinter:
    """A callback for `data.prepare` that prints a line for each stage as it begins."""

    def __init__(self) -> None:
        self.stages: set[str] = set()

    def __call__(self, stage: str, fraction: float) -> None:
        if stage not in self.stages:
            self.stages.add(stage)
            print(f"preparing the corpus: {stage} …", flush=True)
