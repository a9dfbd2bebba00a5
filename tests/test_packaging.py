"""The files around the code agree: dependencies, citation, notebooks, and no path of a machine."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import jupytext
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from test_structure import MODULES, imports

import paramalloc

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

PAIRS = sorted((ROOT / "notebooks").glob("*.py"))


def declared() -> dict[str, Requirement]:
    """Every requirement of pyproject.toml, extras included, by its normalised name."""
    extras = PROJECT["optional-dependencies"].values()
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


def pinned() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


# ---- dependencies


def test_pins_and_dependencies_are_the_same_packages():
    """requirements.txt pins what pyproject.toml names, nothing less and nothing more."""
    assert pinned().keys() == declared().keys()


@pytest.mark.parametrize("name", sorted(pinned()))
def test_pin_lies_within_its_bounds(name):
    """A pin that its own bounds refuse would make the constraints unsolvable."""
    assert declared()[name].specifier.contains(pinned()[name], prereleases=True)


def test_every_import_is_declared():
    """All imports are the standard library's, our own, or of a declared dependency."""
    tests = list((ROOT / "tests").rglob("*.py"))
    ours = {"paramalloc", *(path.parent.name for path in tests), *(path.stem for path in tests)}
    found = {name.split(".")[0] for path in [*MODULES, *PAIRS, *tests] for name in imports(path)}
    distributions = packages_distributions()
    needed = {
        canonicalize_name(d)
        for m in found - ours - sys.stdlib_module_names
        for d in distributions.get(m, [m])
    }
    assert needed - declared().keys() - {"packaging"} == set()  # packaging is part of pytest


def test_conda_environment_agrees_with_pyproject():
    """The conda environment: the same Pythons, the constraints, the package with all extras."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, by_pip = environment["dependencies"]
    assert environment["name"] == PROJECT["name"] and pip == "pip"
    assert SpecifierSet(python.removeprefix("python")) == SpecifierSet(PROJECT["requires-python"])
    extras = ",".join(PROJECT["optional-dependencies"])
    assert by_pip == {"pip": ["-c requirements.txt", f"-e .[{extras}]"]}


# ---- citation


def test_licence_and_citation_agree():
    """LICENSE, CITATION.cff, pyproject.toml and the README's BibTeX name one title and author."""
    licence = (ROOT / "LICENSE").read_text()
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    citation = cff["preferred-citation"]
    bibtex = re.search(
        r"@\w+\{stellux2024param,(.*?)\n\}", (ROOT / "README.md").read_text(), re.DOTALL
    ).group(1)
    fields = dict(re.findall(r"(\w+)\s*=\s*[{\"]+(.*?)[}\"]+,?\s*$", bibtex, re.MULTILINE))

    (author,) = PROJECT["authors"]
    assert (
        licence.startswith("MIT License") and f"(c) {citation['year']} {author['name']}" in licence
    )
    assert cff["license"] == PROJECT["license"] == "MIT"
    assert cff["version"] == PROJECT["version"] == paramalloc.__version__
    assert cff["authors"] == citation["authors"] == [author] == [{"name": fields["author"]}]
    assert cff["title"] == citation["title"] == fields["title"]
    assert str(citation["year"]) == fields["year"] == "2024"


# ---- the tree


def test_no_file_names_a_machine():
    """No file holds an absolute path of a home or a build folder, which one machine alone has."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("needs a git clone")
    homes = "|".join(["home/[a-z]", "Users/[A-Za-z]", "root/", "tmp/[a-z]", "private/var/"])
    local = re.compile(rf"(?<![\w.~}})])/(?:{homes})|{re.escape(str(ROOT))}(?!\w)")
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    texts = {path: path.read_bytes().decode(errors="ignore") for path in files if path.is_file()}
    assert {
        str(path): local.search(text).group() for path, text in texts.items() if local.search(text)
    } == {}


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_notebook_pair_agrees(path):
    """The .ipynb holds the cells of its .py: types, sources and tags (`jupytext --sync`)."""

    def cells(file):
        return [
            (c.cell_type, c.source, c.metadata.get("tags", [])) for c in jupytext.read(file).cells
        ]

    assert cells(path) == cells(path.with_suffix(".ipynb"))


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.stem)
def test_notebook_is_stored_clean(path):
    """Stored notebooks hold no outputs, name their kernel, and every cell has an id of its own."""
    notebook = json.loads(path.with_suffix(".ipynb").read_text())
    cells = notebook["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


def test_every_notebook_has_a_source():
    """No .ipynb without its .py."""
    assert {p.stem for p in (ROOT / "notebooks").glob("*.ipynb")} == {path.stem for path in PAIRS}
