"""The arms: what happens to the answer when one more thing than the allocation changes."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from ..analysis import arm, matching_runs
from ..runs import COLUMNS, Note, baseline_request
from .base import describe_rows, needs_runs, titled
from .lines import interval_lines, padded_scale
from .theme import PERCENT, SI


@dataclass(frozen=True)
class Arm:
    """A question about one more column than the allocation's, and how its answer is drawn."""

    question: str
    column: str
    "the column of the runs that varies"
    x: str
    "what stands on the x axis: that column, or the share"
    x_title: str
    legend: str = ""
    "what the lines are"
    line: str = ""
    "the column with a line for each value; empty: a line for each cell"
    free: tuple[str, ...] = ()
    "what else varies with the column"
    quality: str = "dev_loss"


BY_CELL = "share × GLU"
ARMS = {
    "sizes": Arm(
        "How does quality grow with the parameters?",
        column="total_params",
        x="total_params",
        x_title="parameters",
        legend=BY_CELL,
        free=("tokens",),
    ),
    "vocabulary": Arm(
        "How large should the vocabulary be?",
        column="vocab_size",
        x="vocab_size",
        x_title="vocabulary (tokens)",
        quality="dev_bpb",
    ),
    "budget": Arm(
        "Does the winner change with the training budget?",
        column="tokens",
        x="tokens",
        x_title="training tokens",
        legend=BY_CELL,
    ),
    "tying": Arm(
        "One table for input and output, or two?",
        column="embedding",
        x="share",
        x_title="requested embedding share",
        legend="embedding",
        line="embedding",
    ),
    "gate": Arm(
        "Does the gate earn its parameters?",
        column="mlp",
        x="share",
        x_title="requested embedding share",
        legend="MLP",
        line="mlp",
    ),
    "low_share": Arm(
        "How small may the embedding be?",
        column="requested_share",
        x="share",
        x_title="requested embedding share",
        legend="displaced",
        line="traded_against",
        free=("embedding",),
    ),
}


@needs_runs
def arm_chart(runs: pd.DataFrame, name: str):
    """The quality against what the arm `name` of ARMS varies, with 95 % CIs.

    A Note with the command of its sweep where its runs are not there.
    """
    spec = ARMS[name]
    cells = _arm_cells(runs, name)
    if cells.empty:
        return Note(
            f"{spec.question} `paramalloc sweep params/{name}.yaml` answers that;"
            " its runs are not here."
        )
    quality = COLUMNS[spec.quality].title
    rows, tips, table = describe_rows(
        _arm_points(cells, name),
        {
            "cell": "{cell}",
            spec.x_title: "{percent:.0f} %" if spec.x == "share" else "{at:,.0f}",
            spec.legend or "line": "{line}",
            quality: f"{{{spec.quality}:.4f}}",
            "95 % CI over seeds": "[{low:.4f}, {high:.4f}]",
            "seeds": "{n_seeds}",
            "learning rate": "{lr:g}",
        },
    )
    y = alt.Y(f"{spec.quality}:Q", title=quality)
    chart = interval_lines(rows, tips, _arm_axis(spec), y, "line", spec.legend or None)
    return titled(chart, spec.question, _arm_subtitle(rows, quality), table)


# ---------------------------------------------------------------- data


def _arm_cells(runs: pd.DataFrame, name: str) -> pd.DataFrame:
    """The cells of an arm, as `arm` describes them; none where its column does not vary."""
    spec = ARMS[name]
    runs = _arm_runs(runs, name)
    if not _varies(runs[spec.column]):
        return runs.head(0)
    cells = arm(runs, spec.line or spec.column, spec.quality, spec.free)
    if spec.legend != BY_CELL:
        return cells
    if name == "budget":
        # A rate chosen at one budget alone, as lr_check's, would count as an effect of the budget.
        cells = cells[cells.groupby("cell").lr.transform("nunique") == 1]
    # A cell at one value alone says nothing about the others.
    span = cells.groupby("cell")[spec.column].transform(np.ptp)
    cells = cells[span > 0.1 * cells[spec.column]]
    if name == "budget" and cells.cell.nunique() < 2:
        return cells.head(0)  # one cell alone has no winner
    return cells


