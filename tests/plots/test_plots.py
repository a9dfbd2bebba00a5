"""Charts say what their data say: marks have words, charts a table, what is missing is named."""

import re
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import (
    SHARES,
    broken_grid,
    empty,
    grid,
    noisy,
    run,
    screened_grid,
    study,
    unfinished,
)
from chart_spec import drawn, marks, rows
from scipy import stats

from paramalloc import plots
from paramalloc.analysis import (
    NO_COMPARISON,
    cells_table,
    differences,
    estimate_noise,
    fit_surface,
)
from paramalloc.plots.base import describe_rows
from paramalloc.plots.fronts import _placed
from paramalloc.plots.labels import HEIGHT, SIDES, WIDTH, _label_box
from paramalloc.runs import Note, as_csv, read_results

COSTS = ["tokens_per_s", "decode_ms_per_token", "train_flops", "kv_bytes_per_token", "total_params"]
CHARTS = {
    name: getattr(plots, name)
    for name in (
        "share_glu_heatmap",
        "difference_forest",
        "response_surface",
        "share_tradeoff",
        "allocation_bars",
        "learning_curves",
        "order_by_budget",
        "frequency_deciles",
        "equal_spending",
    )
}
COMPARISONS = {
    name: draw
    for name, draw in CHARTS.items()
    if name not in ("share_glu_heatmap", "allocation_bars", "learning_curves")
}
FRONTS = {
    f"{quality}-{cost}": lambda runs, cost=cost, quality=quality: plots.pareto(runs, cost, quality)
    for quality in ("dev_loss", "dev_bpb", "smallbench")
    for cost in COSTS
}


@pytest.fixture(scope="module")
def runs():
    return study()


@pytest.mark.parametrize("name, draw", [*CHARTS.items(), *FRONTS.items()], ids=[*CHARTS, *FRONTS])
def test_points_have_tooltips_and_charts_their_table(runs, name, draw):
    """Every point, bar and square tells its numbers; the table has no empty column."""
    spec = drawn(draw(runs))
    kinds = ("point", "bar", "rect")
    solid = [mark for mark in marks(spec) if mark["mark"]["type"] in kinds]
    solid = [mark for mark in solid if "datum.zero" not in str(mark)]
    with_tooltip = [mark for mark in solid if mark["encoding"].get("tooltip")]
    bands = int(name == "difference_forest")  # of noise, not of a cell
    assert with_tooltip
    assert len(with_tooltip) >= len(solid) - bands
    table = spec["usermeta"]["table"]
    assert len(table["data"]) >= 3
    assert {len(row) for row in table["data"]} == {len(table["columns"])}
    for column in zip(*table["data"], strict=True):
        assert set(column) != {"—"}


@pytest.mark.parametrize("name, draw", [*CHARTS.items(), *FRONTS.items()], ids=[*CHARTS, *FRONTS])
def test_a_chart_is_the_same_from_results_csv(runs, name, draw, tmp_path):
    """Drawn from the runs or from the CSV that was written of them: the same bytes, twice over."""
    (tmp_path / "results.csv").write_text(as_csv(runs))
    again = read_results(tmp_path / "results.csv")
    assert plots.show(draw(again)).svg == plots.show(draw(runs)).svg


@pytest.mark.parametrize(
    "name",
    [name for name in CHARTS if name not in ("share_glu_heatmap", "response_surface")]
    + ["dev_loss-tokens_per_s"],
)
def test_a_legend_singles_out(runs, name):
    """A click on a legend entry is a selection that changes the opacity of marks."""
    spec = drawn((CHARTS | FRONTS)[name](runs))
    [pick] = [param for param in spec["params"] if param.get("bind") == "legend"]
    assert f"'param': '{pick['name']}'" in str(spec).replace('"', "'")


@pytest.mark.parametrize(
    "draw",
    [
        *CHARTS.values(),
        lambda runs: plots.pareto(runs, "tokens_per_s"),
        lambda runs: plots.arm_chart(runs, "sizes"),
    ],
)
def test_without_runs_a_chart_is_a_sentence(draw):
    """A fresh clone, and a sweep without a complete cell, get a Note or a chart, no error."""
    assert isinstance(draw(empty()), Note)
    nothing = pd.DataFrame([unfinished(s, 2.66, "failed") for s in SHARES])
    plots.show(draw(nothing))


