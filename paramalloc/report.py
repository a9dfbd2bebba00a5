"""The report: RESULTS.md, results.csv and figures/ from the tables, and report.html from the executed notebook.

All of them open without a network. Names from data or parameters are shown as code, so that nothing in them acts.
"""

from __future__ import annotations

import html
import json
import os
import platform
import shlex
from base64 import b64encode
from importlib import metadata
from pathlib import Path

import nbformat
import pandas as pd
from nbconvert import HTMLExporter

from . import plots
from .analyze import NO_RUNS, NOTHING, Note, Verdict, cell_name, comparable, completed, front_table
from .runs import commit, write_text

TITLE = "Where should a small language model keep its parameters?"
COSTS = {"tokens_per_s": "training speed (more is better)", "decode_ms_per_token": "decoding time of a token (less is better)",
         "train_flops": "training FLOPs (less is better)"}
PACKAGES = ["paramalloc", "torch", "numpy", "pandas", "tokenizers", "altair", "vl-convert-python"]


def readable(table: pd.DataFrame) -> pd.DataFrame | Note:
    """The cells as text for reading, units in the headings; what is missing is a dash, never zero."""
    if table.empty:
        return NOTHING
    table = table.assign(percent=100 * table.embed_share, gap=table.unigram_loss - table.dev_loss)
    columns = {
        "cell (requested)": table.cell,
        "realised": _join(table, " × ", percent="{:.1f} %", glu="{:.2f}"),
        "d_model × layers": _join(table, " × ", d_model="{:.0f}", n_layers="{:.0f}"),
        "d_ff": _join(table, "", d_ff="{:.0f}"),
        "parameters": _join(table, "", total_params="{:,.0f}"),
        "dev loss (nats/token)": _join(table, "", dev_loss="{:.3f}"),
        "below unigram (nats)": _join(table, "", gap="{:.3f}"),
        "dev ppl": _join(table, "", dev_ppl="{:.1f}"),
        "dev bpb (bits/byte)": _join(table, "", dev_bpb="{:.3f}"),
        "SmallBench": _join(table, "", smallbench="{:.3f}"),
        "tokens/s": _join(table, "", tokens_per_s="{:,.0f}"),
        "decode (ms/token)": _join(table, "", decode_ms_per_token="{:.2f}"),
        "seeds": [str(n) if n else "—" for n in table.n_seeds],
        "status": [_status(cell) for cell in table.itertuples()],
    }
    optional = [name for name in ("SmallBench", "decode (ms/token)") if set(columns[name]) == {"—"}]  # nobody measured it
    return pd.DataFrame(columns).drop(columns=optional).set_index("cell (requested)").rename_axis(None).rename_axis("cell (requested)", axis=1)


def _status(cell) -> str:
    """`flag` mode trains on: the table says from how many tokens on early stop would have ended a run of the cell."""
    flagged = f", flagged at {plots.short(cell.flagged_at_tokens)}" if cell.flagged_at_tokens > 0 else ""
    return cell.status.replace("_", " ") + flagged


def _join(table: pd.DataFrame, between: str, **formats: str) -> list[str]:
    """Columns of a row, each in its format, joined; a dash if any of them is missing."""
    rows = table[list(formats)].itertuples(index=False)
    return ["—" if any(map(pd.isna, row)) else between.join(map(str.format, formats.values(), row)) for row in rows]


def code(value) -> str:
    """A value from outside as Markdown code, where neither HTML nor Markdown acts."""
    return "`" + str(value).replace("`", "'").replace("\n", " ") + "`"


def _plain(value) -> str:
    return html.escape(str(value)).replace("|", "\\|")


def _markdown_table(frame: pd.DataFrame) -> str:
    heads = [frame.columns.name or "", *frame.columns]
    rows = [heads, ["---"] * len(heads), *([index, *row] for index, row in zip(frame.index, frame.to_numpy()))]
    return "\n".join("| " + " | ".join(map(_plain, row)) + " |" for row in rows)


def corpus(table: pd.DataFrame) -> Note:
    """Which text, and how far each dev loss lies below the unigram entropy (nats per token)."""
    done = completed(table)
    if done.empty:
        return NOTHING if table.empty else Note("No cell is complete yet.")
    first, gaps = done.iloc[0], done.unigram_loss - done.dev_loss
    name = f"Corpus {code(first.dataset)} (fingerprint {code(first.data_fingerprint)})"
    text = f"{name}, {first.tokens:,.0f} training tokens."
    if gaps.isna().all():
        return Note(text)
    return Note(
        f"{text} Token frequencies alone (the unigram entropy of the dev split) give {first.unigram_loss:.3f} nats "
        f"per token; the completed cells lie {gaps.min():.3f} to {gaps.max():.3f} nats below it."
    )


