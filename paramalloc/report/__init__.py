"""The report: RESULTS.md, results.csv and figures/ from the runs, and report.html from the executed notebook.

All of them open without a network. Names from data or parameters are shown as code, so that nothing in them acts.
"""

from .limitations import limits
from .page import write_html
from .results import surface_text, write_results
from .tables import Table, effects, fronts, readable
from .text import TITLE, certainty, command, corpus, methods, provenance, scale, unfinished

__all__ = [
    "TITLE",
    "Table",
    "certainty",
    "command",
    "corpus",
    "effects",
    "fronts",
    "limits",
    "methods",
    "provenance",
    "readable",
    "scale",
    "surface_text",
    "unfinished",
    "write_html",
    "write_results",
]
