"""A Python that has little: torch and seven more packages with what they need, no metadata."""

import os
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LITTLE = ["torch", "numpy", "pandas", "scipy", "tokenizers", "safetensors", "pyyaml", "tqdm"]
ABSENT = {"huggingface-hub", "pyarrow"}  # tokenizers and pandas name them and do without
ROOT = Path(__file__).resolve().parents[1]


def make_bare_python(folder: Path) -> Path:
    """A virtual environment in `folder` with links to the packages; its Python."""
    base = Path(sys.base_prefix, "bin", f"python{sysconfig.get_python_version()}")
    subprocess.run([base, "-m", "venv", "--without-pip", folder], check=True)
    [site] = folder.glob("lib/python*/site-packages")
    for name in _needed():
        package = metadata.distribution(name)
        tops = {file.parts[0] for file in package.files or []} - {"..", "__pycache__"}
        for top in tops:
            if not top.endswith(".dist-info") and not (site / top).exists():
                (site / top).symlink_to(package.locate_file(top))
    return folder / "bin" / "python"


def _needed() -> set[str]:
    """The packages of LITTLE, and what they cannot do without."""
    todo = list(LITTLE)
    needed = set()
    while todo:
        name = canonicalize_name(todo.pop())
        if name in needed | ABSENT:
            continue
        needed.add(name)
        wanted = map(Requirement, metadata.requires(name) or [])
        todo += [one.name for one in wanted if not one.marker or one.marker.evaluate({"extra": ""})]
    return needed


def run_bare(python: Path, *words: str, cwd: Path = ROOT, **variables: str):
    """The finished process of `python -m paramalloc WORDS`, with no git to be found."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [python, "-m", "paramalloc", *words],
        cwd=cwd,
        env=environment | {"PATH": str(python.parent)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
