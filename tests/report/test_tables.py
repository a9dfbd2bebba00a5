"""The report's tables: units in the headings, a dash for what is missing, and nothing acts."""

import html
import re

import pandas as pd
from analysis_fixtures import grid, unfinished

from paramalloc import report
from paramalloc.report import Table
from paramalloc.report.markup import code, escape_markdown, frame_to_html
from paramalloc.report.page import render_markdown

HOSTILE = 'x</script><script>alert(1)</script><!--|![i](http://evil.example/a.png)`<b>"'


# ---- markup


def test_a_table_is_headings_and_text():
    """Every heading has a scope, and markup in a cell is text, in HTML as in Markdown."""
    frame = pd.DataFrame({"cell": [HOSTILE], "loss": ["5.2"]})
    markup = frame_to_html(frame)
    markdown = Table(frame, "c")._repr_markdown_()
    assert markup.count('scope="col"') == 2
    assert markup.count('scope="row"') == 1
    assert "<script" not in markup + markdown
    assert "<script" in code(HOSTILE)
    assert markdown.splitlines()[2].count(" | ") == 1


def test_markdown_in_a_value_does_not_act():
    """Whatever Markdown there is in a value is text, also in the words of a picture."""
    hostile = (
        "[a](http://e.example) ![i](http://e.example/a.png) *b* __c__ `d` | e\n\n"
        "# f ~~g~~ <i>h</i> \\"
    )
    table = Table(pd.DataFrame({"cell": [hostile]}), "c")
    page = render_markdown(table._repr_markdown_())
    assert not re.search(r"<(a|img|em|strong|code|h1|del|s|i)\b", page)
    assert page.count("<td") == 1
    assert " ".join(hostile.split()) in html.unescape(html.unescape(page))
    assert "http://" not in escape_markdown(hostile)
    picture = render_markdown(f"![{escape_markdown(hostile)}](figures/a.svg)")
    assert picture.count("<img") == 1
    assert 'src="figures/a.svg"' in picture
    assert "<a" not in picture


# ---- cells


def status_of(runs: pd.DataFrame) -> pd.Series:
    return report.cell_shapes(runs).frame.set_index("cell (requested)").status


def test_smallbench_and_decoding_are_in_the_table():
    """A mean and a median over seeds; missing is a dash, measured by nobody is no column."""
    runs = grid(seeds=2)
    runs = runs.assign(smallbench=0.1 + 0.02 * runs.seed, decode_ms_per_token=2.5)
    runs.loc[runs.requested_share == 0.25, ["smallbench", "decode_ms_per_token"]] = None
    table = report.cell_results(runs).frame
    assert list(table["SmallBench"]) == ["—"] * 4 + ["0.110"] * 8
    assert list(table["decode (ms/token)"]) == ["—"] * 4 + ["2.50"] * 8
    assert "SmallBench" not in report.cell_results(grid()).frame
    decoding = report.fronts(runs).frame.iloc[1]
    assert decoding.iloc[1].startswith("35 % × 3")
    assert decoding["against"] == "decoding one token (less is better)"


def test_the_status_of_a_cell_tells_of_every_seed():
    """It counts the seeds that ended otherwise, also where they recorded no rate of the tables.

    A cell without a completed seed says the most telling end first.
    """
    ends = ["stopped_early", "diverged", "failed", "missing", "missing"]
    lost = []
    for seed, end in enumerate(ends, 2):
        rate = None if end in ("failed", "missing") else 0.03
        lost.append(unfinished(0.25, 4.0, end, embed_lr=rate, seed=seed))
    none = [unfinished(0.45, 4.0, end, seed=seed) for seed, end in enumerate(("missing", "failed"))]
    completed = grid(*none, seeds=2).assign(embed_lr=0.03)
    status = status_of(pd.concat([completed, pd.DataFrame(lost)], ignore_index=True))
    assert status["25 % × 4"] == "completed, 1 stopped early, 1 diverged, 1 failed, 2 missing"
    assert status["45 % × 4"] == "failed, 1 missing"
    assert set(status.drop(["25 % × 4", "45 % × 4"])) == {"completed"}


def test_flags_are_counted_by_seed():
    """Two of three seeds: how many, and from the earliest on; of one seed, from where alone."""
    flagged = flag(grid(seeds=3), {0: 2e5, 2: 1e5})
    assert status_of(flagged)["25 % × 4"] == "completed, 2 of 3 flagged from 100k tokens on"
    alone = flag(grid(), {0: 2e5})
    assert status_of(alone)["25 % × 4"] == "completed, flagged from 200k tokens on"
    assert status_of(grid())["25 % × 4"] == "completed"


def flag(runs: pd.DataFrame, tokens_by_seed: dict[int, float]) -> pd.DataFrame:
    """The runs, those of 25 % × 4 flagged at these tokens."""
    cell = (runs.requested_share == 0.25) & (runs.requested_glu == 4.0)
    return runs.assign(flagged_at_tokens=runs.seed.map(tokens_by_seed).where(cell))


# ---- fronts


def test_totals_of_one_budget_make_no_front():
    """Totals that are rounded from one budget are no cost; where they differ, they are."""
    runs = grid(seeds=2)
    larger = 1e6 * (1 + 0.04 * (runs.requested_share > 0.4))
    assert not has_front_of_totals(runs.assign(total_params=1_000_000))
    assert has_front_of_totals(runs.assign(total_params=larger))


def has_front_of_totals(runs: pd.DataFrame) -> bool:
    return report.fronts(runs).frame.iloc[:, 0].str.contains("parameters").any()
