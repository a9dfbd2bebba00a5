"""What moves in a notebook: data preparation, a training's progress and loss curve, and the explorer of allocations."""

from html import escape

import ipywidgets
import pandas as pd

from ..allocation import HARDWARE, Allocation, allocate
from ..analysis import recommend, training_command
from ..config import EMBEDDINGS, MLPS, ExploreConfig
from ..errors import ConfigError, InfeasibleError, UserError
from ..plots import explored, show
from ..runs import load_runs

# ------------------------------------------------------------------ explorer

BUDGETS = [1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100]  # millions
VOCABULARIES = [512, 1_024, 2_048, 4_096, 8_192, 16_000, 32_000, 50_000, 65_536]
CONTEXTS = [128, 256, 512, 1_024, 2_048, 4_096]
PAYERS = {
    "width, depth and MLP": (),
    "the depth": ("d_model",),
    "the MLP": ("d_model", "n_layers"),
}  # what stays as given


class Explorer:
    """Controls for a request; beside them, live, the shape that it gets. A second allocation can be pinned beside it.

    `explorer` displays itself; without a front end its HTML shows where the controls stand.
    """

    def __init__(self, config: ExploreConfig = ExploreConfig()):
        if config.hardware not in HARDWARE:
            raise ConfigError(
                f"unknown hardware '{config.hardware}': known are {', '.join(HARDWARE)}"
            )
        self.runs, self.pinned, self.now = load_runs(config.output_folder), None, None
        self.controls = controls(config)
        self.pin = ipywidgets.Button(
            description="Pin this allocation", tooltip="Keep this allocation beside the next ones"
        )
        self.ask = ipywidgets.Button(
            description="Recommend from my runs",
            layout={"width": "auto"},
            tooltip="The shape that the finished runs speak for, at this budget and vocabulary",
        )
        self.table, self.chart, self.advice = (
            ipywidgets.HTML(),
            ipywidgets.HTML(),
            ipywidgets.HTML(),
        )
        self.command = labelled(
            ipywidgets.Textarea, "trained by", layout={"width": "400px", "height": "11em"}
        )
        for control in self.controls.values():
            control.observe(lambda change: self.refresh(), "value")
        for name in ("total_params", "vocab_size"):  # what was recommended was for another budget
            self.controls[name].observe(lambda change: self.advice.set_trait("value", ""), "value")
        self.pin.on_click(lambda button: self.toggle())
        self.ask.on_click(lambda button: self.recommend())
        buttons = ipywidgets.HBox([self.pin, self.ask])
        left = ipywidgets.VBox(
            [*self.controls.values(), buttons, self.command],
            layout={"width": "420px", "flex": "0 0 auto"},
        )
        right = ipywidgets.VBox(
            [self.advice, self.chart, self.table], layout={"flex": "1 1 620px", "min_width": "0"}
        )
        self.box = ipywidgets.HBox([left, right], layout={"flex_flow": "row wrap"})
        self.refresh()

    def _repr_mimebundle_(self, **_) -> dict:
        return self.box._repr_mimebundle_() | {
            "text/plain": str(self.now or "not feasible"),
            "text/html": self.chart.value + self.table.value,
        }

    def request(self) -> dict:
        """The arguments of `allocate` that the controls stand for."""
        names = ("total_params", "vocab_size", "embed_share", "glu", "embedding", "mlp")
        kept = (
            PAYERS[self.controls["paid_by"].value]
            if self.controls["embedding"].value == "factorized"
            else ()
        )
        return {name: self.controls[name].value for name in (*names, *kept)}

    def refresh(self):
        """Answer the controls; where nothing fits, say what would."""
        factorized = self.controls["embedding"].value == "factorized"
        kept = PAYERS[self.controls["paid_by"].value] if factorized else ()
        for name, used in {
            "paid_by": factorized,
            "d_model": "d_model" in kept,
            "n_layers": "n_layers" in kept,
        }.items():
            self.controls[name].layout.display = None if used else "none"
        try:
            self.now = allocate(**self.request())
        except InfeasibleError as error:
            self.table.value = f"<p role='alert' style='color:#b00020'><b>Not feasible.</b> {escape(str(error))}</p>"
            self.chart.value = self.command.value = ""
            self.now = None
            return
        finally:
            self.pin.disabled = not (self.now or self.pinned)
        shapes = {"now": self.now} | ({"pinned": self.pinned} if self.pinned else {})
        self.table.value = shapes_table(
            shapes, self.controls["seq_len"].value, self.controls["hardware"].value
        )
        self.chart.value = show(explored(shapes, self.trained())).svg
        self.command.value = training_command(self.request(), self.controls["seq_len"].value)

    def trained(self) -> pd.DataFrame:
        """Finished runs of this budget, vocabulary, embedding and MLP; of those on other texts or budgets, the largest group."""
        runs, asked = self.runs, self.request()
        near = (runs.total_params / asked["total_params"] - 1).abs() < 0.02
        same = [
            runs[name].fillna("swiglu" if name == "mlp" else "") == asked[name]
            for name in ("vocab_size", "embedding", "mlp")
        ]
        found = runs[near & (runs.status == "completed") & same[0] & same[1] & same[2]]
        comparable = found.groupby(["data_fingerprint", "tokens", "seq_len"])
        largest = comparable.get_group(comparable.size().idxmax()) if len(found) else found
        return largest[["embed_share", "glu", "dev_loss"]].astype(float)

    def recommend(self):
        """Show what the finished runs speak for at this budget and vocabulary, or why they do not."""
        try:
            found = recommend(
                self.runs, self.controls["total_params"].value, self.controls["vocab_size"].value
            )
        except UserError as error:
            self.advice.value = f"<p role='status'>{escape(str(error))}</p>"
            return
        self.advice.value = f"<b>Recommended from your runs</b>{lines_table(found.rows())}"

    def toggle(self):
        """Pin the allocation of now, or let go of the one that is pinned."""
        self.pinned = None if self.pinned else self.now
        self.pin.description = "Unpin" if self.pinned else "Pin this allocation"
        self.refresh()


