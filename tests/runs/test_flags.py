"""Flags follow from recorded curves: by the rule, whenever the baseline comes, as published."""

import json
import math
from dataclasses import replace

import pytest
from test_published_ids import PUBLISHED, request_of

from paramalloc.runs import EarlyStop, read_results, with_flags
from paramalloc.runs.flags import describe_early_stop
from paramalloc.runs.table import read_rows


def test_early_stop_needs_an_unbroken_stretch_of_patience():
    """It fires when every probe of `patience` tokens in a row is worse by the margin, and not a
    probe earlier.
    """
    stop = EarlyStop(
        dict.fromkeys(range(0, 1000, 10), 10.0).get, margin=0.5, patience=40, grace=100
    )
    assert not any(stop(tokens, 99.0) for tokens in range(0, 100, 10))  # grace
    assert not any(stop(tokens, 10.5) for tokens in range(100, 140, 10))  # 30 tokens of it
    assert not stop(140, 10.4)  # the stretch breaks
    assert [stop(tokens, 10.6) for tokens in range(150, 200, 10)] == [False] * 4 + [
        True
    ] and stop.fired == 190


def test_early_stop_compares_at_equal_tokens_only():
    """A count that the baseline has no probe for says nothing, and a rule that never met one has
    compared nothing.
    """
    stop = EarlyStop({}.get, margin=0.5, patience=10, grace=0)
    assert not any(stop(tokens, 1e9) for tokens in range(0, 1000, 10)) and not stop.compared
    once = EarlyStop({500: 10.0}.get, margin=0.5, patience=10, grace=0)
    assert not any(once(tokens, 1e9) for tokens in range(0, 1000, 10)) and once.compared


def test_a_probe_that_the_baseline_lacks_does_not_interrupt_the_stretch():
    """Worse, nothing to compare with, worse: it fires where it would with the missing probe."""
    known = dict.fromkeys(range(0, 1000, 10), 10.0)
    gap = EarlyStop(
        {n: value for n, value in known.items() if n != 120}.get, margin=0.5, patience=40, grace=100
    )
    whole = EarlyStop(known.get, margin=0.5, patience=40, grace=100)
    assert [gap(n, 11.0) for n in range(0, 200, 10)] == [whole(n, 11.0) for n in range(0, 200, 10)]
    assert gap.fired == whole.fired == 140


# ---- flags of a table

COUNTS = range(100, 600, 100)


def curve(dev_ppl: float) -> list:
    """Probes at one perplexity."""
    return [[tokens, round(math.log(dev_ppl), 5)] for tokens in COUNTS]


BASELINE = {"run_id": "b", "early_stop": "flag", "compared": False, "dev_curve": curve(10.0)}
WORSE = {
    "run_id": "w",
    "early_stop": "flag",
    "compared": False,
    "flagged_at_tokens": None,
    "dev_curve": curve(11.0),
    "baseline_run": "b",
    "stop_margin": 0.5,
    "stop_patience": 200,
    "stop_grace": 150,
}


def test_a_flag_comes_with_the_baseline():
    """Without its curve nothing is compared; with it, at the count of the rule, in any order."""
    assert with_flags([WORSE]) == [WORSE]
    flagged = WORSE | {"compared": True, "flagged_at_tokens": 400}
    assert with_flags([WORSE, BASELINE]) == [flagged, BASELINE]
    assert with_flags([flagged]) == [flagged]  # a table may have left the baseline behind


def test_the_baselines_folder_stands_for_its_row(tmp_path):
    """As far as it has come, without what a process is still writing."""
    (tmp_path / "runs" / "b").mkdir(parents=True)
    metrics = tmp_path / "runs" / "b" / "metrics.jsonl"
    lines = [json.dumps({"tokens": n, "dev_loss": math.log(10.0)}) for n in COUNTS]
    metrics.write_text("\n".join(lines[:2]) + "\n" + lines[2][:9])
    [row] = with_flags([WORSE], tmp_path)
    assert row["compared"] and row["flagged_at_tokens"] is None
    metrics.write_text("\n".join(lines) + "\n")
    [row] = with_flags([WORSE], tmp_path)
    assert row["flagged_at_tokens"] == 400


@pytest.mark.parametrize(
    "changed", [{"early_stop": "kill"}, {"early_stop": "off"}, {"baseline_run": None}]
)
def test_only_who_asks_for_a_flag_gets_one(changed):
    """Runs that training compared, or nobody did, stay; so do those of older tables."""
    row = WORSE | changed
    assert with_flags([row, BASELINE]) == [row, BASELINE]


@pytest.mark.parametrize(
    "table", sorted(PUBLISHED.rglob("results.csv")), ids=lambda table: table.parent.name
)
def test_a_published_flag_is_the_computed_one(table):
    """Trained when the rule was applied on the way, on all digits: the same runs are flagged, at
    the same counts, from the table's curves alone.
    """
    rows = read_rows(table)
    watched = [row for row in rows if row["early_stop"] == "flag"]
    described = dict(zip((row["run_id"] for row in rows), describe(table), strict=True))
    asked = [row | {"flagged_at_tokens": None} | described[row["run_id"]] for row in watched]
    found = with_flags([*asked, *(row for row in rows if row not in watched)])
    assert all(row["compared"] for row in found[: len(watched)])
    assert [row["flagged_at_tokens"] for row in found[: len(watched)]] == [
        row["flagged_at_tokens"] for row in watched
    ]
    assert with_flags(rows) == rows


def describe(table) -> list[dict]:
    """What each row of a table would record of early stop today; the baseline's id is one of the
    table's, by the precision that was requested, or by its name.
    """
    runs = read_results(table)
    described = []
    for _, row in runs.iterrows():
        config = replace(request_of(table, row), early_stop="flag")
        by_name = replace(config, precision=row.precision)
        columns = [describe_early_stop(each, row.data_fingerprint) for each in (config, by_name)]
        known = [each for each in columns if each.get("baseline_run") in set(runs.run_id)]
        described.append((known or [{}])[0])
    return described
