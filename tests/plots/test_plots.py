"""Charts say what their data say: every mark has its words, every chart its table, and what is missing is named."""

import re
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import (
    SHARES,
    _measured,
    broken_grid,
    empty,
    grid,
    noisy,
    run,
    study,
    unfinished,
)
from scipy import stats

from paramalloc import plots
from paramalloc.allocation import allocation
from paramalloc.analysis import by_tradeoff, cells_table, differences, estimate_noise, fit_surface
from paramalloc.plots import name_stopped
from paramalloc.plots.base import describe_rows
from paramalloc.runs import Note, as_csv, read_results
from paramalloc.sweep import load_sweep

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
        "frequency_deciles",
        "equal_spending",
    )
}
FRONTS = {
    f"{quality}-{cost}": lambda runs, cost=cost, quality=quality: plots.pareto(runs, cost, quality)
    for quality in ("dev_loss", "dev_bpb", "smallbench")
    for cost in COSTS
}


@pytest.fixture(scope="module")
def runs():
    return study()


def drawn(chart) -> dict:
    assert not isinstance(chart, Note), chart
    return chart.to_dict()


def marks(spec: dict) -> list[dict]:
    """All single views of a specification."""
    parts = [part for name in ("layer", "hconcat", "vconcat") for part in spec.get(name, [])]
    return [mark for part in parts for mark in marks(part)] or [spec]


def rows(spec: dict, *columns: str) -> list[dict]:
    """The distinct rows that hold all of these columns."""
    found = [row for data in spec["datasets"].values() for row in data if set(columns) <= set(row)]
    return list({tuple(row[name] for name in columns): row for row in found}.values())


@pytest.mark.parametrize("name, draw", [*CHARTS.items(), *FRONTS.items()], ids=[*CHARTS, *FRONTS])
def test_points_have_tooltips_and_charts_their_table(runs, name, draw):
    """Every point, bar and square tells its numbers; the table behind the chart has a row for each and no empty column."""
    spec = drawn(draw(runs))
    solid = [
        mark
        for mark in marks(spec)
        if mark["mark"]["type"] in ("point", "bar", "rect") and "datum.zero" not in str(mark)
    ]
    told = [mark for mark in solid if mark["encoding"].get("tooltip")]
    assert told and len(told) >= len(solid) - (
        name == "difference_forest"
    )  # its band is one of noise, not of a cell
    table = spec["usermeta"]["table"]
    assert len(table["data"]) >= 3 and all(
        len(row) == len(table["columns"]) for row in table["data"]
    )
    assert all({"—"} != {row[n] for row in table["data"]} for n in range(len(table["columns"])))


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
    """A fresh clone, and a sweep of which nothing is complete, get a Note or a chart, never an error."""
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
    """Killed, diverged, failed and missing cells stand in the map in words, and in no colour of a loss."""
    spec = drawn(plots.share_glu_heatmap(broken_grid()))
    words = {row["word"] for row in rows(spec, "word", "cell") if row["dev_loss"] is None}
    assert words == {"stopped early", "diverged", "failed", "missing"}


@pytest.mark.parametrize("cost", ["tokens_per_s", "train_flops"])
def test_a_front_that_lacks_killed_cells_only_screens(cost):
    """With a killed run the title says so and names the cell; without one it does not."""
    title = drawn(plots.pareto(broken_grid(), cost))["title"]["text"]
    assert title.startswith("Screening only") and "25 % × 4" in title
    assert "Screening" not in drawn(plots.pareto(grid(), cost))["title"]["text"]


def test_probability_is_the_strength_of_a_mark(runs):
    """The more probable a cell's place on the front, the more opaque it is; with one seed all are alike and the subtitle says why."""
    spec = drawn(plots.pareto(runs, "tokens_per_s"))
    found = sorted(
        (row["probability"], row["strength"])
        for row in rows(spec, "probability", "strength", "cell")
    )
    assert found[0][1] < found[-1][1] == pytest.approx(0.35 + 0.65 * found[-1][0])
    one = drawn(plots.pareto(grid(), "tokens_per_s"))
    assert {row["strength"] for row in rows(one, "strength", "cell")} == {1} and "one seed" in one[
        "description"
    ]


def test_one_seed_claims_no_difference():
    """Without intervals every cell of the forest says so, and no rule is drawn."""
    spec = drawn(plots.difference_forest(grid()))
    assert {row["verdict"] for row in rows(spec, "verdict", "cell")} == {
        "no interval"
    } and "no intervals" in spec["description"]