def labelled(kind, text: str, **options):
    return kind(
        description=text,
        style={"description_width": "10em"},
        **{"layout": {"width": "400px"}} | options,
    )


def controls(config: ExploreConfig) -> dict[str, ipywidgets.Widget]:
    """A labelled control for each part of a request; all of them move with the arrow keys."""
    choices = lambda values, value, word: {
        "options": [(word(item), item) for item in sorted({*values, value})],
        "value": value,
    }
    millions = lambda count: f"{count / 10**6:g}M"
    slider, menu = ipywidgets.SelectionSlider, ipywidgets.Dropdown
    return {
        "total_params": labelled(
            slider,
            "parameters",
            **choices([n * 10**6 for n in BUDGETS], config.total_params, millions),
        ),
        "vocab_size": labelled(
            slider, "vocabulary", **choices(VOCABULARIES, config.vocab_size, "{:,}".format)
        ),
        "embed_share": labelled(
            ipywidgets.FloatSlider,
            "embedding share",
            min=0.01,
            max=0.95,
            step=0.01,
            readout_format=".0%",
            value=config.embed_share,
        ),
        "glu": labelled(
            ipywidgets.FloatSlider, "GLU expansion", min=0.5, max=8, step=0.02, value=config.glu
        ),
        "embedding": labelled(menu, "embedding", options=EMBEDDINGS, value=config.embedding),
        "paid_by": labelled(menu, "paid by", options=list(PAYERS)),
        "d_model": labelled(
            ipywidgets.IntSlider, "width (d_model)", min=64, max=1024, step=32, value=288
        ),
        "n_layers": labelled(ipywidgets.IntSlider, "depth (n_layers)", min=1, max=48, value=6),
        "mlp": labelled(menu, "MLP", options=MLPS, value=config.mlp),
        "seq_len": labelled(
            slider, "tokens of context", **choices(CONTEXTS, config.seq_len, "{:,}".format)
        ),
        "hardware": labelled(menu, "hardware", options=list(HARDWARE), value=config.hardware),
    }


def lines_table(rows: list[tuple[str, str]]) -> str:
    """(what, text) as an HTML table."""
    cell = lambda tag, style, text: (
        f"<{tag} style='text-align:left;vertical-align:top;padding:1px 10px 1px 0;{style}'>{escape(text)}</{tag}>"
    )
    lines = (
        "<tr>"
        + cell("th", "white-space:nowrap", what)
        + cell("td", "overflow-wrap:anywhere", text)
        + "</tr>"
        for what, text in rows
    )
    return f"<table style='line-height:1.35'>{''.join(lines)}</table>"


def shapes_table(shapes: dict[str, Allocation], seq_len: int, hardware: str) -> str:
    """Shape, ledger and costs as an HTML table, a column for each allocation."""
    columns = {
        name: dict([*shape.rows(), *shape.costs(seq_len, hardware=hardware)])
        for name, shape in shapes.items()
    }
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    cell = lambda tag, text: (
        f"<{tag} style='text-align:left;vertical-align:top;padding:1px 10px 1px 0'>{escape(text)}</{tag}>"
    )
    line = lambda row: (
        "<tr>"
        + cell("th", row)
        + "".join(cell("td", column.get(row, "")) for column in columns.values())
        + "</tr>"
    )
    head = (
        "<tr><td></td>" + "".join(cell("th", name) for name in columns) + "</tr>"
        if len(columns) > 1
        else ""
    )
    return f"<table style='line-height:1.35'>{head}{''.join(map(line, rows))}</table>"
