"""The chart of early orders draws what is counted, and no interval that is not known."""

import pandas as pd
import pytest
from analysis_fixtures import noisy, study
from chart_spec import drawn, rows

from paramalloc.analysis import early_order, other_seeds
from paramalloc.plots import order_by_budget

WORDS = {"all pairs": "all", "distinguishable in the end": "distinguishable"}


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    """A study, and separate runs of a third of its tokens on one seed."""
    whole = study()
    short = whole[(whole.seed == 0) & (whole.embedding == "tied")]
    short = noisy(short, 0.02).assign(tokens=100_000, seed=1000, dev_curve=None)
    return pd.concat([whole, short.assign(run_id="s" + short.run_id)], ignore_index=True)


def test_each_count_is_a_point_and_the_table_has_them(runs):
    """A point for each budget, source and kind of pairs; the table has all separate runs."""
    table, spec = early_order(runs), drawn(order_by_budget(runs))
    points = rows(spec, "right", "fraction", "series")
    assert len(points) == len(table)
    keys = ["tokens", "source", "pairs"]
    found = pd.DataFrame(points).set_index(keys).right.sort_index()
    assert found.tolist() == table.set_index(keys).right.sort_index().tolist()
    tabled = spec["usermeta"]["table"]
    numbers = pd.DataFrame(tabled["data"], columns=tabled["columns"])
    assert (numbers["runs"] == "separate shorter runs").sum() == (table.source == "separate").sum()
    for row in numbers.itertuples():
        same = table[
            (table.tokens == float(row.tokens.replace(",", "")))
            & (table.pairs == WORDS[row.pairs])
            & ((table.source == "separate") == row.runs.startswith("separate"))
        ]
        assert f"{same.right.item()} of {same.n_pairs.item()}" == row[5]


def test_the_dotted_line_is_the_mean_of_whole_runs_of_a_seed(runs):
    """At the share that they put in order; with one seed there is no line and no band."""
    whole = other_seeds(runs)
    [line] = rows(drawn(order_by_budget(runs)), "word", "share")
    assert line["share"] == pytest.approx((whole.right / whole.n_pairs).mean())
    alone = drawn(order_by_budget(runs[runs.seed.isin([0, 1000])]))
    assert "whole runs of another seed" not in str(alone)
    assert all(row["low"] is None for row in rows(alone, "low", "share"))
