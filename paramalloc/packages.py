"""Which packages are installed: their versions, and one line for what a command lacks."""

import sys
from importlib import metadata
from importlib.util import find_spec

from .errors import UserError

# What pip calls a package whose import has another name.
PIP_NAMES = {"IPython": "ipython", "vl_convert": "vl-convert-python", "yaml": "pyyaml"}


def package_version(name: str) -> str | None:
    """The version of a package by its metadata, else what it says itself once it is imported."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        version: str | None = getattr(sys.modules.get(name), "__version__", None)
        return version


def require(task: str, *names: str, instead: str = "") -> None:
    """UserError with the packages that a task needs and that are not installed.

    `names` are as they are imported; `instead` says what to do without them.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise UserError(lacks(task, missing) + instead)


def lacks(task: str, names: list[str]) -> str:
    """One line: which packages a task needs that are not installed, and what installs them.

    >>> lacks("report", ["altair", "vl_convert"])
    'report needs altair, vl_convert: pip install altair vl-convert-python'
    """
    to_install = " ".join(PIP_NAMES.get(name, name) for name in names)
    return f"{task} needs {', '.join(names)}: pip install {to_install}"