def _arm_runs(runs: pd.DataFrame, name: str) -> pd.DataFrame:
    """The completed runs that differ from the study's in the arm's own column alone."""
    runs = runs[(runs.status == "completed") & runs.total_params.notna()]
    spec = ARMS[name]
    arm_runs = matching_runs(runs, spec.column, *spec.free)
    if name in SELECTIONS:
        return SELECTIONS[name](arm_runs, runs)
    if name == "tying":
        arm_runs = arm_runs[arm_runs.embedding.isin(["tied", "untied"])]
    if spec.x == "share":
        _, baseline_glu = baseline_request(arm_runs)
        arm_runs = arm_runs[np.isclose(arm_runs.requested_glu.astype(float), baseline_glu)]
    return arm_runs


def _at_tokens_per_parameter(arm_runs: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs at about as many tokens per parameter as the study's."""
    study = matching_runs(runs)
    ratio = (arm_runs.tokens / arm_runs.total_params) / (study.tokens / study.total_params).median()
    return arm_runs[ratio.between(0.8, 1.25)]


def _one_shape(arm_runs: pd.DataFrame, _) -> pd.DataFrame:
    """The runs of the width and GLU expansion that were trained with the most vocabularies.

    Fewer layers make room for the table. d_ff takes up what is less than a layer, which moves the
    expansion by up to 6 %.
    """
    shapes = []
    for run in arm_runs.itertuples():
        same_glu = np.isclose(arm_runs.glu, run.glu, rtol=0.06)
        shapes.append(arm_runs[(arm_runs.d_model == run.d_model) & same_glu])
    return max(shapes, key=lambda shape: shape.vocab_size.nunique(), default=arm_runs)


def _factorized(arm_runs: pd.DataFrame, _) -> pd.DataFrame:
    """The factorized runs, by what the share displaces; none where no share is below the grid's."""
    rows = arm_runs[arm_runs.embedding == "factorized"]
    if not (rows.requested_share < 0.25).any():
        return rows.assign(traded_against=None).head(0)
    return rows.assign(traded_against=np.where(rows.requested_glu.isna(), "the MLP", "the depth"))


SELECTIONS = {
    "sizes": _at_tokens_per_parameter,
    "vocabulary": _one_shape,
    "low_share": _factorized,
}


def _varies(values: pd.Series) -> bool:
    """Numbers within 10 % of each other count as one."""
    if not pd.api.types.is_numeric_dtype(values):
        return values.nunique() > 1
    return bool((values.sort_values().pct_change() > 0.1).any())


def _arm_points(cells: pd.DataFrame, name: str) -> pd.DataFrame:
    """The cells with their place on the x axis and their line."""
    spec = ARMS[name]
    share = cells.cell.str.extract(r"^([\d.]+) %")[0].astype(float) / 100
    cells = cells.assign(share=share)
    line = cells[spec.line or "cell"]
    if name == "vocabulary":
        line = "fixed width and GLU"
    return cells.assign(at=cells[spec.x], percent=100 * share, line=line)


# ---------------------------------------------------------------- drawing


def _arm_axis(spec: Arm) -> alt.X:
    if spec.x == "share":
        axis = alt.Axis(labelExpr=PERCENT, tickCount=6)
        return alt.X("at:Q", title=spec.x_title, axis=axis, scale=padded_scale("linear"))
    axis = alt.Axis(labelExpr=SI, tickCount=6)
    return alt.X("at:Q", title=spec.x_title, axis=axis, scale=padded_scale("log"))


def _arm_subtitle(rows: pd.DataFrame, quality: str) -> str:
    intervals = (
        "Lines: 95 % CIs over seeds." if rows.low.notna().any() else "One seed: no intervals."
    )
    words = f"{quality[0].upper()}{quality[1:]}; lower is better. {intervals}"
    if rows.lr.nunique() > 1:
        words += " Not all at one learning rate: see the table."
    return words
