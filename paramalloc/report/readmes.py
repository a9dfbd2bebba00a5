"""The generated parts of README.md and of the folders' pages, written by `make docs`.

What stands between `<!-- generated: NAME -->` and `<!-- end -->` in a page is what the function
BLOCKS[NAME] returns: numbers of the published tables (published.py), and lists of the sweeps, the
profiles and the modules. All other words of a page are free.
"""

import ast
import re
from pathlib import Path

import yaml

from ..allocation import allocate
from ..config import ROOT, load_profile
from ..runs import data_dictionary
from ..sweep import load_sweep
from .published import (
    answer,
    larger_study,
    markdown_table,
    own_rates,
    published_tables,
    quick_speeds,
    reference_rows,
    three_shares,
    transfer_rates,
)

PAGES = [
    ROOT / "README.md",
    ROOT / "notebooks" / "README.md",
    ROOT / "params" / "README.md",
    ROOT / "outputs" / "README.md",
    ROOT / "paramalloc" / "README.md",
    ROOT / "tests" / "README.md",
]

# The rooms of paramalloc/, low to high: an import only ever points to a room above it in this list.
ROOMS = [
    "errors",
    "packages",
    "disk",
    "config",
    "allocation",
    "data",
    "runs",
    "model",
    "evaluation",
    "training",
    "sweep",
    "analysis",
    "plots",
    "report",
    "widgets",
    "export",
    "pack",
    "cli",
]

GENERATED = re.compile(r"<!-- generated: (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def write_pages() -> None:
    """Write the generated blocks of every page again."""
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")


def fill(text: str) -> str:
    """The text of a page with each generated block as it should be."""
    return GENERATED.sub(_filled, text)


def _filled(block: re.Match) -> str:
    name = block[1]
    return f"<!-- generated: {name} -->\n{BLOCKS[name]()}\n\n<!-- end -->"


def example() -> str:
    """The allocator's answer to one request, as a session of Python."""
    shape = allocate(total_params=10_000_000, embed_share=0.35, glu=2.66, vocab_size=16_000)
    request = "total_params=10_000_000, embed_share=0.35, glu=2.66, vocab_size=16_000"
    lines = [
        "```pycon",
        ">>> from paramalloc import allocate",
        f">>> print(allocate({request}))",
        str(shape),
        "```",
    ]
    return "\n".join(lines)


def sweep_questions() -> str:
    """Every sweep with the number of its cells and the question that opens its file."""
    rows = []
    for path in sorted((ROOT / "params").glob("*.yaml")):
        sweep = load_sweep(path.stem, profile=_own_profile(path) or "study")
        rows.append([f"[`{path.stem}`]({path.name})", len(sweep.cells), _question(path)])
    return markdown_table(["sweep", "cells", "question"], rows)


def _own_profile(path: Path) -> str:
    """The profile that a sweep names; empty where it takes any."""
    profile = yaml.safe_load(path.read_text(encoding="utf-8"))["profile"]
    return "" if profile == "auto" else profile


def _question(path: Path) -> str:
    """The entry `Question` of the comment that opens a sweep, its lines joined."""
    entry = re.search(r"^# Question (.*(?:\n#   .*)*)", path.read_text(encoding="utf-8"))
    return " ".join(entry[1].replace("\n#", " ").split())


def profile_sizes() -> str:
    """The sizes that each profile fills, a column a profile."""
    names = ["quick", "reference", "study"]
    sizes = [load_profile(name)[1] for name in names]
    rows = [[f"`{key}`", *(_size(size[key]) for size in sizes)] for key in sizes[0]]
    return markdown_table(["parameter", *names], rows)


def _size(value) -> str:
    if value is False:
        return "off"  # which YAML reads as a boolean
    return f"{value:,}" if isinstance(value, int) else str(value)


def package_map() -> str:
    """Every module of the package, low to high, with the first sentence of its docstring."""
    lines = []
    for name in ROOMS:
        room = ROOT / "paramalloc" / name
        if not room.is_dir():
            lines.append(f"- **[`{name}.py`]({name}.py)**: {_says(room.with_suffix('.py'))}")
            continue
        lines.append(f"- **[`{name}/`]({name}/__init__.py)**: {_says(room / '__init__.py')}")
        for module in sorted(room.glob("[!_]*.py")):
            lines.append(f"  - [`{module.name}`]({name}/{module.name}): {_says(module)}")
    return "\n".join(lines)


def _says(module: Path) -> str:
    """The first sentence of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return re.match(r"(.*?[.?!]|)(?:\s|$)", " ".join(docstring.split()))[1]


BLOCKS = {
    block.__name__: block
    for block in (
        answer,
        data_dictionary,
        example,
        larger_study,
        own_rates,
        package_map,
        profile_sizes,
        published_tables,
        quick_speeds,
        reference_rows,
        sweep_questions,
        three_shares,
        transfer_rates,
    )
}

if __name__ == "__main__":
    write_pages()