def test_words_of_a_row_say_what_is_missing():
    """Each format is filled from its row; one missing value makes the whole text a dash."""
    _, tips, table = describe_rows(
        pd.DataFrame({"a": [1.25, None], "b": ["x", "y"]}),
        {"first": "{a:.1f} of {b}", "second": "{b}"},
    )
    assert table.to_dict("list") == {"first": ["1.2 of x", "—"], "second": ["x", "y"]}
    assert [tip.to_dict()["title"] for tip in tips] == ["first", "second"]


def test_unfinished_cells_keep_their_square():
    """Cells without a loss stand in the map in words, and in no colour of a loss."""
    spec = drawn(plots.share_glu_heatmap(broken_grid()))
    words = {row["word"] for row in rows(spec, "word", "cell") if row["dev_loss"] is None}
    assert words == {"diverged", "failed", "missing"}


def test_a_screening_frames_what_it_left_and_draws_no_loss():
    """The map names the killed cells and frames those that are worth whole runs; no losses."""
    spec = drawn(plots.share_glu_heatmap(screened_grid()))
    squares = {row["cell"]: row for row in rows(spec, "word", "cell")}
    framed = {cell for cell, row in squares.items() if row["framed"]}
    assert len(squares) == 12 and len(framed) == 11
    assert squares["25 % × 4"]["word"] == "stopped early"
    assert {squares[cell]["word"] for cell in framed} == {"not stopped"}
    assert all(row["dev_loss"] is None for row in squares.values())


@pytest.mark.parametrize("draw", [*COMPARISONS.values(), *FRONTS.values()])
def test_a_screening_has_no_chart_that_compares(draw):
    """A killed run: each chart that compares cells is the sentence that says why it is not there.

    It is drawn where the cells are whole on other seeds.
    """
    assert draw(screened_grid()) == NO_COMPARISON
    killed = pd.DataFrame([unfinished(0.25, 4.0, "stopped_early", 100_000, seed=9)])
    assert draw(pd.concat([study(), killed], ignore_index=True)) != NO_COMPARISON


def test_probability_is_the_strength_of_a_mark(runs):
    """The more probable a cell's place on the front, the more opaque it is.

    With one seed all are alike and the subtitle says why.
    """
    spec = drawn(plots.pareto(runs, "tokens_per_s"))
    cells = rows(spec, "probability", "strength", "cell")
    strengths = sorted((cell["probability"], cell["strength"]) for cell in cells)
    (_, weakest), (probability, strongest) = strengths[0], strengths[-1]
    assert weakest < strongest == pytest.approx(0.35 + 0.65 * probability)
    one_seed = drawn(plots.pareto(grid(), "tokens_per_s"))
    assert {row["strength"] for row in rows(one_seed, "strength", "cell")} == {1}
    assert "one seed" in one_seed["description"]


def test_one_seed_claims_no_difference():
    """Without intervals every cell of the forest says so, and no rule is drawn."""
    spec = drawn(plots.difference_forest(grid()))
    assert {row["verdict"] for row in rows(spec, "verdict", "cell")} == {"no interval"}
    assert "no intervals" in spec["description"]


def test_the_surface_is_dotted_only_where_its_region_is_known():
    """With seeds and a quadratic that fits; not with one seed, nor where a cell lies far off."""
    runs = grid(seeds=3)
    share = np.log(runs.embed_share.astype(float)) - np.log(0.37)
    glu = np.log(runs.glu.astype(float)) - np.log(2.8)
    fits = noisy(runs.assign(dev_loss=5 + 0.4 * share**2 + 0.1 * glu**2), 0.01)
    outlier = (fits.requested_share == 0.35) & (fits.requested_glu == 3.0)
    off = fits.assign(dev_loss=fits.dev_loss + 0.5 * outlier)
    for table, dots, words in (
        (fits, 1, "Dotted"),
        (off, 0, "is a guess"),
        (grid(), 0, "One seed"),
    ):
        spec = drawn(plots.response_surface(table))
        assert sum(mark["mark"]["type"] == "circle" for mark in marks(spec)) == dots
        assert words in spec["description"]


def test_the_noise_of_one_seed_is_a_band_where_it_is_known(runs):
    """Symmetric about no difference: root two times the noise at equal seeds, times t."""
    spec = drawn(plots.difference_forest(runs))
    noise = estimate_noise(runs)
    half = stats.t.ppf(0.975, noise.df) * 2**0.5 * noise.sigma
    [band] = rows(spec, "from", "to")
    assert band["from"] == -band["to"] == pytest.approx(-half)
    bands = [mark for mark in marks(spec) if mark["mark"]["type"] == "rect"]
    assert all(mark["mark"]["clip"] for mark in bands)  # it may be wider than all differences
    assert not rows(drawn(plots.difference_forest(grid())), "from", "to")


