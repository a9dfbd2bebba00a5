"""Profiles: the sizes that fill what is not set by name."""

from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]  # relative paths mean the repository root
PROFILES = ROOT / "params" / "profiles"


def cuda_available() -> bool:
    """Whether torch finds a CUDA device."""
    return cuda_devices() > 0


def cuda_devices() -> int:
    """How many CUDA devices torch finds."""
    import torch  # only here: everything else in this package works without torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def load_yaml(path: Path) -> dict[str, Any]:
    """The names and values of a YAML file; ConfigError if it is missing or holds something else."""
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
    """The names of all profiles."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def read_profile(profile: str) -> tuple[str, dict[str, Any]]:
    """(name, sizes) as the file has them; "auto" is `study` with a CUDA device, else `quick`."""
    if profile == "auto":
        profile = "study" if cuda_available() else "quick"
    if profile not in profiles():
        raise ConfigError(f"unknown profile '{profile}': there are auto, {', '.join(profiles())}")
    return profile, load_yaml(PROFILES / f"{profile}.yaml")
