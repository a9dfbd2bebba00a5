"""Profiles: the sizes that fill what is not set by name."""

from pathlib import Path

import yaml

from ..errors import ConfigError
from .fields import refuse_unknown

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
    from .train import TrainConfig  # it is made of what stands here

    refuse_unknown(sizes, TrainConfig.names(), f"key of profile {profile}")
    return profile, sizes
