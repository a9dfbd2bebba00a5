"""The arms: what happens to the answer when one more thing than the allocation changes."""

import altair as alt
import pandas as pd

from ..analyze import BASELINE, Note, arm, comparable
from .base import SI, facts, needs_runs, titled
from .effects import lines

HELD = ["vocab_size", "embedding", "mlp", "tokens", "size"]  # what an arm holds at the study's value, its own axis apart

# The column that varies, the quality, the question, what is drawn, the axis title and the axis' kind (log, N: names, Q).
ARMS = {
    "sizes": ("total_params", "dev_loss", "How does quality grow with the parameters?", "Dev loss of each cell at several sizes.", "parameters", "log"),
    "vocabulary": ("vocab_size", "dev_bpb", "How large should the vocabulary be?", "Bits per byte, which compare under any tokenizer.",
                   "vocabulary (tokens)", "log"),
    "budget": ("tokens", "dev_loss", "Does the winner change with the training budget?", "Dev loss of each cell after several budgets.",
               "training tokens", "log"),
    "tying": ("embedding", "dev_loss", "One table for input and output, or two?", "Tied and untied embeddings at equal totals.", "embedding", "N"),
    "gate": ("mlp", "dev_loss", "Does the gate earn its parameters?", "MLPs with a gate and without one, at equal totals.", "MLP", "N"),
    "low_share": ("requested_share", "dev_loss", "How small may the embedding be?", "Shares below the grid's, at GLU 2.66.",
                  "requested embedding share", "Q"),
}


@needs_runs
def arm_chart(runs: pd.DataFrame, name: str):
    """The arm `name` of ARMS: the quality against what varies, a line per cell with 95 % intervals. A Note where its runs are not there."""
    axis, quality, question, words, title, kind = ARMS[name]
    chosen = arm_runs(runs, name)
    found = arm(chosen, axis, quality) if len(chosen) else chosen
    if found.empty or chosen["size" if axis == "total_params" else axis].nunique() < 2:
        return Note(f"{question} `paramalloc sweep params/{name}.yaml` asks that; its runs are not here.")
    percent = {"at": 100 * found[axis]} if name == "low_share" else {"at": found[axis]}
    form = {"log": "{at:,.0f}", "N": "{at}", "Q": "{at:g} %"}[kind]
    y_title = "bits per byte" if quality == "dev_bpb" else "dev loss (nats per token)"
    line = found.cell if name != "low_share" else "GLU 2.66"
    found, tips, table = facts(found.assign(line=line, **percent), {
        "cell": "{cell}", title: form, y_title: f"{{{quality}:.4f}}", "95 % interval": "{low:.4f} to {high:.4f}", "seeds": "{n_seeds}"})
    axis_look = {"log": alt.Axis(labelExpr=SI, tickCount=5), "N": alt.Axis(labelAngle=0), "Q": alt.Axis(format="~g")}[kind]
    chart = lines(found, tips, "line", "at", title + (" (%)" if kind == "Q" else ""), "share × GLU", quality, y_title, axis_look, kind == "log",
                  "N" if kind == "N" else "Q")
    return titled(chart, question, [words, "Lines: 95 % intervals." if found.low.notna().any() else "One seed: no intervals."], table)


def arm_runs(runs: pd.DataFrame, name: str) -> pd.DataFrame:
    """The runs that differ from the study's in the arm's axis alone."""
    done = runs[(runs.status == "completed") & runs.total_params.notna()]
    if done.empty:
        return done
    done = done.assign(size=(done.total_params.astype(float).sort_values().pct_change() > 0.1).cumsum().reindex(done.index))
    main = done.loc[done.index.intersection(comparable(runs).index)]
    axis = {"total_params": "size"}.get(ARMS[name][0], ARMS[name][0])
    for held in (held for held in HELD if held != axis and held in done):
        done = done[done[held].isin(main[held].mode())]
    if name == "tying":
        return done[done.embedding.isin(["tied", "untied"])]
    if name == "low_share":
        low = done[(done.requested_glu - BASELINE[1]).abs() < 1e-9]
        return low if (low.requested_share < 0.25).any() else low.head(0)
    return done
