"""The built-in corpus: English prose that is on every machine, from the installed Python and this project's packages.

Docstrings and documentation, for the first run and for tests. It differs from one environment to the next, so it
carries the versions it was taken from, and results on it are never compared across environments.
"""

import ast
import functools
import hashlib
import importlib.metadata
import inspect
import itertools
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

# Always installed with paramalloc: an optional package beside them changes nothing. The large ones are train text.
LARGE = [
    "torch",
    "numpy",
    "pandas",
    "networkx",
    "datasets",
    "huggingface-hub",
    "pyarrow",
    "ipython",
]
SMALL = [
    "filelock",
    "fsspec",
    "httpx",
    "ipykernel",
    "ipywidgets",
    "jinja2",
    "jupyter-client",
    "jupytext",
    "nbclient",
    "nbconvert",
    "nbformat",
    "papermill",
    "requests",
    "safetensors",
    "tokenizers",
    "tqdm",
    "traitlets",
    "urllib3",
]
SKIP = {
    "test",
    "tests",
    "testing",
    "idlelib",
    "lib2to3",
    "licenses",
    "site-packages",
    "dist-packages",
}
LICENCE = re.compile(
    r"permission is hereby granted|redistribution and use|licensed under|copyright \(c\)", re.I
)
HELD_OUT_CHARS = 160_000  # per held-out split: about 40k tokens at vocabulary 4,096
MIN_CHARS = 200
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def versions() -> dict[str, str]:
    """What the text depends on: the versions of Python and of the packages that are here."""
    found = {"python": platform.python_version()}
    for name in LARGE + SMALL:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def _by_split() -> dict[str, list[str]]:
    """The documents of each split, in a fixed order; no two are equal, no unit (package, module) is in two splits."""
    splits, seen = {"train": [], "valid": [], "test": []}, set()
    for unit, paths in _units():
        texts = [
            text for path in paths for text in map(_prose, _texts(path)) if len(text) >= MIN_CHARS
        ]
        fresh = [
            text for text in dict.fromkeys(texts) if text not in seen and not LICENCE.search(text)
        ]
        split = splits[_split(unit)]
        seen.update(fresh)
        split += fresh
    return splits | {name: _first(splits[name], HELD_OUT_CHARS) for name in ("valid", "test")}


def read_split(split: str) -> Iterator[str]:
    return iter(_by_split()[split])


def _first(texts: list[str], chars: int) -> list[str]:
    """The first documents that have about so many characters together."""
    ends = itertools.accumulate(map(len, texts))
    return [text for text, end in zip(texts, ends) if end <= chars]


def _split(unit: str) -> str:
    """A fixed rule: the large packages train, two fifths of the small units are held out by their hash."""
    bucket = int(hashlib.sha256(unit.encode()).hexdigest(), 16) % 5
    return "train" if unit in LARGE or bucket > 1 else ("valid", "test")[bucket]


def _units() -> Iterator[tuple[str, list[Path]]]:
    """(name, files) of every top-level module of the standard library, then of every package."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.iterdir()):
        if path.name not in SKIP and (path.suffix == ".py" or (path / "__init__.py").exists()):
            yield path.stem, _wanted([path] if path.is_file() else path.rglob("*"), library)
    for name in LARGE + SMALL:
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        root = Path(package.locate_file(""))
        yield name, _wanted((root / file for file in package.files or []), root)


def _wanted(paths, root: Path) -> list[Path]:
    """Public modules and documents: private folders and tests hold little prose and take most of the time."""
    kinds, private = {".py", ".rst", ".md", ".txt"}, re.compile(r"(^|/)_[^/]*/")
    return sorted(
        p
        for p in paths
        if (p.suffix in kinds or p.name == "METADATA")
        and not SKIP & set(p.relative_to(root).parts)
        and not private.search(p.relative_to(root).as_posix())
        and p.is_file()
    )


def _texts(path: Path) -> Iterator[str]:
    """The docstrings of a module, or the text of a document (of METADATA: what follows the headers)."""
    text = path.read_text(encoding="utf-8", errors="ignore")
    if path.suffix != ".py":
        yield text.partition("\n\n")[2] if path.name == "METADATA" else text
    elif len(text) < 2000 * text.count('"""'):  # else it takes long to parse and says little
        for docstring in _docstrings(_parse(text)):
            yield inspect.cleandoc(docstring)


def _docstrings(node: ast.AST) -> Iterator[str]:
    """Of a module, its classes and their methods; what hides inside functions is not looked for."""
    yield ast.get_docstring(node, clean=False) or ""
    for child in [] if isinstance(node, FUNCTIONS) else node.body:
        if isinstance(child, (ast.ClassDef, *FUNCTIONS)):
            yield from _docstrings(child)


def _parse(text: str) -> ast.Module:
    try:
        with warnings.catch_warnings(action="ignore"):  # odd escapes in other people's strings
            return ast.parse(text)
    except (SyntaxError, ValueError):  # a template, or a file for another Python
        return ast.Module([], [])


def _prose(text: str) -> str:
    """The paragraphs that are mostly words (no examples, tables or option lists), one per line."""
    joined = (" ".join(p.split()) for p in re.split(r"\n\s*\n", text))
    return "\n".join(filter(_is_prose, joined))


def _is_prose(paragraph: str) -> bool:
    words = re.findall(r"[A-Za-z]{2,}", paragraph)
    letters = sum(map(len, words)) + len(paragraph.split())
    return (
        len(words) >= 6
        and letters >= 0.85 * len(paragraph)
        and not paragraph.startswith((">>>", "..", "$"))
    )
