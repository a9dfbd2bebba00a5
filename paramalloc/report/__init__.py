"""The report: RESULTS.md, results.csv and figures/ from the runs, report.html from the notebook.

All of them open without a network. Names from data or parameters are shown as code, so that
nothing in them acts.

    summary      the answer, how sure it is, its scale and its corpus
    uncertainty  noise, seeds that a difference needs, the test split
    scatter      whether shares and cells scatter equally
    early_order  how early the order of the cells was known
    rates        how learning rates were chosen, or what others would have gained
    tables       cells, main effects, fronts
    recipe       how the numbers were made
    confounds    what else sets the cells apart
    limitations  what the numbers cannot say
    open_runs    runs without a final loss, runs outside of the grid
    origin       what trained the runs and made the report
    markup       tables and values as HTML and Markdown
    results      writes RESULTS.md, results.csv and figures/
    page         writes report.html (page.html, page.css, page.js, chart.html, picture.html)
    published    what the README and the folders' pages say of the published tables
    readmes      fills the generated parts of these pages
"""

from .early_order import how_early
from .limitations import limits
from .markup import Table
from .open_runs import unfinished
from .origin import provenance, report_command
from .page import write_html
from .recipe import methods
from .results import surface_minimum, write_results
from .summary import conclusion, corpus, reasons, scale
from .tables import cell_results, cell_shapes, effects, fronts
from .uncertainty import certainty

__all__ = [
    "Table",
    "cell_results",
    "cell_shapes",
    "certainty",
    "conclusion",
    "corpus",
    "effects",
    "fronts",
    "how_early",
    "limits",
    "methods",
    "provenance",
    "reasons",
    "report_command",
    "scale",
    "surface_minimum",
    "unfinished",
    "write_html",
    "write_results",
]
