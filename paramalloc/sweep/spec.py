"""The cells of a sweep, from its YAML file, and the executions that each of them takes."""

import itertools
import json
import math
import os
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from ..allocation import allocation
from ..config import (
    ROOT,
    TUNING_SEED,
    TrainConfig,
    load_profile,
    load_yaml,
    profiles,
    refuse_unknown,
)
from ..data import Corpus
from ..errors import ConfigError, UserError
from ..runs import Run
from .tune import Tuning, best_lr, next_lrs

PARTS = ("axes", "parameters", "tune")


@dataclass(frozen=True)
class Cell:
    """One execution of the notebook: its name, what it is given, and what that means (or why it cannot be). One with a
    `tuning` takes several, see Sweep.stages."""

    name: str
    parameters: dict
    config: TrainConfig | None
    error: str | None = None
    tuning: Tuning | None = None

    def runs(self, corpus: Corpus) -> list[Run]:
        """Empty while the learning rate is not known."""
        return (
            [Run(config, corpus.fingerprint) for config in self.config.runs()]
            if self.config.lr
            else []
        )

    @property
    def budget(self) -> int:
        """Tokens of all its runs, without those of learning rates that may be added."""
        return (
            self.config.tokens
            * (len(self.config.runs()) + (self.tuning.runs if self.tuning else 0))
            if self.config
            else 0
        )

    def stage(self, name: str, **values) -> "Cell":
        """One execution of it, with these values in place of its own."""
        given = {
            key: list(value) if isinstance(value, tuple) else value for key, value in values.items()
        }
        return Cell(name, self.parameters | given, replace(self.config, **values))

    def rounds(self, corpus: Corpus | None) -> tuple[list["Cell"], dict | None]:
        """The executions that choose its learning rate, as far as finished runs tell, and lr -> mean dev loss once they are all
        through."""
        found, losses = [], {}
        while rates := next_lrs(losses, self.tuning):
            found.append(
                self.stage(
                    f"{self.name}.tune-{len(found) + 1}",
                    lr=rates,
                    seed=self.tuning.seed,
                    early_stop="off",
                    smallbench="off",
                )
            )
            runs = found[-1].runs(corpus) if corpus else []
            if not runs or not all(run.finished for run in runs):
                return found, None
            losses |= mean_losses(found[-1], runs)
        return found, losses


def mean_losses(stage: Cell, runs: list[Run]) -> dict[float, float]:
    """lr -> dev loss, the mean over seeds; infinite where a run diverged."""
    found = {}
    for config, run in zip(stage.config.runs(), runs):
        loss = run.result["dev_loss"]
        found.setdefault(config.lr, []).append(math.inf if loss is None else loss)
    return {lr: fmean(losses) for lr, losses in found.items()}


@dataclass(frozen=True)
class Sweep:
    name: str
    notebook: Path
    cells: list[Cell]

    @property
    def config(self) -> TrainConfig:
        """Any valid cell's: the outputs folder is the same in all of them."""
        valid = [cell.config for cell in self.cells if cell.config]
        if not valid:
            raise ConfigError(f"no cell of sweep {self.name} can be trained: {self.cells[0].error}")
        return valid[0]

    @property
    def folder(self) -> Path:
        return self.config.output_folder / "notebooks" / self.name

    def log(self, cell: Cell, runs: list[Run]) -> Path:
        """Where a failed cell's output is kept; other profiles and datasets have other runs."""
        return self.folder / f"{cell.name}.{runs[0].id}.log"

    def stages(self, cell: Cell, corpus: Corpus | None) -> list[Cell]:
        """The executions that a cell takes, a pure function of the finished runs. A tuned one: those that choose its learning
        rate, then its own seeds at the best; while that is not known, the lr of the last is None."""
        if not cell.tuning or not cell.config:
            return [cell]
        rounds, losses = cell.rounds(corpus)
        lr = best_lr(losses) if losses else None
        if losses and not lr:
            error = f"every learning rate from {min(losses):g} to {max(losses):g} diverged: give tune a lower grid"
            return [*rounds, Cell(cell.name, cell.parameters, None, error)]
        baseline = self.baseline_of(cell)
        theirs = baseline.rounds(corpus)[1] if baseline else None
        return [
            *rounds,
            cell.stage(cell.name, lr=lr, baseline_lr=best_lr(theirs) if theirs else None),
        ]

    def baseline_of(self, cell: Cell) -> Cell | None:
        """The cell of this sweep that early stop compares it with."""
        if cell.config.early_stop == "off":
            return None
        return next((other for other in self.cells if other.config == cell.config.baseline()), None)


