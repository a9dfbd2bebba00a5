"""One table says what a column is; whatever else is said of columns follows from it."""

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from paramalloc.config import ROOT, TrainConfig
from paramalloc.runs import (
    COLUMNS,
    RESULT_COLUMNS,
    as_csv,
    baseline_request,
    column_names,
    columns,
    data_dictionary,
    read_results,
)

PUBLISHED = sorted((ROOT / "outputs" / "reference").rglob("results.csv"))


@pytest.mark.parametrize("table", PUBLISHED, ids=lambda table: table.parent.name)
def test_a_published_table_has_the_columns_in_their_order(table):
    """It may be older than the last ones; written again it is the same, byte for byte."""
    text = table.read_text(encoding="utf-8")
    header = text.splitlines()[0].split(",")
    assert header == RESULT_COLUMNS[: len(header)]
    assert as_csv(read_results(table)) == text


def test_a_parameter_is_a_column_where_its_field_says_what_it_means():
    """And it compares by identity: what makes another run must agree, unless it has a role."""
    recorded = {
        spec.name: spec.metadata for spec in fields(TrainConfig) if spec.metadata["recorded"]
    }
    assert set(column_names(role="recorded")) == set(recorded)
    same = {name for name, marks in recorded.items() if marks["identity"] and not marks["role"]}
    assert set(column_names(role="same")) == same | {"data_fingerprint", "recipe"}
    assert column_names(role="rate") == ["lr", "embed_lr"]


def test_the_dictionary_explains_every_column():
    """A row each, in the order of results.csv, each with a meaning."""
    rows = data_dictionary().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == RESULT_COLUMNS
    assert all(column.meaning for column in COLUMNS.values())
    assert all(row.count("|") == 6 for row in rows)


def test_a_quality_has_a_better_direction():
    assert {column.better for column in columns(role="quality")} == {"less", "more"}


def test_the_baseline_is_the_one_that_training_used():
    """The recorded one; the config's default where nothing is recorded; else the most frequent.

    A run without it, or with half of it, has no vote.
    """
    default = (TrainConfig.baseline_share, TrainConfig.baseline_glu)
    nothing = pd.DataFrame({"baseline_share": [np.nan, None], "baseline_glu": [np.nan, None]})
    assert baseline_request(pd.DataFrame()) == baseline_request(nothing) == default
    runs = pd.DataFrame({"baseline_share": [0.35, 0.25, 0.25], "baseline_glu": [2.0, 4.0, 4.0]})
    assert baseline_request(runs) == (0.25, 4.0)
    assert baseline_request(pd.DataFrame({"lr": [1e-3]})) == default
    half = pd.DataFrame({"baseline_share": [0.25, 0.45, 0.45], "baseline_glu": [4.0, None, None]})
    assert baseline_request(half) == (0.25, 4.0)
    older = pd.DataFrame({"baseline_share": [0.25, None, None], "baseline_glu": [4.0, None, None]})
    assert baseline_request(older) == (0.25, 4.0)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_a_tie_of_baselines_does_not_depend_on_the_order_of_rows(order):
    """The config's default is taken first, else the lowest."""
    shares = np.array([0.45, 0.35, 0.25])[order]
    runs = pd.DataFrame({"baseline_share": shares, "baseline_glu": 2.66})
    assert baseline_request(runs) == (0.35, 2.66)
    assert baseline_request(runs[runs.baseline_share != 0.35]) == (0.25, 2.66)


def test_a_title_names_its_unit_once():
    assert COLUMNS["dev_loss"].title == "dev loss (nats per token)"
    assert COLUMNS["dev_bpb"].title == "bits per byte of the dev split"
    assert COLUMNS["dev_ppl"].title == "dev perplexity"
