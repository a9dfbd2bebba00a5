"""Profiles, and how a dataclass is built from parameters."""

import ast
from dataclasses import asdict, fields
from pathlib import Path

import yaml

from ..values import ConfigError, convert, refuse_unknown

ROOT = Path(__file__).resolve().parents[2]  # relative paths mean the repository root
PROFILES = ROOT / "params" / "profiles"


def cuda_available() -> bool:
    import torch  # only here: everything else in this module works without torch

    return torch.cuda.is_available()


def load_yaml(path: Path) -> dict:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise ConfigError(f"there is no file {path}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold names and values")
    return content


def profiles() -> list[str]:
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load_profile(profile: str) -> tuple[str, dict]:
    """(name, sizes); "auto" is `study` where a CUDA device is present, else `quick`."""
    if profile == "auto":
        profile = "study" if cuda_available() else "quick"
    if profile not in profiles():
        raise ConfigError(f"unknown profile '{profile}': there are auto, {', '.join(profiles())}")
    sizes = load_yaml(PROFILES / f"{profile}.yaml")
    from .cell import TrainConfig  # it is made of what stands here

    refuse_unknown(sizes, TrainConfig.names(), f"key of profile {profile}")
    return profile, sizes


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
