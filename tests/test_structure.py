"""The code keeps its order: imports point down, packages say what they export, names are unique."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

from paramalloc.report.readmes import ROOMS

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "paramalloc").rglob("*.py"))
PACKAGES = [path for path in MODULES if path.name == "__init__.py"]
CALLERS = [*MODULES, *sorted(ROOT.glob("notebooks/*.py")), *sorted(ROOT.glob("tests/**/*.py"))]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT / "paramalloc"))


def room_of(path: Path) -> str:
    """`errors` for paramalloc/errors.py, `data` for a file in paramalloc/data/."""
    return path.relative_to(ROOT / "paramalloc").parts[0].removesuffix(".py")


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """The absolute dotted name of everything a file imports, anywhere in it, types excepted."""
    package = path.relative_to(ROOT).parts[:-1]
    tree = parse(path)
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            start = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


# ---- imports


def test_light_modules_import_no_torch():
    """Allocating, reading runs and analysing start at once: torch takes seconds to import."""
    light = "paramalloc paramalloc.config paramalloc.allocation paramalloc.runs paramalloc.analysis"
    code = f"import sys, {light.replace(' ', ', ')}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path):
    """A module imports only modules below it: a file can be read knowing only those before it."""
    room = room_of(path)
    if room.startswith("__"):
        return  # the package's face may show any of its modules
    used = {name.split(".")[1] for name in imports(path) if name.startswith("paramalloc.")} - {room}
    assert room in ROOMS, f"give {room} its place in ROOMS"
    assert used & set(ROOMS) <= set(ROOMS[: ROOMS.index(room)])


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_imports_of_a_package_make_no_circle(package):
    """Also within a package there is an order in which its modules can be read."""
    modules = {path.stem for path in package.parent.glob("*.py")} - {"__init__"}
    graph = {}
    for path in package.parent.glob("*.py"):
        base = ".".join(path.relative_to(ROOT).parts[:-1])
        used = {name.removeprefix(f"{base}.").split(".")[0] for name in imports(path)}
        graph[path.stem] = used & modules - {path.stem}
    TopologicalSorter(graph).prepare()  # raises CycleError


# ---- what packages export


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_a_package_says_what_it_is_for_and_what_it_exports(package):
    """A docstring, and `__all__` written out: the names that it imports, each of which exists."""
    tree = parse(package)
    assert ast.get_docstring(tree)
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }
    module = import_module(".".join(package.parent.relative_to(ROOT).parts))
    assert len(module.__all__) == len(set(module.__all__))
    assert set(module.__all__) == imported
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("package", PACKAGES[1:], ids=name_of)
def test_what_a_package_exports_is_used(package):
    """By a file outside it, tests and notebooks included; classes may also be there to be named."""
    name = package.parent.name
    module = import_module(f"paramalloc.{name}")
    callers = [path for path in CALLERS if package.parent not in path.parents]
    imported = {full for path in callers for full in imports(path)}
    texts = "\n".join(path.read_text(encoding="utf-8") for path in callers)
    used = set(re.findall(rf"\b{name}\.(\w+)", texts))
    unused = [
        export
        for export in module.__all__
        if export not in used
        and f"paramalloc.{name}.{export}" not in imported
        and not isinstance(getattr(module, export), type)
    ]
    assert unused == []


# ---- names


def top_level_names(path: Path) -> Iterator[str]:
    """The functions, classes and variables that a module defines."""
    for node in parse(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def test_a_name_means_one_thing():
    """No public top-level name is defined in two modules of the package."""
    places = defaultdict(list)
    for path in MODULES:
        for name in set(top_level_names(path)):
            if not name.startswith("_"):
                places[name].append(name_of(path))
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}
