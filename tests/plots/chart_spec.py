"""Reads a chart's Vega-Lite specification."""

from paramalloc.runs import Note


def drawn(chart) -> dict:
    assert not isinstance(chart, Note), chart
    return chart.to_dict()


def marks(spec: dict) -> list[dict]:
    """All single views of a specification."""
    parts = [part for name in ("layer", "hconcat", "vconcat") for part in spec.get(name, [])]
    return [mark for part in parts for mark in marks(part)] or [spec]


def rows(spec: dict, *columns: str) -> list[dict]:
    """The distinct rows that hold all of these columns."""
    distinct = {}
    for data in spec["datasets"].values():
        for row in data:
            if set(columns) <= set(row):
                distinct[tuple(row[name] for name in columns)] = row
    return list(distinct.values())
