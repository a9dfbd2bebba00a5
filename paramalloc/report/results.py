"""RESULTS.md, results.csv and figures/: the report for GitHub."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..analysis import NO_COMPARISON, NO_RUNS, fit_surface, is_screening
from ..plots import Picture
from ..runs import Note, as_csv, write_text
from .early_order import how_early
from .limitations import limits
from .markup import Table, code, escape_markdown, frame_to_markdown
from .open_runs import unfinished
from .origin import provenance
from .recipe import methods
from .scatter import scatter_by_cell, scatter_by_share
from .summary import REPORT_TITLE, conclusion, corpus, reasons, scale
from .tables import cell_results, cell_shapes, effects, fronts
from .uncertainty import certainty

# The figures of each section; all others are folded under "More evidence".
FIGURES = {
    "answer": ["share_glu_heatmap"],
    "certainty": ["difference_forest"],
    "early": ["order_by_budget"],
    "cost": ["pareto_speed", "pareto_decode"],
    "share": ["response_surface", "share_tradeoff"],
}

# What explains the picture, the main effects and each section: the words of notebooks/analysis.
CELL_DEFINITION = (
    "Every *cell* spends the same parameter budget differently. It requests a share of it for the"
    " embedding and a GLU expansion (d_ff / d_model) for the MLP; layers take the rest. With one"
    " table for input and output (tied), d_model = share × parameters / vocabulary. So a larger"
    " share is a wider and shallower model, and a larger expansion a shallower one. All cells"
    " train on the same tokens, and the lowest dev loss (nats per token) wins."
)
EFFECTS_INTRODUCTION = (
    "Several cells together are surer than one. Each share is averaged over the expansions, each"
    " expansion over the shares."
)
SECTIONS = {
    "How sure is that?": (
        "Another seed would have given other losses. Each cell is compared with the baseline on"
        " the same seeds."
    ),
    "How early was the order known?": (
        "A pair of cells is right at a smaller budget if its mean losses there have the order of"
        " the final means. Runs that are cut short share their noise with their end; separate runs"
        " do not."
    ),
    "What does a low loss cost?": (
        "A cell is Pareto-efficient if no other one is at least as good in both and better in"
        " one. The table names the cells on the front as measured, then those that the noise does"
        " not rule out. In brackets: how probable a place on the front is, given the noise of"
        " losses and speeds."
    ),
    "Share, width or depth?": (
        "With a tied embedding the share is the width, and the depth makes room for both: nothing"
        " moves alone. A surface over both shows where the loss is lowest. Factorized arms keep"
        " the width, and show whether it is the share or what it displaces."
    ),
    "The cells": (
        "Layers are whole numbers, so the realised share and expansion differ from the requested"
        " ones. Cells are named and grouped by the request; the surface uses what was realised."
    ),
    "More evidence": (
        "These charts show where the parameters are, how the losses came down, and in which"
        " tokens a share wins."
    ),
}


def write_results(
    runs: pd.DataFrame,
    figures: dict[str, Picture | Note],
    folder: Path,
    command: str = "make reports",
) -> Note:
    """RESULTS.md (last), results.csv and figures/*.svg under `folder`, each replaced whole.

    Without runs nothing is written. `command` is what writes the report again.
    """
    if runs.empty:
        return Note(NO_RUNS)
    folder = Path(folder)
    pictures = {name: each for name, each in figures.items() if isinstance(each, Picture)}
    _write_figures(pictures, folder / "figures")
    write_text(folder / "results.csv", as_csv(runs))
    write_text(folder / "RESULTS.md", _results_text(runs, figures, command))
    name = code(f"reports/{folder.name}")
    return Note(
        f"Wrote RESULTS.md, results.csv ({len(runs)} runs) and {len(pictures)} figures to {name}."
    )


def _write_figures(pictures: dict[str, Picture], folder: Path):
    """Write the pictures; those of an earlier report that this one does not have go."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        write_text(folder / f"{name}.svg", picture.svg)
    for path in folder.glob("*.svg"):
        if path.stem not in pictures:
            path.unlink()


def _results_text(runs: pd.DataFrame, figures: dict[str, Picture | Note], command: str) -> str:
    """The text of RESULTS.md: the answer first, then what it rests on.

    A screening compares nothing, so the sections that do are left out.
    """
    parts = [
        f"# {REPORT_TITLE}",
        conclusion(runs),
        reasons(runs),
        scale(runs),
        *_figure_parts(figures, FIGURES["answer"]),
        CELL_DEFINITION,
        *([] if is_screening(runs) else _comparison_parts(runs, figures)),
        *_section("The cells"),
        _table_markdown(cell_results(runs)),
        *_shapes_part(runs),
        corpus(runs),
        *_evidence_parts(figures),
        "## Methods",
        methods(runs),
        "## Limits",
        limits(runs),
        "## Runs without a final loss",
        unfinished(runs),
        "## Provenance",
        provenance(runs, command),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _comparison_parts(runs: pd.DataFrame, figures: dict[str, Picture | Note]) -> list[str]:
    """The sections that compare cells."""
    return [
        *_section("How sure is that?"),
        *_figure_parts(figures, FIGURES["certainty"]),
        *_effect_parts(runs),
        certainty(runs),
        *_scatter_parts(runs),
        *_early_parts(runs, figures),
        *_section("What does a low loss cost?"),
        _table_markdown(fronts(runs)),
        *_figure_parts(figures, FIGURES["cost"]),
        *_section("Share, width or depth?"),
        surface_minimum(runs),
        *_figure_parts(figures, FIGURES["share"]),
    ]


def _section(title: str) -> list[str]:
    """Its heading, and the words that explain it."""
    return [f"## {title}", SECTIONS[title]]


def surface_minimum(runs: pd.DataFrame) -> Note:
    """Where the fitted surface has its minimum, if that can be said."""
    if is_screening(runs):
        return Note(NO_COMPARISON)
    surface = fit_surface(runs)
    text = "Too few cells vary in share and GLU for a surface between them."
    if surface:
        text = surface.text
    return Note(
        f"{text} For a budget of your own: `paramalloc recommend --total-params N --vocab-size V`."
    )


def _effect_parts(runs: pd.DataFrame) -> list[str]:
    """The main effects with their introduction; without them, why not."""
    table = effects(runs)
    if isinstance(table, Note):
        return [table]
    return [EFFECTS_INTRODUCTION, _table_markdown(table)]


def _early_parts(runs: pd.DataFrame, figures: dict[str, Picture | Note]) -> list[str]:
    """When the order was known; nothing where no smaller budget was looked at."""
    text = how_early(runs)
    if not text:
        return []
    parts = [*_section("How early was the order known?"), text]
    return [*parts, *_figure_parts(figures, FIGURES["early"])]


def _scatter_parts(runs: pd.DataFrame) -> list[str]:
    """How far the runs of each share scatter, the cells folded; nothing where no seed repeats."""
    by_share, by_cell = scatter_by_share(runs), scatter_by_cell(runs)
    if isinstance(by_share, Note) or isinstance(by_cell, Note):
        return []
    summary = "<details><summary>How far the runs of each cell scatter</summary>"
    return [_table_markdown(by_share), summary, _table_markdown(by_cell), "</details>"]


def _shapes_part(runs: pd.DataFrame) -> list[str]:
    """The table of shapes; without cells nothing, as the table before it says why."""
    table = cell_shapes(runs)
    if isinstance(table, Note):
        return []
    return [_table_markdown(table)]


def _evidence_parts(figures: dict[str, Picture | Note]) -> list[str]:
    """All further figures, folded."""
    shown = [name for names in FIGURES.values() for name in names]
    further = [name for name in figures if name not in shown]
    if not further:
        return []
    return [
        *_section("More evidence"),
        "<details><summary>Learning curves, further fronts, arms</summary>",
        *dict.fromkeys(_figure_parts(figures, further)),
        "</details>",
    ]


def _table_markdown(table: Table | Note) -> str:
    return table if isinstance(table, Note) else frame_to_markdown(table.frame)


def _figure_parts(figures: dict[str, Picture | Note], names: list[str]) -> list[str]:
    return [_figure_markdown(name, figures[name]) for name in names if name in figures]


def _figure_markdown(name: str, figure: Picture | Note) -> str:
    """A picture with its numbers folded behind it, or the sentence that says why there is none."""
    if isinstance(figure, Note):
        return figure
    picture = f"![{escape_markdown(figure.text)}](figures/{name}.svg)"
    if not figure.spec:
        return picture
    table = figure.spec["usermeta"]["table"]
    numbers = frame_to_markdown(pd.DataFrame(table["data"], columns=table["columns"]))
    return f"{picture}\n\n<details><summary>The numbers</summary>\n\n{numbers}\n\n</details>"
