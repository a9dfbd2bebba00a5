"""The means, intervals and differences in the report's tables are recomputed by other code."""

import html
import re

import pandas as pd
import pytest
from recomputed import Study

from paramalloc import report
from paramalloc.config import ROOT
from paramalloc.report.scatter import scatter_by_cell, scatter_by_share
from paramalloc.runs import read_results

ROWS = ROOT / "outputs" / "reference" / "results.csv"
SIMULATED = 0.0015  # nats: critical values are simulated, there and here


@pytest.fixture(scope="module")
def study() -> Study:
    return Study(ROWS)


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return read_results(ROWS)


def interval(text: str) -> list[float]:
    """`[-0.0492, +0.0041]` as numbers."""
    return [float(end) for end in text.strip("[]").split(", ")]


def test_every_mean_of_the_table_of_cells_is_recomputed(study, runs):
    """With its interval over seeds, perplexity, and distance to the unigram entropy."""
    table = report.cell_results(runs).frame.set_index("cell (requested)")
    assert sorted(table.index) == sorted(study.means.index)
    unigram = study.grid.unigram_loss.iloc[0]
    for cell, mean in study.means.items():
        row, half = table.loc[cell], study.mean_half(cell)
        of_cell = study.cells.get_group(cell)
        assert row["dev loss (nats/token)"] == f"{mean:.3f}"
        assert row["95 % CI over seeds"] == f"[{mean - half:.3f}, {mean + half:.3f}]"
        assert row["below unigram (nats)"] == f"{unigram - mean:.3f}"
        assert row["dev ppl"] == f"{of_cell.dev_ppl.mean():.1f}"
        assert row["dev bpb (bits/byte)"] == f"{of_cell.dev_bpb.mean():.3f}"
        assert row["seeds"] == str(study.n_seeds)


def test_every_main_effect_of_the_table_is_recomputed(study, runs):
    table = report.effects(runs).frame
    assert len(table) == len(study.effects) == 5
    for row in table.to_dict("records"):
        level = re.sub(r"^× ", "", row["difference"].split(" − ")[0])
        effect = study.effects.loc[level]
        assert row["dev loss (nats/token)"] == f"{effect.difference:+.4f}"
        ends = interval(row["simultaneous 95 % CI"])
        assert ends == pytest.approx([effect.low, effect.high], abs=SIMULATED)


def test_every_standard_deviation_is_recomputed(study, runs):
    """Of the shares and of the cells, alone and as intervals use them."""
    for table in (scatter_by_share(runs).frame, scatter_by_cell(runs).frame):
        for name, n_runs, sd, used in table.itertuples(index=False, name=None):
            cells = [cell for cell in study.losses.index if name in (cell, cell.split(" × ")[0])]
            assert n_runs == str(len(cells) * study.n_seeds)
            assert sd == f"{study.scatter_of(cells):.4f}"
            assert used == f"{study.variances[cells].mean() ** 0.5:.4f}"


def test_every_shape_of_the_table_is_the_rows(study, runs):
    table = report.cell_shapes(runs).frame.set_index("cell (requested)")
    for cell, rows in study.cells:
        first = rows.iloc[0]
        row = table.loc[cell]
        assert row["d_model × layers"] == f"{first.d_model} × {first.n_layers}"
        realised = f"{100 * first.embed_share:.1f} % × {first.glu:.2f}"
        assert row["realised share × GLU"] == realised
        assert row["parameters"] == f"{first.total_params:,}"
        assert row["heads"] == f"{first.n_heads} × {first.d_head}"
        flagged = int((rows.flagged_at_tokens > 0).sum())
        assert (f"{flagged} of {len(rows)} flagged" in row["status"]) == (flagged > 0)


def test_every_difference_of_the_forest_is_recomputed(study):
    """Of the published report, whose picture has the table. Else: `make published`."""
    text = html.unescape((ROWS.parent / "RESULTS.md").read_text(encoding="utf-8"))
    [rows] = re.findall(r"\| verdict \|\n\| ---.*\n((?:\|.*\n)+)", text)
    lines = [line.strip("| ").split(" | ") for line in rows.replace("\\", "").splitlines()]
    assert {cell for cell, *_ in lines} == set(study.to_baseline.index)
    for cell, difference, ends, p, verdict in lines:
        row = study.to_baseline.loc[cell]
        assert difference == f"{row.difference:+.4f}"
        assert interval(ends) == pytest.approx([row.low, row.high], abs=SIMULATED)
        assert float(re.sub(r"[<= p]+", "", p)) == pytest.approx(row.p, abs=0.015)
        assert ("not distinguishable" in verdict) == (row.p >= 0.05)
