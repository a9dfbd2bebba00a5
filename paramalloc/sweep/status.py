"""What runs where, how far it is, and what failed and why. Read from the run folders, whoever wrote them."""

import shlex
from pathlib import Path

import pandas as pd

from ..runs import Run, read_json, read_metrics
from .dry_run import clock, corpus_of, stages
from .execution import last_line
from .spec import Cell, Sweep, papermill_words

COLUMNS = ["cell", "run", "state", "tokens", "of", "dev ppl", "tokens/s", "left", "where"]
LOG_LINES = 5

# The first of these that the message of a failure holds says what kind it is.
REASONS = {
    "out of memory": "memory",
    "can't allocate memory": "memory",
    "Kernel died": "killed",
    "DeadKernelError": "killed",
    "was interrupted": "killed",
    "diverged": "diverged",
    "No space left": "infrastructure",
    "Permission denied": "infrastructure",
}


def table(outputs: Path, sweep: Sweep | None = None) -> pd.DataFrame:
    """One row per run: those that a sweep's cells expect, or all that there are."""
    if sweep is None:
        folders = sorted((outputs / "runs").glob("*/config.json"))
        rows = [row_of(name_of(read_json(path) or {}), path.parent) for path in folders]
    else:
        rows = [row for stage in stages(sweep) for row in rows_of(sweep, stage)]
    return pd.DataFrame(rows, columns=COLUMNS)


def rows_of(sweep: Sweep, cell: Cell) -> list[dict]:
    if cell.config is None:
        return [
            {
                "cell": cell.name,
                "state": f"failed ({'diverged' if 'diverged' in cell.error else 'config'})",
            }
        ]
    runs = runs_of(cell)
    failed = runs and sweep.log(cell, runs).exists()
    rows = [row_of(cell.name, run.folder) for run in runs] or [
        {"cell": cell.name, "state": "missing"} for _ in cell.config.runs()
    ]
    reason = reason_of(sweep.log(cell, runs)) if failed else ""
    return [
        row | {"state": f"failed ({reason})"}
        if failed and row["state"] in ("missing", "interrupted")
        else row
        for row in rows
    ]


def runs_of(cell: Cell) -> list[Run]:
    corpus = corpus_of(cell.config)
    return cell.runs(corpus) if corpus else []


def name_of(config: dict) -> str:
    share, glu = config.get("requested_share"), config.get("requested_glu")
    shape = f"{config.get('d_model')} x {config.get('n_layers')}"
    return shape if share is None or glu is None else f"{share:.0%} x {glu:g}, {shape}"


def row_of(cell: str, folder: Path) -> dict:
    """The state of one run and how far it is."""
    result, config, metrics = (
        read_json(folder / "result.json"),
        read_json(folder / "config.json"),
        read_metrics(folder),
    )
    last = metrics[-1] if metrics else {}
    budget, holder = (config or {}).get("tokens"), Run.holder(folder)
    rate, tokens = last.get("tokens_per_s"), last.get("tokens")
    if result:
        state = result["status"].replace("_", " ")
    elif holder:
        state = "measuring" if (folder / "checkpoint" / "final").exists() else "running"
    else:
        state = "interrupted" if config else "missing"
    row = {
        "cell": cell,
        "run": folder.name,
        "state": state,
        "tokens": tokens,
        "of": budget,
        "tokens/s": rate,
        "dev ppl": next(
            (record["dev_ppl"] for record in reversed(metrics) if "dev_ppl" in record), None
        ),
    }
    if result:
        return row | {
            "dev ppl": result["dev_ppl"] or row["dev ppl"],
            "tokens/s": result["tokens_per_s"],
        }
    if state == "running":
        row["left"] = (budget - tokens) / rate if rate else None
    return row | {
        "where": f"process {holder['pid']} on {holder['host'].split()[0]}" if holder else None
    }


def reason_of(log: Path) -> str:
    """config, memory, diverged, infrastructure or killed, from what a failed cell said last."""
    text = log.read_text(encoding="utf-8", errors="replace")
    tail = "\n".join(text.splitlines()[-40:])
    found = next((reason for words, reason in REASONS.items() if words in tail), None)
    named = any(
        kind in tail for kind in ("ConfigError", "DataError", "InfeasibleError", "RunError")
    )
    return found or ("config" if named else "infrastructure")


def failures(sweep: Sweep) -> list[str]:
    """For each failed cell: why, the last lines of its log, and the command that runs it again."""
    said = []
    for cell in stages(sweep):
        if cell.config is None:
            said.append(f"{cell.name}: {cell.error}")
            continue
        runs = runs_of(cell)
        log = sweep.log(cell, runs) if runs else None
        if log is None or not log.exists():
            continue
        lines = [
            line
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
            if line.strip()
        ]
        command = shlex.join(["papermill", *papermill_words(sweep, cell)])
        said.append(
            "\n".join(
                [
                    f"{cell.name}: {last_line(log.read_text(encoding='utf-8', errors='replace'))}",
                    *(f"    {line}" for line in lines[-LOG_LINES:]),
                    f"  again: {command}",
                ]
            )
        )
    return said


def shown(frame: pd.DataFrame) -> str:
    """The table as text; what is not known is left empty."""
    if frame.empty:
        return "no runs yet"
    number = lambda form: lambda value: "" if pd.isna(value) else format(value, form)
    forms = {
        "tokens": number(",.0f"),
        "of": number(",.0f"),
        "dev ppl": number(",.1f"),
        "tokens/s": number(",.0f"),
        "left": clock,
    }
    text = (
        frame.assign(**{name: frame[name].map(form) for name, form in forms.items()})
        .astype(object)
        .fillna("")
    )
    counts = ", ".join(f"{count} {state}" for state, count in frame.state.value_counts().items())
    return f"{text.to_string(index=False)}\n{counts}"