def test_the_surface_marks_what_is_not_told_from_its_lowest_point_only_where_that_is_known():
    """Dots and their words with seeds and a quadratic that fits; neither with one seed, nor where a cell lies far off."""
    u, v = (np.log(grid(seeds=3)[name].astype(float)) for name in ("embed_share", "glu"))
    fits = noisy(
        grid(seeds=3).assign(
            dev_loss=5 + 0.4 * (u - np.log(0.37)) ** 2 + 0.1 * (v - np.log(2.8)) ** 2
        ),
        0.01,
    )
    off = fits.assign(
        dev_loss=fits.dev_loss
        + 0.5 * ((fits.requested_share == 0.35) & (fits.requested_glu == 3.0))
    )
    dots = lambda runs: sum(
        mark["mark"]["type"] == "circle" for mark in marks(drawn(plots.response_surface(runs)))
    )
    words = lambda runs: drawn(plots.response_surface(runs))["description"]
    assert dots(fits) == 1 and "Dotted" in words(fits)
    assert (
        dots(off) == 0
        and "is a guess" in words(off)
        and dots(grid()) == 0
        and "One seed" in words(grid())
    )


def test_the_noise_of_one_seed_is_a_band_where_it_is_known(runs):
    """With repeated seeds the forest has a band, symmetric about no difference: root two times the noise at equal seeds, times t; with one seed none."""
    spec, found = drawn(plots.difference_forest(runs)), estimate_noise(runs)
    [band] = rows(spec, "from", "to")
    assert (
        band["from"]
        == -band["to"]
        == pytest.approx(-stats.t.ppf(0.975, found.df) * 2**0.5 * found.sigma)
    )
    assert all(
        mark["mark"]["clip"] for mark in marks(spec) if mark["mark"]["type"] == "rect"
    )  # it may be wider than all differences
    assert not rows(drawn(plots.difference_forest(grid())), "from", "to")


@pytest.mark.parametrize(
    "draw",
    [CHARTS["difference_forest"], CHARTS["response_surface"], FRONTS["dev_loss-train_flops"]],
    ids=["forest", "surface", "front"],
)
def test_a_picture_is_the_same_bytes_whatever_a_cpu_makes_of_the_last_digit(draw):
    """Losses that differ by some 1e-15, as sums do that another kind of CPU adds in another order: one picture."""
    runs = noisy(study(), 0.01)
    other = runs.assign(dev_loss=runs.dev_loss * (1 + 4e-16 * (np.arange(len(runs)) % 3)))
    assert (other.dev_loss != runs.dev_loss).any() and plots.show(draw(runs)).svg == plots.show(
        draw(other)
    ).svg


@pytest.mark.parametrize("cost, size", [("decode_ms_per_token", 1), ("train_flops", 1e12)])
def test_an_axis_writes_ten_as_ten(cost, size):
    """Costs from 2 to 10 in the axis' unit: its labels are plain numbers, none with an exponent."""
    runs = grid().assign(**{cost: lambda r: size * np.linspace(2, 10, len(r))})
    labels = re.findall(r">([\d.e+]+)</text>", plots.show(plots.pareto(runs, cost)).svg)
    assert "10" in labels and not [label for label in labels if "e" in label]


def arms() -> pd.DataFrame:
    """The study and the runs of every arm: two sizes, vocabularies, budgets; untied; without a gate; 10 % factorized."""
    draw, cells = np.random.default_rng(1), [(s, seed) for s in SHARES for seed in range(3)]
    changes = {
        "sizes": {"total_params": 2_000_000, "tokens": 600_000},
        "budget": {"tokens": 1_200_000},
        "vocabulary": {"vocab_size": 8192},
        "untied": {"embedding": "untied"},
        "relu2": {"mlp": "relu2"},
    }
    extra = [
        _measured(run(s, 2.66, seed, **{**change, "run_id": f"{name}{s}{seed}"}), draw)
        for name, change in changes.items()
        for s, seed in cells
    ]
    low = [
        _measured(
            run(0.10, 2.66, seed, run_id=f"low{seed}", embedding="factorized", d_embed=16), draw
        )
        for seed in range(3)
    ]
    return pd.concat([study(), pd.DataFrame([*extra, *low])], ignore_index=True)


@pytest.mark.parametrize(
    "name, column, values",
    [
        ("sizes", "at", 2),
        ("vocabulary", "fact1", 2),
        ("budget", "fact1", 2),
        ("tying", "line", 2),
        ("gate", "line", 2),
        ("low_share", "share", 4),
    ],
)
def test_an_arm_is_drawn_from_its_own_runs(name, column, values):
    """Beside the runs of all the others, an arm shows the values of its own column, and no others."""
    spec = drawn(plots.arm_chart(arms(), name))
    seen = {
        round(row[column], -6) if name == "sizes" else row[column]
        for row in rows(spec, column, "cell", "fact0", "fact1")
    }
    assert len(seen) == values
    points = rows(spec, "cell", "line", "at")
    assert len({(row["line"], row["at"]) for row in points}) == len(
        points
    )  # of one x, a line has one point