def unfinished(runs: pd.DataFrame) -> Note:
    """Every run that has no final loss, with what is known of it: never drawn as zero, never averaged in."""
    open_runs = comparable(runs)[lambda rows: rows.status != "completed"]
    if open_runs.empty:
        return Note("Every run is complete.") if len(runs) else NOTHING
    return Note("\n".join(_unfinished_line(run) for _, run in open_runs.iterrows()))


def _unfinished_line(run: pd.Series) -> str:
    known = [f"{name} {run[name]:g}" for name in ("lr", "seed") if pd.notna(run[name])]
    if pd.notna(run.tokens_trained):
        known.append(f"reached {run.tokens_trained:,.0f} tokens")
    status = _plain(run.status).replace("_", " ")
    return f"- {cell_name(run)}: **{status}**" + (f" ({', '.join(known)})" if known else "")


def fronts(table: pd.DataFrame) -> Note:
    """The Pareto-efficient cells for each cost, from the lowest dev loss on."""
    if completed(table).empty:
        return corpus(table)
    return Note("\n".join(f"- dev loss against {what}: {_front(table, cost)}" for cost, what in COSTS.items()))


def _front(table: pd.DataFrame, cost: str) -> str:
    cells = front_table(table, cost).itertuples()
    return ", ".join(f"{cell.cell} ({cell.dev_loss:.3f})" for cell in cells) or "not measured"


def limits(table: pd.DataFrame, runs: pd.DataFrame) -> Note:
    """What these numbers cannot say, as far as the runs themselves show it."""
    done = completed(table)
    if done.empty:
        return corpus(table)
    few, tied = done.n_seeds.min() < 2, (done.embedding == "tied").any()
    used = runs[runs.run_id.isin(done.run_ids.explode())]
    lines = [
        "With a tied embedding the share is width and the GLU expansion is depth: neither moves alone." if tied else "",
        "Some cells rest on one seed: a difference of a few hundredths of a nat may be seed noise." if few else "",
        "One learning rate for all shapes: part of a difference may be its doing." if done.lr.nunique() == 1 else "",
        "The fronts take every number as it stands: of two near ties, chance decides which is on it.",
        f"{done.tokens.iloc[0]:,.0f} training tokens: the ranking may change with a larger budget.",
        "Speeds come from different devices or precisions and do not compare." if _machines(used) > 1 else
        "Tokens per second hold for the machine that trained; another one may rank the cells otherwise.",
        "The built-in corpus is the text of the installed packages: its losses never compare across environments."
        if (done.dataset == "builtin").any() else
        "Token perplexities compare only under this tokenizer; bits per byte under any.",
        "The text is tokenised: SmallBench is out of domain." if used.get("out_of_domain", pd.Series(dtype=bool)).eq(True).any() else "",
        _left_out(runs),
    ]  # fmt: skip
    return Note("\n".join(f"- {line}" for line in lines if line))


def _machines(runs: pd.DataFrame) -> int:
    return len(runs[["device", "precision"]].drop_duplicates())


def _left_out(runs: pd.DataFrame) -> str:
    others = runs.drop(comparable(runs).index)
    if others.empty:
        return ""
    names = ", ".join(code(name) for name in sorted(others.dataset.dropna().astype(str).unique()))
    return f"{len(others)} runs of another corpus, size or recipe ({names}) do not compare and are left out."


def write_results(table: pd.DataFrame, runs: pd.DataFrame, verdict: Verdict, figures: dict, folder: Path,
                  command: str = "make reports") -> Note:
    """RESULTS.md (last), results.csv and figures/*.svg under `folder`, each replaced whole; without runs, nothing."""
    if table.empty:
        return Note(NO_RUNS)
    folder, charts = Path(folder), {name: chart for name, chart in figures.items() if not isinstance(chart, Note)}
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for name, chart in charts.items():
        write_text(folder / "figures" / f"{name}.svg", plots.show(chart).svg)
    cells = runs.map(lambda value: json.dumps(value) if isinstance(value, dict | list) else value)
    write_text(folder / "results.csv", cells.to_csv(index=False))
    write_text(folder / "RESULTS.md", _results(table, runs, verdict, charts, command))
    files = f"RESULTS.md, results.csv ({len(runs)} runs) and {len(charts)} figures"
    return Note(f"Wrote {files} to {code('reports/' + folder.name)}.")


