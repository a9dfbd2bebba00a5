"""`paramalloc report`: execute the analysis notebook."""

import os
import subprocess
import tempfile
from pathlib import Path

from ..config import ROOT
from ..errors import UserError
from ..packages import require
from .options import add_command, add_overrides

# What the notebook and the page need, beyond what training needs.
NEEDED = ("papermill", "ipykernel", "altair", "vl_convert", "nbformat", "nbconvert")


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
    from ..sweep import last_line, papermill_command

    with tempfile.TemporaryDirectory() as scratch:
        notebook = Path(scratch) / "analysis.ipynb"
        done = subprocess.run(
            papermill_command(ROOT / "notebooks" / "analysis.ipynb", notebook, parameters),
            cwd=ROOT,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise UserError(last_line(done.stderr))
        return write_html(notebook, page)