def test_an_arm_whose_rates_differ_says_so():
    """Gates at rates of their own: the picture says it; at one rate, nothing."""
    said, runs = "Not all at one learning rate", arms()
    assert said not in str(drawn(plots.arm_chart(runs, "gate"))["title"])
    other = runs.assign(lr=runs.lr.where(runs.mlp == "swiglu", 1.4e-3))
    assert said in str(drawn(plots.arm_chart(other, "gate"))["title"])


def test_budgets_are_not_compared_at_unequal_rates():
    """lr_check trains each cell at a rate of its own and fewer tokens: beside the grid that is no answer about the budget."""
    other = arms().assign(lr=lambda runs: runs.lr.where(runs.tokens < 1_200_000, 1.4e-3))
    assert "its runs are not here" in plots.arm_chart(other, "budget")
    alone = arms().assign(
        lr=lambda runs: runs.lr.where(
            (runs.tokens < 1_200_000) | (runs.requested_share == 0.35), 1.4e-3
        )
    )
    assert "its runs are not here" in plots.arm_chart(
        alone, "budget"
    )  # the one cell at one rate has no rival


def trained(name: str, profile: str) -> pd.DataFrame:
    """A made-up run of each cell of a sweep, of the shape that the allocator gives it."""
    rows = []
    for n, cell in enumerate(load_sweep(name, profile=profile).cells):
        shape, own = (
            allocation(cell.config),
            {"run_id": f"{name}-{n}", "data_fingerprint": f"f{cell.config.vocab_size}"},
        )
        asked = {
            "requested_share": shape.requested_share,
            "requested_glu": shape.requested_glu,
            "tokens": cell.config.tokens,
        }
        realised = {
            "embed_share": shape.embed_share,
            "glu": shape.glu,
            "total_params": shape.params["total"],
        }
        rows.append(
            run(0.35, 2.66, dev_loss=5 + 0.01 * n) | asdict(shape.model) | asked | realised | own
        )
    return pd.DataFrame(rows)


@pytest.mark.parametrize("profile", ["quick", "reference", "study"])
@pytest.mark.parametrize("others", [[], ["grid"]])
def test_the_vocabulary_arm_shows_every_vocabulary_once(profile, others):
    """Though d_ff takes up what is less than a layer; the grid's baseline is the arm's own point at its vocabulary, not a second one."""
    own = trained("vocabulary", profile)
    spec = drawn(
        plots.arm_chart(
            pd.concat([own, *(trained(name, profile) for name in others)], ignore_index=True),
            "vocabulary",
        )
    )
    assert (
        sorted(row["at"] for row in rows(spec, "at", "cell")) == sorted(own.vocab_size)
        and own.d_ff.nunique() > 2
    )


def test_who_pays_for_a_low_share_is_told_by_the_request():
    """Two depths at which the MLP pays make one name twice, so that the shape stands behind it: the MLP pays all the same."""
    runs = trained("low_share", "quick")
    deeper = runs[runs.requested_glu.isna()].assign(
        n_layers=6, d_ff=200, run_id=lambda deep: deep.run_id + "-6"
    )
    found = rows(
        drawn(plots.arm_chart(pd.concat([runs, deeper], ignore_index=True), "low_share")),
        "cell",
        "line",
    )
    displaced = {row["cell"]: row["line"] for row in found}
    assert len(displaced) == 9 and displaced["35 % (112 × 4 × 336, d_embed 84)"] == "the MLP"
    assert {cell for cell, what in displaced.items() if what == "the depth"} == {
        "10 % × 2.66",
        "15 % × 2.66",
        "35 % × 2.66",
    }


@pytest.mark.parametrize(
    "name, other",
    [("budget", {"tokens": 1_200_000}), ("sizes", {"total_params": 2_000_000, "tokens": 600_000})],
)
def test_an_arm_of_which_no_cell_is_at_two_values_is_a_sentence(name, other):
    """A cell that the study does not have, at another budget or size, compares with nothing."""
    assert "its runs are not here" in plots.arm_chart(
        pd.concat([grid(), pd.DataFrame([run(0.3, 2.5, **other)])]), name
    )


@pytest.mark.parametrize("name", plots.ARMS)
def test_an_arm_without_runs_names_its_command(runs, root, name):
    """The one sentence holds the question and a command, whose sweep is there."""
    only = runs[runs.embedding == "tied"]
    [path] = re.findall(r"`paramalloc sweep (params/\S+)`", plots.arm_chart(only, name))
    assert (root / path).exists()


