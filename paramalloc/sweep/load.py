"""Read a sweep from its YAML file."""

import itertools
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from ..disk import fitting_name
from ..errors import ConfigError, UserError
from .spec import Cell, Sweep
from .tune import Tuning

PARTS = ("axes", "parameters", "tune")
# Of a cell's name, which becomes part of the names of its notebook and log.
NAME_LENGTH = 100  # characters
NAME_BYTES = 180


def load_sweep(source: str, cells: str = "", **overrides: Any) -> Sweep:
    """Read the sweep of a YAML file, or of params/<source>.yaml.

    `cells` names those to keep (`_choose`). Overrides (profile, dataset, outputs, seed …) that are
    set replace what the file says. Raises ConfigError for a file that is missing or malformed and
    for a cell that is not there; an invalid cell keeps its error.
    """
    path = sweep_file(source)
    if path.stem in (".", ".."):  # it names the folder of the notebooks
        raise ConfigError(f"{path} has no name before .yaml: give it one")
    content = load_yaml(path)
    given = {name: value for name, value in overrides.items() if value}
    refuse_unknown(content, ("notebook", "profile", *PARTS, *profiles()), "key")

    # The general parts, replaced name by name by those of the profile's section.
    general = _sections(path, content)
    profile, _ = load_profile(_profile_name(given, general[1], content))
    section = content.get(profile) or {}
    special = _sections(path, section)
    refuse_unknown(section, PARTS, f"key of {profile}")
    axes, parameters, tune = (old | new for old, new in zip(general, special, strict=True))

    # One cell for each combination of the axes' values.
    shared = parameters | given | {"profile": profile}
    points = [_join(axes, values) for values in itertools.product(*axes.values())]
    refuse_unknown(itertools.chain(shared, *points), TrainConfig.names())
    tuning = Tuning.from_yaml(tune) if tune else None
    made = _numbered([_make_cell(point, shared, tuning) for point in points])
    made.sort(key=_is_baseline, reverse=True)
    notebook = str(content.get("notebook", "train"))
    notebook_file = _named_file(notebook, ROOT / "notebooks", ".ipynb", "notebook")
    return Sweep(path.stem, notebook_file, _choose(made, cells) if cells else made)


def sweep_file(source: str) -> Path:
    """The file of a sweep, which is named by a path or as one in params/."""
    if source.endswith((".yaml", ".yml")):
        return ROOT / source
    return _named_file(source, ROOT / "params", ".yaml", "sweep")


def _named_file(name: str, folder: Path, suffix: str, kind: str) -> Path:
    """The file of that name in a folder; the message about an unknown one names the nearest."""
    refuse_unknown([name], [path.stem for path in folder.glob(f"*{suffix}")], kind)
    return folder / f"{name}{suffix}"


def _profile_name(
    given: dict[str, Any], parameters: dict[str, Any], content: dict[str, Any]
) -> str:
    return given.get("profile") or parameters.get("profile") or content.get("profile") or "auto"


def _sections(path: Path, section: Any) -> list[dict[str, Any]]:
    """axes, parameters and tune of a file, or of its section for a profile, in this order.

    ConfigError where one of them is not of the right form.
    """
    parts = []
    for part in PARTS:
        values = isinstance(section, dict) and (section.get(part) or {})
        if not isinstance(values, dict):
            raise ConfigError(
                f"{path}: {', '.join(PARTS)}, and a profile's section, must hold names and values"
            )
        parts.append(values)
    for name, values in parts[0].items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{path}: axis {name} must be a list of values, as in {name}: [1, 2]")
    return parts


def _join(axes: dict[str, Any], values: tuple[Any, ...]) -> dict[str, Any]:
    """The parameters of one point; a value that is a mapping sets several at once."""
    point: dict[str, Any] = {}
    for axis, value in zip(axes, values, strict=True):
        point |= value if isinstance(value, dict) else {axis: value}
    return point


def _make_cell(point: dict[str, Any], shared: dict[str, Any], tuning: Tuning | None) -> Cell:
    name = "_".join(f"{axis}-{value}" for axis, value in point.items()) or "cell"
    name = re.sub(r"[^\w.+-]+", "-", name)  # a value may be a path
    name = fitting_name(name, NAME_LENGTH, NAME_BYTES)
    parameters = shared | point
    if tuning and "lr" in parameters:
        raise ConfigError("lr is what tune chooses: leave it out of axes and parameters")
    try:
        config = TrainConfig.from_dict(parameters)
        allocation(config)
    except UserError as error:
        return Cell(name, parameters, None, str(error))
    seeds = config.seed if isinstance(config.seed, tuple) else (config.seed,)
    if tuning and max(seeds) >= TUNING_SEED:
        raise ConfigError(
            f"seeds from {TUNING_SEED} on only choose a learning rate: "
            "name lower ones, or put them under tune"
        )
    return Cell(name, parameters, config, tuning=tuning)


def _numbered(cells: list[Cell]) -> list[Cell]:
    """The cells; those that share a name get a number each."""
    counts = Counter(cell.name for cell in cells)
    return [
        replace(cell, name=f"{cell.name}-{number}") if counts[cell.name] > 1 else cell
        for number, cell in enumerate(cells, 1)
    ]


def _choose(cells: list[Cell], names: str) -> list[Cell]:
    """The cells that request one of the shares and expansions in `0.35x2.66,0.45x4`.

    Several may request the same, in arms that vary something else. ConfigError with those that
    there are where none does.
    """
    requests = [_request_name(cell) for cell in cells]
    wanted = [name.strip().replace("×", "x") for name in names.split(",")]
    for name in wanted:
        if name not in requests:
            there = ", ".join(dict.fromkeys(filter(None, requests)))
            raise ConfigError(f"no cell {name} in this sweep: name some of {there or 'none'}")
    return [cell for cell, request in zip(cells, requests, strict=True) if request in wanted]


def _request_name(cell: Cell) -> str:
    """`0.35x2.66`, the share alone where no expansion is requested, nothing for a given shape."""
    if cell.config is None:
        return ""
    shape = allocation(cell.config)
    values = [shape.requested_share, shape.requested_glu]
    return "x".join(f"{value:g}" for value in values if value is not None)


def _is_baseline(cell: Cell) -> bool:
    return cell.config is not None and cell.config == cell.config.baseline()
