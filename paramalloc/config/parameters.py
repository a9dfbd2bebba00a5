"""Profiles, and how a dataclass is built from parameters."""

import ast
from dataclasses import asdict, fields
from pathlib import Path

from .fields import convert, refuse_unknown
from .profiles import ROOT, load_profile


def injected_names(namespace: dict) -> list[str]:
    """The names that papermill's injected cell sets; papermill itself only warns of unknown ones."""
    cells = [source for source in namespace.get("In", []) if source.startswith("# Parameters")]
    tree = ast.parse(cells[-1]) if cells else ast.Module([], [])
    return [
        target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
    ]


class FromParameters:
    sized = True  # has sizes that a profile fills

    @classmethod
    def names(cls) -> list[str]:
        return [spec.name for spec in fields(cls)]

    @classmethod
    def from_dict(cls, values: dict):
        """Checked and filled from the profile. ConfigError names the first parameter that is wrong."""
        refuse_unknown(values, cls.names())
        given = {
            spec.name: convert(spec, values[spec.name])
            for spec in fields(cls)
            if spec.name in values
        }
        profile, sizes = (
            load_profile(given.get("profile") or "auto")
            if cls.sized
            else (given.get("profile"), {})
        )
        return cls(**cls.fill(given, sizes) | ({"profile": profile} if cls.sized else {}))

    @classmethod
    def fill(cls, given: dict, sizes: dict) -> dict:
        """Every parameter: as given, else the profile's, else the default."""
        values = {spec.name: given.get(spec.name) for spec in fields(cls)}
        for spec in fields(cls):
            if values[spec.name] is None:
                values[spec.name] = (
                    convert(spec, sizes[spec.name]) if spec.name in sizes else spec.default
                )
        return values

    @classmethod
    def from_notebook(cls, namespace: dict):
        """Build from a notebook's globals(), refusing what papermill injected under an unknown name."""
        refuse_unknown(injected_names(namespace), cls.names())
        return cls.from_dict({name: namespace[name] for name in cls.names() if name in namespace})

    @property
    def output_folder(self) -> Path:
        return ROOT / self.outputs

    def _repr_html_(self) -> str:
        from html import escape

        cells = [
            f"<b>{name}</b>&nbsp;{escape(str(value))}"
            for name, value in asdict(self).items()
            if value is not None
        ]
        return "<p style='line-height:1.7'>" + " &ensp; ".join(cells) + "</p>"