def test_labels_meet_neither_points_nor_each_other(runs):
    """Every label of a front lies free of all points and of the other labels (boxes of the theme's letters)."""
    from paramalloc.plots.fronts import _placed
    from paramalloc.plots.labels import HEIGHT, SIDES, WIDTH, _label_box

    table = cells_table(runs)
    cells, xs, ys = _placed(table, "tokens_per_s", "dev_loss", pd.Series(dtype=float))
    px, py = (
        (cells["at"] - xs[0]) / (xs[1] - xs[0]) * WIDTH,
        (ys[1] - cells.quality) / (ys[1] - ys[0]) * HEIGHT,
    )
    boxes = {
        i: _label_box(px[i], py[i], cells.cell[i], cells.side[i])
        for i in cells.index
        if cells.side[i]
    }
    meet = lambda a, b: a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
    assert len(boxes) >= len(SIDES)
    assert not any(meet(a, b) for i, a in boxes.items() for j, b in boxes.items() if i < j)
    assert not any(
        box[0] < x < box[1] and box[2] < y < box[3]
        for box in boxes.values()
        for x, y in zip(px, py)
    )


def test_an_arm_joins_neither_corpora_nor_recipes(runs):
    """Untied runs of another corpus, warmup or size are not drawn beside the study's; where a vocabulary varies, the dataset is held."""
    untied = arms()[lambda rows: rows.embedding == "untied"]
    for other in ({"data_fingerprint": "f2"}, {"warmup": 0.3}, {"total_params": 3_000_000}):
        assert isinstance(plots.arm_chart(pd.concat([runs, untied.assign(**other)]), "tying"), Note)
    more = arms()[lambda rows: rows.vocab_size == 8192].assign(data_fingerprint="f8")
    drawn(plots.arm_chart(pd.concat([runs, more]), "vocabulary"))
    assert isinstance(
        plots.arm_chart(pd.concat([runs, more.assign(dataset="other")]), "vocabulary"), Note
    )


def test_tradeoffs_of_another_corpus_are_left_out(runs):
    """What the share is traded against has no line if its runs read another corpus."""
    other = runs.assign(
        data_fingerprint=runs.data_fingerprint.where(
            (runs.embedding == "tied") | runs.requested_glu.isna(), "f2"
        )
    )
    tradeoffs, without = by_tradeoff(runs), by_tradeoff(other)
    assert set(tradeoffs.traded_against) - set(without.traded_against) == {"the depth"}


def test_document_groups_need_not_be_equal_in_number():
    """A vocabulary whose dev split has 31 groups of documents beside 32: the arm is drawn, of seeds alone."""
    runs = arms()
    fewer = runs.dev_by_group.where(
        runs.vocab_size != 8192, runs.dev_by_group.map(lambda group: group[:31])
    )
    drawn(plots.arm_chart(runs.assign(dev_by_group=fewer), "vocabulary"))


def test_the_forest_draws_intervals_for_all_cells_together(runs):
    """Not those of each cell for itself, which are narrower; and the words say so."""
    spec, found = drawn(plots.difference_forest(runs)), differences(runs).set_index("cell")
    assert "for all cells together" in spec["description"] and (found.low_all < found.low).all()
    assert {row["cell"]: row["low"] for row in rows(spec, "low", "cell")} == pytest.approx(
        found.low_all.to_dict()
    )


@pytest.mark.parametrize(
    "cells, seeds, enough",
    [
        ([(0.35, 2.0), (0.35, 4.0)], 8, False),
        ([(0.35, 2.0), (0.35, 2.66), (0.35, 4.0)], 2, True),
        ([(0.35, glu) for glu in (2.0, 2.4, 3.0, 4.0)], 1, False),
        ([(0.35, glu) for glu in (2.0, 2.4, 3.0, 3.5, 4.0)], 1, True),
        ([(s, g) for s in SHARES for g in (2.0, 4.0)][:5], 8, False),
        ([(s, g) for s in SHARES for g in (2.0, 3.0, 4.0)][:8], 1, True),
        ([(s, g) for s in SHARES for g in (2.0, 3.0, 4.0)][:7], 1, False),
        ([(0.25, 2), (0.25, 3), (0.25, 4), (0.35, 2), (0.35, 4), (0.45, 3)], 2, True),
    ],
)
def test_a_surface_needs_as_many_cells_as_its_note_says(cells, seeds, enough):
    """Three along one axis, six across both; with one seed five, or eight."""
    runs = pd.DataFrame(
        [run(share, glu, seed, embed_share=share) for share, glu in cells for seed in range(seeds)]
    )
    assert (fit_surface(runs) is not None) == enough
    assert isinstance(plots.response_surface(runs), Note) != enough


def test_cells_that_were_stopped_are_named_in_a_sentence():
    """One was, several were."""
    assert (
        name_stopped(["a"]) == "a was stopped early"
        and name_stopped(["a", "b", "c"]) == "a, b and c were stopped early"
    )
