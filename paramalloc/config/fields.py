"""One value of a parameter: its kind and range, what is understood as a number, and how a wrong one is refused."""

import difflib
import math
import re
from dataclasses import field
from pathlib import Path

from ..errors import ConfigError


def whole_number(low=1, high=10**12, default=None):
    return field(default=default, metadata={"kind": int, "low": low, "high": high})


def number(low=0.0, high=math.inf, default=None, many=False):
    return field(default=default, metadata={"kind": float, "low": low, "high": high, "many": many})


def text(default="", choices=None, pattern=""):
    return field(default=default, metadata={"kind": str, "choices": choices, "pattern": pattern})


def as_number(name: str, value, kind=float):
    """`value` as a finite int or float; numeric text such as `1_000` or YAML's `1e-3` is understood."""
    try:
        if isinstance(value, bool):
            raise ValueError
        result = value if isinstance(value, int) else float(str(value).replace("_", ""))
    except ValueError:
        raise ConfigError(f"{name} must be a number, not {value!r}") from None
    if isinstance(result, int) and abs(result) > 10**18 or not math.isfinite(result):
        raise ConfigError(f"{name} must be a finite number, not {value}")
    if kind is int and result != int(result):
        raise ConfigError(f"{name} must be a whole number, not {value}")
    return kind(result)


def as_text(name: str, value, choices=None, pattern=""):
    if isinstance(value, bool):  # YAML reads on and off as booleans
        value = "on" if value else "off"
    if not isinstance(value, (str, Path)):
        raise ConfigError(f"{name} must be text, not {value!r}")
    value = str(value)
    if choices and value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}, not '{value}'")
    if pattern and not re.fullmatch(pattern, value):
        raise ConfigError(f"{name} '{value}' is not of the form {pattern}")
    return value


def convert(spec, value):
    """One parameter's value by its field's type and range; None stays None (the profile fills it)."""
    name, rule = spec.name, spec.metadata
    if value is None:
        return None
    if rule["kind"] is str:
        return as_text(name, value, rule["choices"], rule["pattern"])
    if rule.get("many") and isinstance(value, str) and "," in value:
        value = [part.strip() for part in value.split(",")]
    if rule.get("many") and isinstance(value, (list, tuple)):
        if not value:
            raise ConfigError(f"{name} is an empty list: give at least one value")
        return tuple(convert(spec, item) for item in value)
    result = as_number(name, value, rule["kind"])
    if not rule["low"] <= result <= rule["high"]:
        raise ConfigError(
            f"{name} must be between {rule['low']:g} and {rule['high']:g}, not {value}"
        )
    return result


def refuse_unknown(names, known, what="parameter"):
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(sorted(known))}"
            raise ConfigError(f"unknown {what} '{name}': {hint}")
