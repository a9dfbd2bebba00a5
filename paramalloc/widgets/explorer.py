"""The explorer: sliders for a request, and the allocation that it gets."""

from html import escape
from typing import Any

import ipywidgets
import pandas as pd

from ..allocation import HARDWARE, Allocation, allocate
from ..analysis import recommend, training_command
from ..config import ExploreConfig
from ..errors import ConfigError, InfeasibleError, UserError
from ..plots import explored, show
from ..runs import load_runs
from .controls import TRADED_AGAINST, labelled, make_controls

PIN = "Pin this allocation"
SAME_SIZE = 0.02  # runs are of the requested size within this fraction of it


class Explorer:
    """Controls for a request and, next to them, the allocation that it gets as they move.

    One allocation can be pinned to compare the next ones with it. An explorer displays itself;
    without a front end its HTML shows the allocation of where the controls stood.

    `now` is the allocation on display, None where none is feasible; `pinned` the one that is
    pinned, or None. Raises ConfigError for hardware that is not known.
    """

    def __init__(self, config: ExploreConfig | None = None):
        config = config or ExploreConfig()
        if config.hardware not in HARDWARE:
            known = ", ".join(HARDWARE)
            raise ConfigError(f"unknown hardware '{config.hardware}': known are {known}")
        self.runs = load_runs(config.output_folder)
        self.now: Allocation | None = None
        self.pinned: Allocation | None = None

        self.controls = make_controls(config)
        self.pin = ipywidgets.Button(
            description=PIN, tooltip="Compare the next allocations with this one"
        )
        self.ask = ipywidgets.Button(
            description="Recommend from my runs",
            layout={"width": "auto"},
            tooltip="The best shape by the finished runs, at this budget and vocabulary",
        )
        self.command = labelled(ipywidgets.Textarea, "command to train it", height="11em")
        self.advice = ipywidgets.HTML()
        self.chart = ipywidgets.HTML()
        self.table = ipywidgets.HTML()

        self.box = self._arrange()
        self._connect()
        self.refresh()

    def _arrange(self) -> ipywidgets.Box:
        """Controls to the left, the answer to the right, one below the other in a narrow window."""
        buttons = ipywidgets.HBox([self.pin, self.ask])
        left = ipywidgets.VBox(
            [*self.controls.values(), buttons, self.command],
            layout={"width": "420px", "flex": "0 0 auto"},
        )
        right = ipywidgets.VBox(
            [self.advice, self.chart, self.table], layout={"flex": "1 1 620px", "min_width": "0"}
        )
        return ipywidgets.HBox([left, right], layout={"flex_flow": "row wrap"})

    def _connect(self) -> None:
        """What happens where a control moves or a button is pressed."""
        for control in self.controls.values():
            control.observe(lambda change: self.refresh(), "value")
        for name in ("total_params", "vocab_size"):  # the recommendation was for another budget
            self.controls[name].observe(lambda change: self._clear_advice(), "value")
        self.pin.on_click(lambda button: self.toggle())
        self.ask.on_click(lambda button: self.show_recommendation())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return self.box._repr_mimebundle_() | {
            "text/plain": str(self.now or "not feasible"),
            "text/html": self.chart.value + self.table.value,
        }

    def value(self, name: str) -> Any:
        """Where a control stands."""
        return self.controls[name].value

    def request(self) -> dict[str, Any]:
        """The arguments of `allocate` that the controls stand for."""
        names = ("total_params", "vocab_size", "embed_share", "glu", "embedding", "mlp")
        return {name: self.value(name) for name in (*names, *self._given_dimensions())}

    def _given_dimensions(self) -> tuple[str, ...]:
        if self.value("embedding") != "factorized":
            return ()
        return TRADED_AGAINST[self.value("traded_against")]

    def refresh(self) -> None:
        """Answer the controls; where nothing fits, say what would."""
        self._hide_unused_controls()
        try:
            self.now = allocate(**self.request())
        except InfeasibleError as error:
            self.now = None
            self._show_refusal(error)
        else:
            self._show_allocation(self.now)
        self.pin.disabled = not (self.now or self.pinned)

    def _hide_unused_controls(self) -> None:
        given = self._given_dimensions()
        used = {
            "traded_against": self.value("embedding") == "factorized",
            "d_model": "d_model" in given,
            "n_layers": "n_layers" in given,
        }
        for name, is_used in used.items():
            self.controls[name].layout.display = None if is_used else "none"

    def _show_refusal(self, error: InfeasibleError) -> None:
        words = f"<b>Not feasible.</b> {escape(str(error))}"
        self.table.value = f"<p role='alert' style='color:#b00020'>{words}</p>"
        self.chart.value = ""
        self.command.value = ""

    def _show_allocation(self, allocation: Allocation) -> None:
        shapes = {"now": allocation}
        if self.pinned:
            shapes["pinned"] = self.pinned
        seq_len = self.value("seq_len")
        self.table.value = _shapes_table(shapes, seq_len, self.value("hardware"))
        self.chart.value = show(explored(shapes, self.trained())).svg
        self.command.value = training_command(self.request(), seq_len)

    def trained(self) -> pd.DataFrame:
        """Finished runs of this budget, vocabulary, embedding and MLP.

        Columns embed_share, glu, dev_loss. Losses compare only on one text and one token budget:
        of those groups, the largest.
        """
        runs = self.runs
        request = self.request()
        alike = (runs.total_params / request["total_params"] - 1).abs() < SAME_SIZE
        alike &= runs.status == "completed"
        alike &= runs.vocab_size == request["vocab_size"]
        alike &= runs.embedding == request["embedding"]
        alike &= runs.mlp.fillna("swiglu") == request["mlp"]  # before there was another
        finished = runs[alike]
        if len(finished):
            groups = finished.groupby(["data_fingerprint", "tokens", "seq_len"])
            finished = groups.get_group(groups.size().idxmax())
        return finished[["embed_share", "glu", "dev_loss"]].astype(float)

    def show_recommendation(self) -> None:
        """Show the best shape by the finished runs at this size, or why there is none."""
        try:
            recommendation = recommend(
                self.runs, self.value("total_params"), self.value("vocab_size")
            )
        except UserError as error:
            self.advice.value = f"<p role='status'>{escape(str(error))}</p>"
            return
        table = _html_table({"": dict(recommendation.rows())})
        self.advice.value = f"<b>Recommended from your runs</b>{table}"

    def _clear_advice(self) -> None:
        self.advice.value = ""

    def toggle(self) -> None:
        """Pin the allocation on display, or unpin the one that is pinned."""
        if self.pinned:
            self.pinned = None
            self.pin.description = PIN
        else:
            self.pinned = self.now
            self.pin.description = "Unpin"
        self.refresh()


