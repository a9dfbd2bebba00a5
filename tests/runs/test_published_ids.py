"""The ids of published runs follow from their rows: old results must not become other runs."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from paramalloc.config import ROOT, TrainConfig, load_profile
from paramalloc.runs import column_names, read_results, run_id

PUBLISHED = ROOT / "outputs" / "reference"

# What a sweep sets and a row does not record: probes, or the total as requested.
NOT_RECORDED = {
    "lr_check": {"probes": 8},
    "spot_check": {"total_params": 10_000_000, "multiple": 8, "tolerance": 0.005},
}


def sweep_of(table: Path, row: pd.Series) -> str:
    """The sweep that trained a published row."""
    if table.parent == PUBLISHED:
        return "lr_check" if row.tokens < load_profile(row.profile)[1]["tokens"] else "reference"
    return table.parent.name


def request_of(table: Path, row: pd.Series) -> TrainConfig:
    """The config that a row was trained with."""
    sweep = sweep_of(table, row)
    if sweep == "transfer":  # explicit shapes
        shape = {name: int(row[name]) for name in ("d_model", "n_layers", "d_ff", "d_head")}
    else:
        shape = {"embed_share": row.requested_share, "glu": row.requested_glu}
    recorded = {name: row[name] for name in column_names(role="recorded")}
    values = recorded | NOT_RECORDED.get(sweep, {}) | shape
    return TrainConfig.from_dict({name: value for name, value in values.items() if pd.notna(value)})


@pytest.mark.parametrize(
    "table", sorted(PUBLISHED.rglob("results.csv")), ids=lambda table: table.parent.name
)
def test_a_published_id_follows_from_its_row(table):
    """Every run id of a published table, recomputed from what its row records of the request.

    A row records the precision it had, not whether that was requested by name: the id is one of
    the two.
    """
    rows = read_results(table)
    assert len(rows)
    for _, row in rows.iterrows():
        config = request_of(table, row)
        by_name = replace(config, precision=row.precision)
        ids = {run_id(request, row.data_fingerprint) for request in (config, by_name)}
        assert row.run_id in ids
