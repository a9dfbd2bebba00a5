"""The built-in corpus: English prose of Python and the packages used here.

Docstrings and documentation, for the first run and for tests. They differ between environments,
so the corpus carries the versions it was taken from, and results on it are never compared across
environments.
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
from collections.abc import Iterable, Iterator
from pathlib import Path

# Always installed with paramalloc, so that an optional package changes nothing. The large ones
# are train text.
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
MIN_CHARS = 200  # of a document
KINDS = {".py", ".rst", ".md", ".txt"}
PRIVATE = re.compile(r"(^|/)_[^/]*/")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def versions() -> dict[str, str]:
    """What the text depends on: the versions of Python and of the packages that are here."""
    packages = {name: _distribution(name) for name in LARGE + SMALL}
    installed = {name: package.version for name, package in packages.items() if package}
    return {"python": platform.python_version()} | installed


def read_split(split: str) -> Iterator[str]:
    """The documents of train, valid or test."""
    return iter(_by_split()[split])


@functools.cache
def _by_split() -> dict[str, list[str]]:
    """The documents of each split, in a fixed order.

    No two are equal, and no unit (a package, a module of Python) is in two splits.
    """
    splits = {"train": [], "valid": [], "test": []}
    seen = set()
    for unit, paths in _units():
        # dict.fromkeys drops what the unit repeats and keeps the order.
        texts = dict.fromkeys(_documents(paths))
        fresh = [text for text in texts if text not in seen]
        seen.update(fresh)
        splits[_split_of_unit(unit)] += fresh
    for name in ("valid", "test"):
        splits[name] = _take_first(splits[name], HELD_OUT_CHARS)
    return splits


def _documents(paths: Iterable[Path]) -> Iterator[str]:
    """The prose of these files, without what is short or a licence."""
    for path in paths:
        for text in map(_prose, _texts(path)):
            if len(text) >= MIN_CHARS and not LICENCE.search(text):
                yield text


def _take_first(texts: list[str], chars: int) -> list[str]:
    """The first documents that have about so many characters together."""
    ends = itertools.accumulate(map(len, texts))
    return [text for text, end in zip(texts, ends, strict=True) if end <= chars]


def _split_of_unit(unit: str) -> str:
    """Large packages train; of the others two fifths are held out, by a hash of the name."""
    bucket = int(hashlib.sha256(unit.encode()).hexdigest(), 16) % 5
    if unit in LARGE or bucket > 1:
        return "train"
    return ("valid", "test")[bucket]


# Files


def _units() -> Iterator[tuple[str, list[Path]]]:
    """(name, files) of every top-level module of the standard library, then of every package."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.iterdir()):
        is_module = path.suffix == ".py" or (path / "__init__.py").exists()
        if is_module and path.name not in SKIP:
            yield path.stem, _select([path] if path.is_file() else path.rglob("*"), library)
    for name in LARGE + SMALL:
        package = _distribution(name)
        if package:
            root = Path(package.locate_file(""))
            yield name, _select((root / file for file in package.files or []), root)


def _distribution(name: str) -> importlib.metadata.Distribution | None:
    """An installed package; None where it is not."""
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _select(paths: Iterable[Path], root: Path) -> list[Path]:
    return sorted(path for path in paths if _is_public_text(path, root))


def _is_public_text(path: Path, root: Path) -> bool:
    """Whether a file is a public module or a document.

    Private folders and tests hold little prose and take most of the time.
    """
    if path.suffix not in KINDS and path.name != "METADATA":
        return False
    relative = path.relative_to(root)
    if SKIP & set(relative.parts) or PRIVATE.search(relative.as_posix()):
        return False
    return path.is_file()


# Texts


def _texts(path: Path) -> Iterator[str]:
    """The docstrings of a module, or the text of a document."""
    text = path.read_text(encoding="utf-8", errors="ignore")
    if path.name == "METADATA":
        yield text.partition("\n\n")[2]  # what follows the headers
    elif path.suffix != ".py":
        yield text
    elif len(text) < 2000 * text.count('"""'):  # else it takes long to parse and says little
        yield from map(inspect.cleandoc, _docstrings(_parse(text)))


def _docstrings(node: ast.AST) -> Iterator[str]:
    """Of a module, its classes and their methods, not of what functions hide."""
    yield ast.get_docstring(node, clean=False) or ""
    if isinstance(node, FUNCTIONS):
        return
    for child in node.body:
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
    paragraphs = (" ".join(block.split()) for block in re.split(r"\n\s*\n", text))
    return "\n".join(filter(_is_prose, paragraphs))


def _is_prose(paragraph: str) -> bool:
    if paragraph.startswith((">>>", "..", "$")):
        return False
    words = re.findall(r"[A-Za-z]{2,}", paragraph)
    letters = sum(map(len, words)) + len(paragraph.split())
    return len(words) >= 6 and letters >= 0.85 * len(paragraph)
