"""The arms: what happens to the answer when one more thing than the allocation changes."""

from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from ..analysis import BASELINE, arm, matching_runs
from ..runs import Note
from .base import PERCENT, SI, facts, needs_runs, titled
from .effects import lines, plain


@dataclass(frozen=True)
class Arm:
    """A question, the column that varies, what stands on the x axis (that column, or the share), and what the legend calls the lines:
    one for each value of the column `line`, or for each cell."""

    question: str
    column: str
    x: str
    title: str
    by: str
    line: str = ""
    free: tuple[str, ...] = ()  # what else varies
    quality: str = "dev_loss"


ARMS = {
    "sizes": Arm(
        "How does quality grow with the parameters?",
        "total_params",
        "total_params",
        "parameters",
        "share × GLU",
        free=("tokens",),
    ),
    "vocabulary": Arm(
        "How large should the vocabulary be?",
        "vocab_size",
        "vocab_size",
        "vocabulary (tokens)",
        "",
        quality="dev_bpb",
    ),
    "budget": Arm(
        "Does the winner change with the training budget?",
        "tokens",
        "tokens",
        "training tokens",
        "share × GLU",
    ),
    "tying": Arm(
        "One table for input and output, or two?",
        "embedding",
        "share",
        "requested embedding share",
        "embedding",
        "embedding",
    ),
    "gate": Arm(
        "Does the gate earn its parameters?",
        "mlp",
        "share",
        "requested embedding share",
        "MLP",
        "mlp",
    ),
    "low_share": Arm(
        "How small may the embedding be?",
        "requested_share",
        "share",
        "requested embedding share",
        "paid by",
        "payer",
        ("embedding",),
    ),
}


@needs_runs
def arm_chart(runs: pd.DataFrame, name: str):
    """The arm `name` of ARMS: the quality against what varies, with 95 % intervals. A Note where its runs are not there."""
    what, found = ARMS[name], _compared(runs, name)
    if found.empty:
        return Note(
            f"{what.question} `paramalloc sweep params/{name}.yaml` asks that; its runs are not here."
        )
    found = found.assign(share=found.cell.str.extract(r"^([\d.]+) %")[0].astype(float) / 100)
    found = found.assign(at=found[what.x], percent=100 * found.share, line=_lines(found, name))
    y = "bits per byte" if what.quality == "dev_bpb" else "dev loss (nats per token)"
    at = "{percent:.0f} %" if what.x == "share" else "{at:,.0f}"
    found, tips, table = facts(
        found,
        {
            "cell": "{cell}",
            what.title: at,
            what.by or "line": "{line}",
            y: f"{{{what.quality}:.4f}}",
            "95 % interval": "[{low:.4f}, {high:.4f}]",
            "seeds": "{n_seeds}",
            "learning rate": "{lr:g}",
        },
    )
    axis = alt.Axis(labelExpr=PERCENT if what.x == "share" else SI, tickCount=6)
    x = alt.X(
        "at:Q", title=what.title, axis=axis, scale=plain("linear" if what.x == "share" else "log")
    )
    chart = lines(found, tips, x, alt.Y(f"{what.quality}:Q", title=y), "line", what.by or None)
    words = "Lines: 95 % intervals." if found.low.notna().any() else "One seed: no intervals."
    words += " Not all at one learning rate: see the table." if found.lr.nunique() > 1 else ""
    return titled(chart, what.question, f"{y[0].upper() + y[1:]}; lower is better. {words}", table)


def _compared(runs: pd.DataFrame, name: str) -> pd.DataFrame:
    """The cells of an arm, as `arm` describes them; none where what it asks about does not vary."""
    what, chosen = ARMS[name], arm_runs(runs, name)
    if not _varies(chosen[what.column]):
        return chosen.head(0)
    found = arm(chosen, what.line or what.column, what.quality, what.free)
    if what.by != "share × GLU":
        return found
    if (
        name == "budget"
    ):  # a rate chosen at one budget alone, as lr_check's, would count as an effect of the budget
        found = found[found.groupby("cell").lr.transform("nunique") == 1]
    # A cell at one value alone says nothing about the others, and one cell alone has no winner.
    found = found[found.groupby("cell")[what.column].transform(np.ptp) > 0.1 * found[what.column]]
    return found.head(0) if name == "budget" and found.cell.nunique() < 2 else found


def _varies(values: pd.Series) -> bool:
    """Numbers within 10 % of each other are one."""
    if not pd.api.types.is_numeric_dtype(values):
        return values.nunique() > 1
    return bool((values.sort_values().pct_change() > 0.1).any())


def _lines(found: pd.DataFrame, name: str) -> pd.Series | str:
    """The line of each cell."""
    if name == "vocabulary":
        return "fixed width and GLU"
    return found[ARMS[name].line or "cell"]


def arm_runs(runs: pd.DataFrame, name: str) -> pd.DataFrame:
    """The completed runs that differ from the study's in the arm's own column alone (sizes: at the study's tokens per parameter)."""
    runs = runs[(runs.status == "completed") & runs.total_params.notna()]
    done = matching_runs(runs, ARMS[name].column, *ARMS[name].free)
    if name == "sizes":
        main = matching_runs(runs)
        ratio = (done.tokens / done.total_params) / (main.tokens / main.total_params).median()
        return done[ratio.between(0.8, 1.25)]
    if name == "vocabulary":
        return _one_shape(done)
    if name == "low_share":
        low = done[done.embedding == "factorized"]
        low = low.assign(payer=np.where(low.requested_glu.isna(), "the MLP", "the depth"))
        return low if (low.requested_share < 0.25).any() else low.head(0)
    done = done[done.embedding.isin(["tied", "untied"])] if name == "tying" else done
    return (
        done[np.isclose(done.requested_glu.astype(float), BASELINE[1])]
        if ARMS[name].x == "share"
        else done
    )


def _one_shape(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of one width and GLU expansion that were trained with the most vocabularies: layers pay for the table, and d_ff takes
    up what is less than a layer, which moves the expansion by up to 6 %."""
    shapes = [
        runs[(runs.d_model == run.d_model) & np.isclose(runs.glu, run.glu, rtol=0.06)]
        for run in runs.itertuples()
    ]
    return max(shapes, key=lambda shape: shape.vocab_size.nunique(), default=runs)
