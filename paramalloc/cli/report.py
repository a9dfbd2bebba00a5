"""`paramalloc report`: execute the analysis notebook."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from .. import errors as kinds
from ..config import ROOT
from ..errors import UserError
from ..packages import require
from .options import add_command, add_overrides

# What the notebook and the page need, beyond what training needs.
NEEDED = ("papermill", "ipykernel", "altair", "vl_convert", "nbformat", "nbconvert")

ANSI = re.compile(r"\x1b\[[0-9;]*m")
ERROR = re.compile(r"^([\w.]*(?:Error|Exception)\w*): (?=\S)", re.MULTILINE)


def add_report(commands) -> None:
    parser = add_command(
        commands,
        "report",
        run_report,
        "Execute the analysis notebook; write RESULTS.md and report.html.",
        "They go to outputs/reports/NAME, with results.csv and the figures.",
    )
    parser.add_argument(
        "sweep",
        nargs="?",
        default="",
        metavar="SWEEP",
        help="A sweep, several joined by +, or a results.csv (default: all runs).",
    )
    parser.add_argument(
        "--name",
        default="",
        metavar="NAME",
        help="Folder under outputs/reports (default: the sweep's name, or all).",
    )
    add_overrides(parser)


def run_report(arguments) -> None:
    from ..config import AnalysisConfig
    from ..sweep import select_runs

    require("report", *NEEDED)
    name = arguments.name or _default_name(arguments.sweep)
    parameters = {
        "runs": arguments.sweep,
        "dataset": arguments.dataset,
        "profile": arguments.profile,
        "name": name,
        "outputs": arguments.outputs,
    }
    # A wrong name is refused before anything slow is imported or started.
    select_runs(AnalysisConfig.from_dict(parameters))
    folder = ROOT / arguments.outputs / "reports" / name
    page = _write_page(parameters, folder / "report.html")
    results = folder / "RESULTS.md"
    rest = f" and {os.path.relpath(results)}" if results.exists() else "; there are no runs yet"
    print(f"wrote {os.path.relpath(page)}{rest}")


def _default_name(sweeps: str) -> str:
    if not sweeps:
        return "all"
    return "+".join(Path(sweep).stem for sweep in sweeps.split("+"))


def _write_page(parameters: dict, page: Path) -> Path:
    """Execute the notebook, which writes all but the page, and write the page from it."""
    from ..report import write_html
    from ..sweep import papermill_command

    with tempfile.TemporaryDirectory() as scratch:
        notebook = Path(scratch) / "analysis.ipynb"
        done = subprocess.run(
            papermill_command(ROOT / "notebooks" / "analysis.ipynb", notebook, parameters),
            cwd=ROOT,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        if done.returncode:
            raise UserError(_what_failed(done.stderr, page.with_name("report.log")))
        return write_html(notebook, page)


def _what_failed(text: str, log: Path) -> str:
    """The message of an error in the notebook.

    Of one that is no user's mistake the cell too; all that was printed goes to `log`.
    """
    from ..runs import write_text
    from ..sweep import last_line

    plain = ANSI.sub("", text)
    errors = list(ERROR.finditer(plain))
    if not errors:
        return f"the analysis notebook was not executed: {last_line(plain)}"
    name = errors[-1][1].split(".")[-1]
    message = " ".join(plain[errors[-1].end() :].split())
    if issubclass(getattr(kinds, name, Exception), UserError):
        return message
    log.parent.mkdir(parents=True, exist_ok=True)
    write_text(log, plain)
    lines = re.findall(r"^-+> *\d+ (.*)", plain, re.MULTILINE)  # the first one is the cell's
    where = f" at `{lines[0].strip()}`" if lines else ""
    return f"the report failed{where}: {name}: {message[:300]} (log: {os.path.relpath(log)})"