def load_sweep(source: str, **overrides) -> Sweep:
    """The sweep of a YAML file, or of params/<source>.yaml; overrides (profile, dataset, outputs, seed …) that are set win."""
    path = (
        ROOT / source
        if source.endswith((".yaml", ".yml"))
        else named(source, ROOT / "params", ".yaml", "sweep")
    )
    content, given = load_yaml(path), {name: value for name, value in overrides.items() if value}
    refuse_unknown(content, ("notebook", "profile", *PARTS, *profiles()), "key")
    general = parts_of(path, content)
    profile, _ = load_profile(
        given.get("profile") or general[1].get("profile") or content.get("profile") or "auto"
    )
    section = content.get(profile) or {}
    axes, parameters, tune = (
        part | special for part, special in zip(general, parts_of(path, section))
    )
    refuse_unknown(section, PARTS, f"key of {profile}")
    shared = parameters | given | {"profile": profile}
    points = [join(axes, values) for values in itertools.product(*axes.values())]
    refuse_unknown([*shared, *(name for point in points for name in point)], TrainConfig.names())
    tuning = Tuning.from_yaml(tune) if tune else None
    cells = [make_cell(point, shared, tuning) for point in points]
    names = Counter(cell.name for cell in cells)
    cells = [
        replace(cell, name=f"{cell.name}-{n}") if names[cell.name] > 1 else cell
        for n, cell in enumerate(cells, 1)
    ]
    cells.sort(
        key=lambda cell: cell.config is None or cell.config != cell.config.baseline()
    )  # the baseline first
    return Sweep(
        path.stem,
        named(str(content.get("notebook", "train")), ROOT / "notebooks", ".ipynb", "notebook"),
        cells,
    )


def named(name: str, folder: Path, suffix: str, what: str) -> Path:
    """The file of that name in a folder of the repository; of an unknown one the message names the nearest."""
    refuse_unknown([name], [path.stem for path in folder.glob(f"*{suffix}")], what)
    return folder / f"{name}{suffix}"


def parts_of(path: Path, section) -> list[dict]:
    """axes, parameters and tune of a file, or of its section for a profile, checked for their form."""
    found = [section.get(part) or {} for part in PARTS] if isinstance(section, dict) else [None]
    if not all(isinstance(part, dict) for part in found):
        raise ConfigError(
            f"{path}: {', '.join(PARTS)}, and a profile's section, must hold names and values"
        )
    for name, values in found[0].items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{path}: axis {name} must be a list of values, as in {name}: [1, 2]")
    return found


def join(axes: dict, values: tuple) -> dict:
    """The parameters of one point; a value that is a mapping sets several at once."""
    found = {}
    for axis, value in zip(axes, values):
        found |= value if isinstance(value, dict) else {axis: value}
    return found


def make_cell(point: dict, shared: dict, tuning: Tuning | None = None) -> Cell:
    name = "_".join(f"{axis}-{value}" for axis, value in point.items()) or "cell"
    name = re.sub(r"[^\w.+-]+", "-", name)[:100]  # it becomes a file's, and a value may be a path
    parameters = shared | point
    if tuning and "lr" in parameters:
        raise ConfigError("lr is what tune chooses: leave it out of axes and parameters")
    try:
        config = TrainConfig.from_dict(parameters)
        allocation(config)
    except UserError as error:
        return Cell(name, parameters, None, str(error))
    if tuning and max(run.seed for run in config.runs()) >= TUNING_SEED:
        raise ConfigError(
            f"seeds from {TUNING_SEED} on only choose a learning rate: name lower ones, or put them under tune"
        )
    return Cell(name, parameters, config, tuning=tuning)


def papermill_words(sweep: Sweep, cell: Cell) -> list[str]:
    """What a user types after `papermill` to execute one cell alone."""
    path = lambda name: os.path.relpath(name)
    given = {
        name: json.dumps(value) if isinstance(value, list) else str(value)
        for name, value in cell.parameters.items()
        if value is not None
    }
    return [
        path(sweep.notebook),
        path(sweep.folder / f"{cell.name}.ipynb"),
        *(word for name, text in given.items() for word in ("-p", name, text)),
    ]
