"""RESULTS.md, results.csv and figures/: the report for GitHub."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..analysis import NO_RUNS, fit_surface, reach_verdict
from ..plots import Picture
from ..runs import Note, as_csv, write_text
from . import tables, text
from .limitations import limits
from .tables import code, plain

# What stands in the open; every other figure is folded under "More evidence".
PICTURE, CERTAINTY, COST, SHARE = (
    ["share_glu_heatmap"],
    ["difference_forest"],
    ["pareto_speed", "pareto_decode"],
    ["response_surface", "share_tradeoff"],
)

# What explains the picture, the main effects and each section: the words of notebooks/analysis.
CELLS = (
    "Every *cell* spends the same parameter budget in another way: a requested share of it on the embedding, and a requested GLU "
    "expansion (d_ff / d_model) of the MLP; as many layers as fit take what is left. With one table for input and output (tied) the share sets the "
    "width, d_model = share × parameters / vocabulary, so a larger share is a wider and shallower model, and a larger expansion a shallower one. "
    "The cells train on the same tokens; the lower dev loss (nats per token) wins."
)
EFFECTS = "Several cells together are surer than one: each share on the mean of the expansions, each expansion on the mean of the shares."
SECTIONS = {
    "How sure is that?": "Another seed would have given other losses. Each cell is compared with the baseline, 35 % × 2.66, on the same seeds.",
    "What does a low loss cost?": "A cell is Pareto-efficient if no other one is at least as good in both and better in one. First the cells on "
    "the front as measured, then those that the noise does not rule out; in brackets how probable a place on the front "
    "is, given the noise of losses and speeds.",
    "Share, width or depth?": "With a tied embedding the share is the width, and the depth pays for both: nothing moves alone. A surface over both shows where "
    "the loss is lowest; factorized arms, which keep the width, show whether it is the share or what it displaces.",
    "The cells": "Layers are whole numbers, so what was realised differs from what was requested. Cells are named and grouped by the request; "
    "the surface uses what was realised.",
    "More evidence": "Where the parameters are, how the losses came down, and in which tokens a share wins.",
}


def write_results(
    runs: pd.DataFrame,
    figures: dict[str, Picture | Note],
    folder: Path,
    command: str = "make reports",
) -> Note:
    """RESULTS.md (last), results.csv and figures/*.svg under `folder`, each replaced whole; without runs, nothing."""
    if runs.empty:
        return Note(NO_RUNS)
    folder, drawn = (
        Path(folder),
        {name: figure for name, figure in figures.items() if isinstance(figure, Picture)},
    )
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():
        write_text(folder / "figures" / f"{name}.svg", figure.svg)
    for old in set((folder / "figures").glob("*.svg")) - {
        folder / "figures" / f"{name}.svg" for name in drawn
    }:
        old.unlink()
    write_text(folder / "results.csv", as_csv(runs))
    write_text(folder / "RESULTS.md", _results(runs, figures, command))
    return Note(
        f"Wrote RESULTS.md, results.csv ({len(runs)} runs) and {len(drawn)} figures to {code('reports/' + folder.name)}."
    )


def _results(runs: pd.DataFrame, figures: dict, command: str) -> str:
    """The text of RESULTS.md: the answer first, then what it rests on."""
    show = lambda names: "\n\n".join(
        _figure(name, figures[name]) for name in names if name in figures
    )
    more = [name for name in figures if name not in [*PICTURE, *CERTAINTY, *COST, *SHARE]]
    sections = [
        f"# {text.TITLE}",
        reach_verdict(runs)._repr_markdown_(),
        str(text.scale(runs)),
        CELLS,
        show(PICTURE),
        *_section("How sure is that?"),
        show(CERTAINTY),
        *_effects(runs),
        str(text.certainty(runs)),
        *_section("What does a low loss cost?"),
        _table(tables.fronts(runs)),
        show(COST),
        *_section("Share, width or depth?"),
        str(surface_text(runs)),
        show(SHARE),
        *_section("The cells"),
        _table(tables.readable(runs)),
        str(text.corpus(runs)),
        *(
            [
                *_section("More evidence"),
                "<details><summary>Learning curves, further fronts, arms</summary>",
                show(more),
                "</details>",
            ]
            if more
            else []
        ),
        "## Methods",
        str(text.methods(runs)),
        "## Limits",
        str(limits(runs)),
        "## Runs without a final loss",
        str(text.unfinished(runs)),
        "## Provenance",
        str(text.provenance(runs, command)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _section(title: str) -> list[str]:
    """Its heading, and the words that explain it."""
    return [f"## {title}", SECTIONS[title]]


def surface_text(runs: pd.DataFrame) -> Note:
    """Where the fitted surface has its minimum, if it can be told."""
    found = fit_surface(runs)
    text = (
        found.text if found else "Too few cells vary in share and GLU for a surface between them."
    )
    return Note(
        f"{text} For a budget of your own: `paramalloc recommend --total-params N --vocab-size V`."
    )


def _effects(runs: pd.DataFrame) -> list[str]:
    """Main effects with their explanation; without them, why not."""
    found = tables.effects(runs)
    return [str(found)] if isinstance(found, Note) else [EFFECTS, _table(found)]


def _table(table: tables.Table | Note) -> str:
    return str(table) if isinstance(table, Note) else tables.markdown(table.frame)


def _figure(name: str, figure: Picture | Note) -> str:
    """A picture with its numbers folded behind it, or the sentence that says why there is none."""
    if isinstance(figure, Note):
        return str(figure)
    picture = f"![{plain(figure.text)}](figures/{name}.svg)"
    if not figure.spec:
        return picture
    behind = pd.DataFrame(
        **{key: figure.spec["usermeta"]["table"][key] for key in ("data", "columns")}
    )
    return f"{picture}\n\n<details><summary>The numbers</summary>\n\n{tables.markdown(behind)}\n\n</details>"
