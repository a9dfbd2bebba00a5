"""Tables for reading, as HTML and as Markdown. Whatever stands in a cell is text there: nothing in it acts."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

import pandas as pd

from ..analysis import (
    BASELINE,
    COST_SENSE,
    NOTHING,
    cells_table,
    completed_cells,
    eligible_runs,
    front_probability,
    front_table,
    main_effects,
    means,
    screening,
)
from ..plots import format_rows, name_stopped, short_count
from ..runs import Note

COSTS = {
    "tokens_per_s": "training speed",
    "decode_ms_per_token": "decoding time of a token",
    "train_flops": "training FLOPs",
    "kv_bytes_per_token": "key-value bytes of a token",
    "total_params": "parameters",
}
QUALITIES = {"dev_loss": "dev loss (in bits per byte the same front)", "smallbench": "SmallBench"}
ONE_BUDGET = 1.02  # totals within 2 % are rounded from one budget: no front against them
POSSIBLE = 0.1  # cells off the measured front are named from this probability on
NUMBER = set("0123456789.,+−-–—~×%[] kMGTBs")  # a column of these is set to the right


@dataclass(frozen=True)
class Table:
    """A frame of texts with a caption; its first column names the rows."""

    frame: pd.DataFrame
    caption: str

    def _repr_html_(self) -> str:
        return scrolled(self.frame, self.caption)

    def _repr_markdown_(self) -> str:
        return markdown(self.frame)

    def __repr__(self) -> str:
        return self.frame.to_string(index=False)


def scrolled(frame: pd.DataFrame, caption: str) -> str:
    """A table that scrolls within itself where the screen is smaller; reachable by keyboard, as what scrolls must be."""
    long = " long" if len(frame) > 14 else ""
    return f'<div class="scroll{long}" tabindex="0" role="region" aria-label="{html.escape(caption)}">{as_html(frame)}</div>'


def as_html(frame: pd.DataFrame) -> str:
    """`<table>` with a scope on every heading, columns of words set to the left."""
    words = [not all(_number(str(value)) for value in frame[name]) for name in frame]
    kind = [' class="text"' if word else "" for word in words]
    heads = "".join(f'<th scope="col"{k}>{shown(name)}</th>' for k, name in zip(kind, frame))
    rows = "\n".join(
        f"<tr>{_row(row, kind)}</tr>" for row in frame.itertuples(index=False, name=None)
    )
    return f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _number(value: str) -> bool:
    """Also an interval; a list of cells, `45 % × 3, 45 % × 4`, is words."""
    return set(value) <= NUMBER and (", " not in value or value.startswith("["))


def _row(row: tuple, kind: list[str]) -> str:
    first, *others = map(shown, row)
    return f'<th scope="row">{first}</th>' + "".join(
        f"<td{k}>{value}</td>" for k, value in zip(kind[1:], others)
    )


def shown(value) -> str:
    """A value as HTML text."""
    return unbroken(html.escape(str(value)))


def unbroken(text: str) -> str:
    """Without a line break inside `35 % × 2.66 (97 %)`."""
    return re.sub(r" (?=%|× \d|\(\d+ %)|(?<=×) ", "\u00a0", text)


def markdown(frame: pd.DataFrame) -> str:
    rows = [list(frame), ["---"] * frame.shape[1], *frame.itertuples(index=False, name=None)]
    return "\n".join("| " + " | ".join(map(plain, row)) + " |" for row in rows)


def code(value) -> str:
    """A value from outside as Markdown code, where neither HTML nor Markdown acts."""
    return "`" + " ".join(str(value).replace("`", "'").split()) + "`"


def plain(value) -> str:
    """A value as one line of Markdown text: neither HTML nor Markdown acts in it, no bare address becomes a link."""
    text = re.sub(
        r"([\\`*_\[\]|~$])|(?<=:)(/)|(?<=www)(\.)", r"\\\g<0>", " ".join(str(value).split())
    )
    return html.escape(text, quote=False)


def readable(runs: pd.DataFrame) -> Table | Note:
    """The cells as text for reading, units in the headings; what is missing is a dash, never zero."""
    table = cells_table(runs)
    if table.empty:
        return NOTHING
    table = table.merge(means(runs)[["cell", "low", "high"]], "left", "cell")
    table = table.assign(
        percent=100 * table.embed_share,
        gap=table.unigram_loss - table.dev_loss,
        seeds=table.n_seeds.where(table.n_seeds > 0),
        state=[_status(cell) for cell in table.itertuples()],
    )
    frame = pd.DataFrame({heading: format_rows(table, form) for heading, form in CELLS.items()})
    nobody = [name for name in OPTIONAL if set(frame[name]) == {"—"}]  # nobody measured it
    return Table(frame.drop(columns=nobody), "The cells")


CELLS = {
    "cell (requested)": "{cell}",
    "d_model × layers": "{d_model:.0f} × {n_layers:.0f}",
    "status": "{state}",
    "dev loss (nats/token)": "{dev_loss:.3f}",
    "95 % interval": "[{low:.3f}, {high:.3f}]",
    "below unigram (nats)": "{gap:.3f}",
    "dev ppl": "{dev_ppl:.1f}",
    "dev bpb (bits/byte)": "{dev_bpb:.3f}",
    "SmallBench": "{smallbench:.3f}",
    "tokens/s": "{tokens_per_s:,.0f}",
    "decode (ms/token)": "{decode_ms_per_token:.2f}",
    "realised": "{percent:.1f} % × {glu:.2f}",
    "d_ff": "{d_ff:.0f}",
    "heads": "{n_heads:.0f} × {d_head:.0f}",
    "parameters": "{total_params:,.0f}",
    "learning rate": "{lr:g}",
    "seeds": "{seeds:.0f}",
}
OPTIONAL = ["95 % interval", "SmallBench", "decode (ms/token)"]


def _status(cell) -> str:
    """How the cell ended, how many of its runs ended otherwise, and (`flag` mode trains on) how many of the completed early stop would
    have ended, and from where on: `completed, 1 failed, 1 missing, 2 of 3 flagged from 120k tokens on`."""
    ends = {
        "stopped_early": cell.n_stopped,
        "diverged": cell.n_diverged,
        "failed": cell.n_failed,
        "missing": cell.n_missing,
    }
    others = [f"{count} {end}" for end, count in ends.items() if count and end != cell.status]
    of = f"{cell.n_flagged} of {cell.n_seeds} " if cell.n_seeds > 1 else ""
    flagged = (
        [f"{of}flagged from {short_count(cell.flagged_at_tokens)} tokens on"] if cell.n_flagged else []
    )
    return ", ".join([cell.status, *others, *flagged]).replace("_", " ")


def effects(runs: pd.DataFrame) -> Table | Note:
    """What the share does on the mean of the expansions, and the expansion on that of the shares."""
    found = main_effects(runs)
    if found.empty:
        return Note(
            "Main effects need two expansions, or two shares, at which the baseline's and another are complete."
        )
    level = [
        f"{100 * value:g} %" if axis == "requested_share" else f"× {value:.4g}"
        for axis, value in zip(found.axis, found.level)
    ]
    versus = found.axis.map(
        {
            "requested_share": "{:g} %".format(100 * BASELINE[0]),
            "requested_glu": f"× {BASELINE[1]:g}",
        }
    )
    found = found.assign(
        what=[f"{one} − {other}" for one, other in zip(level, versus)],
        over=found.axis.map({"requested_share": "expansions", "requested_glu": "shares"}),
    )
    words = {
        "difference": "{what}",
        "mean over": "{n_pairs} {over}",
        "dev loss (nats/token)": "{difference:+.4f}",
        "95 % interval for all of these together": "[{low:+.4f}, {high:+.4f}]",
    }
    return Table(
        pd.DataFrame({heading: format_rows(found, form) for heading, form in words.items()}), "Main effects"
    )


def fronts(runs: pd.DataFrame) -> Table | Note:
    """The Pareto-efficient cells of each quality against each cost, from the best on, with the probability of their place."""
    table = cells_table(runs)
    if completed_cells(table).empty:
        return NOTHING if table.empty else Note("No cell is complete yet.")
    one_budget = table.total_params.max() <= ONE_BUDGET * table.total_params.min()
    rows = [
        [
            f"{what} ({COST_SENSE[cost]} is better)",
            *(_front(runs, table, cost, quality) for quality in QUALITIES),
        ]
        for cost, what in COSTS.items()
        if not (one_budget and cost == "total_params")
    ]
    lost = screening(table)
    against = f"Screening only, {name_stopped(lost)}: against" if lost else "against"
    seeds = eligible_runs(runs).dropna(subset="smallbench").groupby("cell").seed.nunique()
    one = " (one seed a cell: no probability)" if seeds.max() == 1 else ""
    return Table(
        pd.DataFrame(rows, columns=[against, QUALITIES["dev_loss"], QUALITIES["smallbench"] + one]),
        "Pareto fronts",
    )


def _front(runs: pd.DataFrame, table: pd.DataFrame, cost: str, quality: str) -> str:
    """`45 % × 4 (93 %), 45 % × 2.66 (60 %); not ruled out: 35 % × 4 (12 %)`; without repeated seeds no probability is known."""
    chance, front = (
        front_probability(runs, cost, quality),
        list(front_table(table, cost, quality).cell),
    )
    named = lambda cells: ", ".join(
        cell + (f" ({100 * chance[cell]:.0f} %)" if pd.notna(chance.get(cell)) else "")
        for cell in cells
    )
    others = [
        cell
        for cell in chance.sort_values(ascending=False).index
        if cell not in front and chance[cell] >= POSSIBLE
    ]
    return (
        named(front) + (f"; not ruled out: {named(others)}" if others else "")
    ) or "not measured"
