"""A sweep, its cells, and the executions that each of them takes."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from ..allocation import allocation
from ..config import TrainConfig
from ..data import Corpus
from ..errors import ConfigError, DataError
from ..runs import Run
from .corpora import Corpora
from .tune import Tuning, best_lr, next_lrs


@dataclass(frozen=True)
class Cell:
    """One execution of the notebook: a name, parameters, and their config or why there is none.

    A cell with a `tuning` takes several executions, see `Sweep.stages`. `detail` tells the cells of
    one name apart, see `Sweep.by_run`.
    """

    name: str
    parameters: dict[str, Any]
    config: TrainConfig | None
    error: str | None = None
    tuning: Tuning | None = None
    detail: str = ""

    @property
    def title(self) -> str:
        """The name, and what tells it from others of this name."""
        return f"{self.name}, {self.detail}" if self.detail else self.name

    @property
    def valid_config(self) -> TrainConfig:
        """The config; ConfigError with the reason where the cell has none."""
        if self.config is None:
            raise ConfigError(f"{self.name}: {self.error}")
        return self.config

    def runs(self, corpus: Corpus | None) -> list[Run]:
        """The runs of the cell on a corpus.

        Empty while the corpus or the learning rate is not known, and for an invalid cell.
        """
        if corpus is None or self.config is None or not self.config.lr:
            return []
        return [Run(single, corpus.fingerprint) for single in self.config.runs()]

    @property
    def budget(self) -> int:
        """Tokens of all its runs, without those of learning rates that may be added."""
        if self.config is None:
            return 0
        count = len(self.config.runs())
        if self.tuning:
            count += self.tuning.runs
        return self.config.tokens * count

    def stage(self, name: str, **values: Any) -> "Cell":
        """One execution of the cell, with these values in place of its own."""
        changes = {
            key: list(value) if isinstance(value, tuple) else value for key, value in values.items()
        }
        config = replace(self.valid_config, **values)
        return Cell(name, self.parameters | changes, config, detail=self.detail)

    def by_run(self) -> list["Cell"]:
        """A cell for each run. One that is tuned or invalid stays whole."""
        if self.config is None or self.tuning:
            return [self]
        configs = self.config.runs()
        if len(configs) == 1:
            return [self]
        several_rates = len({config.lr for config in configs}) > 1
        cells = []
        for config in configs:
            detail = f"seed {config.seed}"
            if several_rates:
                detail += f", lr {config.lr:g}"
            run = self.stage(self.name, seed=config.seed, lr=config.lr)
            cells.append(replace(run, detail=detail))
        return cells

    def rounds(self, corpus: Corpus | None) -> tuple[list["Cell"], dict[float, float] | None]:
        """The executions that choose the learning rate, as far as finished runs determine them.

        The second value maps lr to mean dev loss once all of them are finished, else it is None.
        """
        rounds: list[Cell] = []
        losses: dict[float, float] = {}
        if self.tuning is None:  # for the type checker: a sweep tunes all its cells or none
            return rounds, None
        while rates := next_lrs(losses, self.tuning):
            tuned = self.stage(
                f"{self.name}.tune-{len(rounds) + 1}",
                lr=rates,
                seed=self.tuning.seed,
                early_stop="off",
                smallbench="off",
            )
            rounds.append(tuned)
            runs = tuned.runs(corpus)
            if not runs or not all(run.finished for run in runs):
                return rounds, None
            losses |= losses_by_lr(tuned, runs)
        return rounds, losses

    def chosen_lr(self, corpus: Corpus | None) -> float | None:
        """The learning rate of the lowest loss; None while it is open, or where all diverged."""
        _, losses = self.rounds(corpus)
        return best_lr(losses or {})


Numbered = tuple[int, Cell]  # a cell and its place in the sweep, from 1


def losses_by_lr(stage: Cell, runs: list[Run]) -> dict[float, float]:
    """Map lr to dev loss in nats per token, the mean over seeds; infinite where a run diverged."""
    losses: dict[Any, list[float]] = {}
    for config, run in zip(stage.valid_config.runs(), runs, strict=True):
        result = run.result
        assert result is not None, "only finished runs have a loss"
        loss = result["dev_loss"]
        losses.setdefault(config.lr, []).append(math.inf if loss is None else loss)
    return {lr: fmean(values) for lr, values in losses.items()}


@dataclass(frozen=True)
class Sweep:
    """The cells that a YAML file describes, and the notebook that trains each of them."""

    name: str
    notebook: Path
    cells: list[Cell]
    corpora: Corpora = field(default_factory=Corpora, compare=False)

    @property
    def config(self) -> TrainConfig:
        """The config of the first valid cell; all cells have the same outputs folder."""
        for cell in self.cells:
            if cell.config:
                return cell.config
        raise ConfigError(f"no cell of sweep {self.name} can be trained: {self.cells[0].error}")

    @property
    def folder(self) -> Path:
        return self.config.output_folder / "notebooks" / self.name

    def log(self, cell: Cell, runs: list[Run]) -> Path:
        """Where a failed cell's output is kept; other profiles and datasets have other runs."""
        title = cell.title.replace(", ", ".").replace(" ", "-")
        return self.folder / f"{title}.{runs[0].id}.log"

    def logs(self, cell: Cell, runs: list[Run]) -> dict[str, Path]:
        """The log of each failed run, by its id: its own, or that of all of the cell's runs."""
        logs = {}
        for single, run in zip(cell.by_run(), runs, strict=True):
            for log in (self.log(cell, runs), self.log(single, [run])):
                if log.exists() and not run.finished:
                    logs[run.id] = log
        return logs

    def prepared_corpus(self, config: TrainConfig) -> Corpus | None:
        """The corpus of a cell if it is prepared already.

        A dataset that is not there is no error here: its cell fails when it is trained.
        """
        try:
            return self.corpora.prepared(config)
        except DataError:
            return None

    def by_run(self) -> "Sweep":
        """The same sweep with a cell for each run, in the order in which a pool begins them.

        Seeds come outermost, so that a sweep that is cut off has whole seeds. Within a seed the
        shallow shapes come first, which take least time, but for the baseline of `kill`.
        """
        cells = [single for cell in self.cells for single in cell.by_run()]
        return replace(self, cells=sorted(cells, key=_run_order))

    @property
    def unfinished(self) -> list[Cell]:
        """The cells that have something left to train, as far as that is known."""
        cells = []
        for cell in self.cells:
            runs = cell.runs(self.prepared_corpus(cell.config) if cell.config else None)
            if not runs or not all(run.finished for run in runs):
                cells.append(cell)
        return cells

    def stages(self, cell: Cell, corpus: Corpus | None) -> list[Cell]:
        """The executions that a cell takes, a pure function of the finished runs.

        Those of a tuned cell first choose its learning rate. The last trains the cell's own seeds
        at the best one; while that is not known, its lr is None.
        """
        if not cell.tuning or not cell.config:
            return [cell]
        rounds, losses = cell.rounds(corpus)
        lr = best_lr(losses or {})
        if losses and not lr:
            error = (
                f"every learning rate from {min(losses):g} to {max(losses):g} diverged: "
                "give tune a lower grid"
            )
            return [*rounds, Cell(cell.name, cell.parameters, None, error)]
        baseline = self.baseline_of(cell)
        baseline_lr = baseline.chosen_lr(corpus) if baseline else None
        return [*rounds, cell.stage(cell.name, lr=lr, baseline_lr=baseline_lr)]

    def baseline_of(self, cell: Cell) -> Cell | None:
        """The cell of this sweep that early stop compares the cell with."""
        config = cell.valid_config
        if config.early_stop == "off":
            return None
        return next((other for other in self.cells if other.config == config.baseline()), None)


def _run_order(cell: Cell) -> tuple[int, bool, int]:
    """Seed, whether another run has to come first, depth; invalid cells fail first of all."""
    if cell.config is None:
        return (-1, False, 0)
    first = cell.config.runs()[0]
    seed = first.seed if isinstance(first.seed, int) else 0  # for the type checker
    follows = first.early_stop == "kill" and first != first.baseline()
    return (seed, follows, allocation(cell.config).model.n_layers)
