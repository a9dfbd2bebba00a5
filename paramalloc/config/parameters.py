"""How a dataclass of parameters is built from a dict or from a notebook."""

import ast
from dataclasses import asdict, fields
from html import escape
from pathlib import Path
from typing import Any, ClassVar, Self

from .fields import convert, refuse_unknown
from .profiles import ROOT


def injected_names(namespace: dict[str, Any]) -> list[str]:
    """The names that papermill's injected cell sets; papermill only warns of unknown ones."""
    cells = [source for source in namespace.get("In", []) if source.startswith("# Parameters")]
    if not cells:
        return []
    assignments = [node for node in ast.parse(cells[-1]).body if isinstance(node, ast.Assign)]
    targets = [target for node in assignments for target in node.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


class FromParameters:
    """Base of the frozen dataclasses that hold a notebook's parameters."""

    __dataclass_fields__: ClassVar[dict[str, Any]]  # every child is a dataclass
    outputs: str

    @classmethod
    def names(cls) -> list[str]:
        """The names of all parameters, in the notebook's order."""
        return [spec.name for spec in fields(cls)]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Checked and filled; ConfigError names the first parameter that is wrong."""
        return cls(**cls.fill(cls.check(values), {}))

    @classmethod
    def check(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The given values, each of its field's kind and within its range."""
        refuse_unknown(values, cls.names())
        given = [spec for spec in fields(cls) if spec.name in values]
        return {spec.name: convert(spec, values[spec.name]) for spec in given}

    @classmethod
    def fill(cls, given: dict[str, Any], sizes: dict[str, Any]) -> dict[str, Any]:
        """Every parameter: as given, else the profile's, else the default."""
        values = {}
        for spec in fields(cls):
            value = given.get(spec.name)
            if value is None and spec.name in sizes:
                value = convert(spec, sizes[spec.name])
            elif value is None:
                value = spec.default
            values[spec.name] = value
        return values

    @classmethod
    def from_notebook(cls, namespace: dict[str, Any]) -> Self:
        """Build from a notebook's globals(); a name that papermill injected must be known."""
        refuse_unknown(injected_names(namespace), cls.names())
        return cls.from_dict({name: namespace[name] for name in cls.names() if name in namespace})

    @property
    def output_folder(self) -> Path:
        """The folder of everything that is written."""
        return ROOT / self.outputs

    def _repr_html_(self) -> str:
        values = [(name, value) for name, value in asdict(self).items() if value is not None]
        cells = [f"<b>{name}</b>&nbsp;{escape(str(value))}" for name, value in values]
        return "<p style='line-height:1.7'>" + " &ensp; ".join(cells) + "</p>"