def _results(table: pd.DataFrame, runs: pd.DataFrame, verdict: Verdict, charts: dict, command: str) -> str:
    """The text of RESULTS.md: the answer first, then what it rests on."""
    alts = {name: _plain(chart.to_dict()["description"]) for name, chart in charts.items()}
    picture = {name: f"![{alt}](figures/{name}.svg)" for name, alt in alts.items()}
    sections = [
        f"# {TITLE}", verdict._repr_markdown_(), picture.pop("share_glu_heatmap", ""),
        "## The cells", _markdown_table(readable(table)), str(corpus(table)),
        "## Pareto-efficient allocations",
        "No other cell is at least as good in both and better in one:", str(fronts(table)),
        *picture.values(),
        "## Limits", str(limits(table, runs)),
        "## Runs without a final loss", str(unfinished(runs)),
        "## Provenance", str(provenance(runs, command)),
    ]  # fmt: skip
    return "\n\n".join(section for section in sections if section) + "\n"


def command(config) -> str:
    """The command that writes this report again, from the parameters of the analysis notebook."""
    given = {"name": config.name, "profile": config.profile, "dataset": config.dataset, "outputs": config.outputs}
    options = [word for name, value in given.items() if value for word in (f"--{name}", value)]
    return shlex.join(["paramalloc", "report", *([config.runs] if config.runs else []), *options])


def provenance(runs: pd.DataFrame, command: str) -> Note:
    """Where and with what this report was made; what trained a run stands in its config.json."""
    used = comparable(runs)
    devices = ", ".join(sorted({f"{d} ({p})" for d, p in zip(used.device, used.precision) if pd.notna(d)})) or "none"
    dates = sorted(used.created.dropna().astype(str))
    lines = {
        "command": code(command),
        "commit": code(commit() or 'unknown'),
        "python": f"{platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        "packages": ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name))),
        "devices of the runs": _plain(devices),
        "runs made": f"{dates[0]} to {dates[-1]}" if dates else "none",
    }
    return Note("\n".join(f"- {name}: {value}" for name, value in lines.items()))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def write_html(notebook: Path, page: Path) -> Path:
    """The executed notebook as one page without code: no script, nothing loaded from anywhere."""
    content = nbformat.read(notebook, as_version=4)
    for cell in content.cells:
        cell.outputs = [_picture(output) for output in cell.get("outputs", []) if output.get("name") != "stderr"]
    parts = ["input", "input_prompt", "output_prompt", "anchor_links"]
    hidden = {f"exclude_{part}": True for part in parts}
    body, _ = HTMLExporter(template_name="basic", **hidden).from_notebook_node(content)
    page = Path(page)
    page.parent.mkdir(parents=True, exist_ok=True)
    write_text(page, PAGE.format(title=html.escape(f"{TITLE} ({page.parent.name})"), style=STYLE, body=body))
    return page


def _picture(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """An SVG as an image of its own: charts share no ids, and the text alternative is kept."""
    svg = output.get("data", {}).get("image/svg+xml")
    if svg is None:
        return output
    encoded = b64encode(svg.encode()).decode()
    image = f'<img alt="{html.escape(output.data["text/plain"])}" src="data:image/svg+xml;base64,{encoded}">'
    return nbformat.v4.new_output("display_data", {"text/html": image})


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body><main>{body}</main></body>
</html>
"""

STYLE = """
:root { color-scheme: light dark; --ink: #222; --quiet: #666; --ground: #fff; --line: #d8d8d8; --band: #f5f5f5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --quiet: #a8a8a8; --ground: #16181b; --line: #3a3d42; --band: #1f2226; }
}
body { margin: 0; color: var(--ink); background: var(--ground); font: 16px/1.55 system-ui, Arial, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; } h2 { font-size: 1.25rem; margin-top: 2.4rem; }
p, li { max-width: 44rem; }
code { font-size: .9em; background: var(--band); padding: .1em .3em; border-radius: 3px; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
img { display: block; min-width: 34rem; max-width: 100%; height: auto; margin: .6rem 0;
  background: #fff; border-radius: 6px; }
.output_html { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; border: 0; margin: .6rem 0; }
th, td { padding: .35rem .45rem; text-align: right; white-space: nowrap; border: 0; }
tr { border-bottom: 1px solid var(--line); }
td:last-child { white-space: normal; min-width: 6rem; text-align: left; }
thead th { color: var(--quiet); font-weight: 600; white-space: normal; vertical-align: bottom; }
tbody tr:nth-child(odd) { background: var(--band); }
@media print {
  :root { --ink: #000; --quiet: #333; --ground: #fff; --line: #999; --band: #fff; }
  body { font-size: 10pt; } main { max-width: none; padding: 0; }
  table { font-size: 7.5pt; } th, td { padding: 2pt 3pt; }
  .output_html { overflow: visible; } img { min-width: 0; max-width: 15cm; }
  h2 { break-after: avoid; } img, tr { break-inside: avoid; }
}
"""
