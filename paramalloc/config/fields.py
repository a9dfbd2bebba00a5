"""One parameter: its kind and range, whether it enters the run id, how wrong values are refused."""

import difflib
import math
import re
from collections.abc import Collection, Iterable
from dataclasses import Field, field
from pathlib import Path
from typing import Any, TypedDict, Unpack

from ..errors import ConfigError

LARGEST = 10**18  # absolute value of a whole number
LIST = re.compile(r",|^\s*\[.*\]\s*$")  # `0, 1` and `[0]`, as they are typed


class Marks(TypedDict, total=False):
    """What a field says of its parameter, other than kind and range. All have defaults.

    identity: whether two runs that differ in it are two runs (True). False is for where and how
        fast a run is computed, where it is kept, when it is cut short, and what is measured.
    added: whether it is younger than published runs (False). Such a parameter is left out of a
        run's id while it has its default, which is what older runs used. So their ids stay.
    recorded: what results.csv's column of this name means. Without it there is no such column.
    unit: the unit of that column.
    role: why recorded values may differ between runs that are compared: "rate" (chosen per cell)
        or "seed". Without a role they must agree.
    before: the value to assume for runs recorded before the column existed; a field marked `added`
        uses its default.
    """

    identity: bool
    added: bool
    recorded: str
    unit: str
    role: str
    before: str | float


def whole_number(
    low: int = 1,
    high: int = 10**12,
    default: int | None = None,
    *,
    many: bool = False,
    **marks: Unpack[Marks],
) -> Any:
    """A field for whole numbers from `low` to `high`; `many` allows a list of them."""
    return _field(int, default, {"low": low, "high": high, "many": many}, marks)


def number(
    low: float = 0.0,
    high: float = math.inf,
    default: float | None = None,
    *,
    many: bool = False,
    **marks: Unpack[Marks],
) -> Any:
    """A field for finite numbers from `low` to `high`; `many` allows a list of them."""
    return _field(float, default, {"low": low, "high": high, "many": many}, marks)


def text(
    default: str | None = "",
    choices: tuple[str, ...] = (),
    pattern: str = "",
    **marks: Unpack[Marks],
) -> Any:
    """A field for text: one of `choices`, or of the form `pattern` (a regular expression)."""
    return _field(str, default, {"choices": choices, "pattern": pattern}, marks)


def _field(kind: type, default: object, limits: dict[str, Any], marks: Marks) -> Any:
    all_marks: Marks = {
        "identity": True,
        "added": False,
        "recorded": "",
        "unit": "",
        "role": "",
        **marks,
    }
    return field(default=default, metadata={"kind": kind, **limits, **all_marks})


def is_identity(spec: Field[Any], value: object) -> bool:
    """Whether a parameter with this value enters the run id."""
    at_default = spec.metadata["added"] and value == spec.default
    return bool(spec.metadata["identity"]) and value is not None and not at_default


def as_number(name: str, value: object, kind: type = float) -> Any:
    """`value` as a finite int or float; text such as `1_000` or YAML's `1e-3` is understood.

    >>> as_number("lr", "1e-3"), as_number("tokens", "1_000", int)
    (0.001, 1000)
    """
    result = _parse_number(name, value)
    too_large = isinstance(result, int) and abs(result) > LARGEST
    if too_large or not math.isfinite(result):
        raise ConfigError(f"{name} must be a finite number, not {value}")
    if kind is int and result != int(result):
        raise ConfigError(f"{name} must be a whole number, not {value}")
    return kind(result)


def _parse_number(name: str, value: object) -> int | float:
    not_a_number = ConfigError(f"{name} must be a number, not {value!r}")
    if isinstance(value, bool):
        raise not_a_number
    if isinstance(value, int):
        return value
    try:
        return float(str(value).replace("_", ""))
    except ValueError:
        raise not_a_number from None


def as_text(name: str, value: object, choices: tuple[str, ...] = (), pattern: str = "") -> str:
    """`value` as text, one of `choices` and of the form `pattern`; YAML's on and off are text."""
    if isinstance(value, bool):  # YAML reads on and off as booleans
        value = "on" if value else "off"
    if not isinstance(value, str | Path):
        raise ConfigError(f"{name} must be text, not {value!r}")
    value = str(value)
    if choices and value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}, not '{value}'")
    if pattern and not re.fullmatch(pattern, value):
        raise ConfigError(f"{name} '{value}' is not of the form {pattern}")
    return value


def convert(spec: Field[Any], value: object) -> Any:
    """A parameter's value by its field's kind and range. None stays None: the profile fills it."""
    rule = spec.metadata
    if value is None:
        return None
    if rule["kind"] is str:
        return as_text(spec.name, value, rule["choices"], rule["pattern"])
    if rule["many"] and isinstance(value, str) and LIST.search(value):
        value = [part.strip() for part in value.strip(" []").split(",") if part.strip()]
    if rule["many"] and isinstance(value, list | tuple):
        if not value:
            raise ConfigError(f"{spec.name} is an empty list: give at least one value")
        return tuple(convert(spec, item) for item in value)
    return _in_range(spec, as_number(spec.name, value, rule["kind"]), value)


def _in_range(spec: Field[Any], number: float, given: object) -> float:
    low, high = spec.metadata["low"], spec.metadata["high"]
    if not low <= number <= high:
        raise ConfigError(f"{spec.name} must be between {low:g} and {high:g}, not {given}")
    return number


def refuse_unknown(names: Iterable[str], known: Collection[str], what: str = "parameter") -> None:
    """ConfigError for the first of `names` that is not `known`; it names the nearest that is."""
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown {what} '{name}': {_hint(name, known)}")


def _hint(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known are {', '.join(sorted(known))}"