@pytest.mark.parametrize(
    "draw",
    [CHARTS["difference_forest"], CHARTS["response_surface"], FRONTS["dev_loss-train_flops"]],
    ids=["forest", "surface", "front"],
)
def test_a_picture_is_the_same_bytes_whatever_a_cpu_makes_of_the_last_digit(draw):
    """Losses that differ by 1e-15, as sums do in another order: one picture."""
    runs = noisy(study(), 0.01)
    other = runs.assign(dev_loss=runs.dev_loss * (1 + 4e-16 * (np.arange(len(runs)) % 3)))
    assert (other.dev_loss != runs.dev_loss).any()
    assert plots.show(draw(runs)).svg == plots.show(draw(other)).svg


@pytest.mark.parametrize("cost, size", [("decode_ms_per_token", 1), ("train_flops", 1e12)])
def test_an_axis_writes_ten_as_ten(cost, size):
    """Costs from 2 to 10 in the axis' unit: its labels are plain numbers, none with an exponent."""
    runs = grid().assign(**{cost: lambda r: size * np.linspace(2, 10, len(r))})
    labels = re.findall(r">([\d.e+]+)</text>", plots.show(plots.pareto(runs, cost)).svg)
    assert "10" in labels
    assert not [label for label in labels if "e" in label]


def test_labels_meet_neither_points_nor_each_other(runs):
    """Every label of a front lies free of all points and of the other labels."""
    cells, xs, ys = _placed(cells_table(runs), "tokens_per_s", "dev_loss", pd.Series(dtype=float))
    px = (cells["at"] - xs[0]) / (xs[1] - xs[0]) * WIDTH
    py = (ys[1] - cells.quality) / (ys[1] - ys[0]) * HEIGHT
    boxes = [
        _label_box(px[i], py[i], cells.cell[i], cells.side[i])
        for i in cells.index[cells.side != ""]
    ]
    assert len(boxes) >= len(SIDES)
    for a, b in combinations(boxes, 2):
        assert not (a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3])
    for left, right, top, bottom in boxes:
        assert not ((left < px) & (px < right) & (top < py) & (py < bottom)).any()


def test_the_forest_draws_intervals_for_all_cells_together(runs):
    """Not those of each cell for itself, which are narrower; and the words say so."""
    spec = drawn(plots.difference_forest(runs))
    table = differences(runs).set_index("cell")
    assert "for all cells together" in spec["description"]
    assert (table.low_all < table.low).all()
    lows = {row["cell"]: row["low"] for row in rows(spec, "low", "cell")}
    assert lows == pytest.approx(table.low_all.to_dict())


@pytest.mark.parametrize(
    "cells, seeds, enough",
    [
        ([(0.35, 2.0), (0.35, 4.0)], 8, False),
        ([(0.35, 2.0), (0.35, 2.66), (0.35, 4.0)], 2, True),
        ([(0.35, glu) for glu in (2.0, 2.4, 3.0, 4.0)], 1, False),
        ([(0.35, glu) for glu in (2.0, 2.4, 3.0, 3.5, 4.0)], 1, True),
        ([(s, g) for s in SHARES for g in (2.0, 4.0)][:3], 8, False),
        ([(s, g) for s in SHARES for g in (2.0, 4.0)][:4], 8, True),
        ([(s, g) for s in SHARES for g in (2.0, 3.0, 4.0)][:8], 1, True),
        ([(s, g) for s in SHARES for g in (2.0, 3.0, 4.0)][:7], 1, False),
        ([(0.25, 2), (0.25, 3), (0.25, 4), (0.35, 2), (0.35, 4), (0.45, 3)], 2, True),
    ],
)
def test_a_surface_needs_as_many_cells_as_its_note_says(cells, seeds, enough):
    """Three along one axis, six across both, four where both have two levels; with one seed five,
    or eight.
    """
    requests = [(share, glu, seed) for share, glu in cells for seed in range(seeds)]
    runs = pd.DataFrame([run(*request, embed_share=request[0]) for request in requests])
    assert (fit_surface(runs) is not None) == enough
    assert isinstance(plots.response_surface(runs), Note) != enough