# -------------------------------------------------------------------- tables


def _shapes_table(shapes: dict[str, Allocation], seq_len: int, hardware: str) -> str:
    """Shape, ledger and costs, a column for each allocation."""
    columns = {}
    for name, shape in shapes.items():
        columns[name] = dict([*shape.rows(), *shape.costs(seq_len, hardware=hardware)])
    return _html_table(columns)


def _html_table(columns: dict[str, dict[str, str]]) -> str:
    """Columns (row -> words) as a table, with their names above them where there are several."""
    lines = []
    if len(columns) > 1:
        lines.append(_table_line("", list(columns), "th"))
    for name in dict.fromkeys(name for column in columns.values() for name in column):
        words = [column.get(name, "") for column in columns.values()]
        lines.append(_table_line(name, words))
    return f"<table style='line-height:1.35'>{''.join(lines)}</table>"


def _table_line(name: str, words: list[str], tag: str = "td") -> str:
    style = "text-align:left;vertical-align:top;padding:1px 10px 1px 0;"
    first_tag = "th" if name else "td"  # an empty cell is no heading
    first = f"<{first_tag} style='{style}white-space:nowrap'>{escape(name)}</{first_tag}>"
    cells = [
        f"<{tag} style='{style}overflow-wrap:anywhere'>{escape(word)}</{tag}>" for word in words
    ]
    return f"<tr>{first}{''.join(cells)}</tr>"
