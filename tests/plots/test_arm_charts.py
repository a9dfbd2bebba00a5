"""The arms: each is drawn from its own runs alone, and is a sentence where there are none."""

import re
from dataclasses import asdict
from itertools import product

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import SHARES, _measured, grid, run, study
from chart_spec import drawn, rows

from paramalloc import plots
from paramalloc.allocation import allocation
from paramalloc.analysis import by_tradeoff
from paramalloc.runs import Note
from paramalloc.sweep import load_sweep

NOT_HERE = "its runs are not here"


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return study()


@pytest.fixture(scope="module")
def all_arms() -> pd.DataFrame:
    return arms()


def arms() -> pd.DataFrame:
    """The study, and runs of every arm that differ from it in the arm's own column."""
    draw = np.random.default_rng(1)
    changes = {
        "sizes": {"total_params": 2_000_000, "tokens": 600_000},
        "budget": {"tokens": 1_200_000},
        "vocabulary": {"vocab_size": 8192},
        "untied": {"embedding": "untied"},
        "relu2": {"mlp": "relu2"},
    }
    extra = []
    for name, change in changes.items():
        for share, seed in product(SHARES, range(3)):
            columns = change | {"run_id": f"{name}{share}{seed}"}
            extra.append(_measured(run(share, 2.66, seed, **columns), draw))
    for seed in range(3):
        columns = {"run_id": f"low{seed}", "embedding": "factorized", "d_embed": 16}
        extra.append(_measured(run(0.10, 2.66, seed, **columns), draw))
    return pd.concat([study(), pd.DataFrame(extra)], ignore_index=True)


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
def test_an_arm_is_drawn_from_its_own_runs(all_arms, name, column, values):
    """Among the runs of all arms, an arm shows the values of its own column, and no others."""
    spec = drawn(plots.arm_chart(all_arms, name))
    shown = {row[column] for row in rows(spec, column, "cell", "fact0", "fact1")}
    if name == "sizes":
        shown = {round(value, -6) for value in shown}
    assert len(shown) == values
    points = [(row["line"], row["at"]) for row in rows(spec, "cell", "line", "at")]
    assert len(set(points)) == len(points)  # of one x, a line has one point


def test_an_arm_whose_rates_differ_says_so(all_arms):
    """Gates at rates of their own: the picture says it; at one rate, nothing."""
    words = "Not all at one learning rate"
    assert words not in str(drawn(plots.arm_chart(all_arms, "gate"))["title"])
    other = all_arms.assign(lr=all_arms.lr.where(all_arms.mlp == "swiglu", 1.4e-3))
    assert words in str(drawn(plots.arm_chart(other, "gate"))["title"])


def test_budgets_are_not_compared_at_unequal_rates(all_arms):
    """lr_check trains each cell at its own rate with fewer tokens: no answer about the budget."""
    short = all_arms.tokens < 1_200_000
    other = all_arms.assign(lr=all_arms.lr.where(short, 1.4e-3))
    assert NOT_HERE in plots.arm_chart(other, "budget")
    # The one cell at one rate has no rival.
    alone = all_arms.assign(
        lr=all_arms.lr.where(short | (all_arms.requested_share == 0.35), 1.4e-3)
    )
    assert NOT_HERE in plots.arm_chart(alone, "budget")


def trained(name: str, profile: str) -> pd.DataFrame:
    """A made-up run of each cell of a sweep, of the shape that the allocator gives it."""
    table = []
    for n, cell in enumerate(load_sweep(name, profile=profile).cells):
        shape = allocation(cell.config)
        row = run(0.35, 2.66, dev_loss=5 + 0.01 * n) | asdict(shape.model)
        table.append(
            row
            | {
                "requested_share": shape.requested_share,
                "requested_glu": shape.requested_glu,
                "tokens": cell.config.tokens,
                "embed_share": shape.embed_share,
                "glu": shape.glu,
                "total_params": shape.params["total"],
                "run_id": f"{name}-{n}",
                "data_fingerprint": f"f{cell.config.vocab_size}",
            }
        )
    return pd.DataFrame(table)


@pytest.mark.parametrize("profile", ["quick", "reference", "study"])
@pytest.mark.parametrize("others", [[], ["grid"]])
def test_the_vocabulary_arm_shows_every_vocabulary_once(profile, others):
    """Though d_ff takes up what is less than a layer; the grid's baseline is no second point."""
    arm = trained("vocabulary", profile)
    table = pd.concat([arm, *(trained(name, profile) for name in others)], ignore_index=True)
    spec = drawn(plots.arm_chart(table, "vocabulary"))
    assert sorted(row["at"] for row in rows(spec, "at", "cell")) == sorted(arm.vocab_size)
    assert arm.d_ff.nunique() > 2


def test_what_a_low_share_displaces_follows_the_request():
    """Two depths without a requested expansion: one name twice, so the shape is added to it."""
    arm = trained("low_share", "quick")
    deeper = arm[arm.requested_glu.isna()]
    deeper = deeper.assign(n_layers=6, d_ff=200, run_id=deeper.run_id + "-6")
    table = pd.concat([arm, deeper], ignore_index=True)
    spec = drawn(plots.arm_chart(table, "low_share"))
    displaced = {row["cell"]: row["line"] for row in rows(spec, "cell", "line")}
    assert len(displaced) == 9
    assert displaced["35 % (112 × 4 × 336, d_embed 84)"] == "the MLP"
    by_depth = {cell for cell, part in displaced.items() if part == "the depth"}
    assert by_depth == {"10 % × 2.66", "15 % × 2.66", "35 % × 2.66"}


@pytest.mark.parametrize(
    "name, other",
    [("budget", {"tokens": 1_200_000}), ("sizes", {"total_params": 2_000_000, "tokens": 600_000})],
)
def test_an_arm_of_which_no_cell_is_at_two_values_is_a_sentence(name, other):
    """A cell that the study does not have, at another budget or size, compares with nothing."""
    table = pd.concat([grid(), pd.DataFrame([run(0.3, 2.5, **other)])])
    assert NOT_HERE in plots.arm_chart(table, name)


@pytest.mark.parametrize("name", plots.ARMS)
def test_an_arm_without_runs_names_its_command(runs, root, name):
    """The one sentence holds the question and a command, whose sweep is there."""
    only = runs[runs.embedding == "tied"]
    [path] = re.findall(r"`paramalloc sweep (params/\S+)`", plots.arm_chart(only, name))
    assert (root / path).exists()


def test_an_arm_joins_neither_corpora_nor_recipes(runs, all_arms):
    """Untied runs of another corpus, warmup or size are not drawn with the study's."""
    untied = all_arms[all_arms.embedding == "untied"]
    for other in ({"data_fingerprint": "f2"}, {"warmup": 0.3}, {"total_params": 3_000_000}):
        table = pd.concat([runs, untied.assign(**other)])
        assert isinstance(plots.arm_chart(table, "tying"), Note)


def test_the_vocabulary_arm_keeps_to_one_dataset(runs, all_arms):
    """Its fingerprints differ with the vocabulary; the name of the dataset must not."""
    more = all_arms[all_arms.vocab_size == 8192].assign(data_fingerprint="f8")
    drawn(plots.arm_chart(pd.concat([runs, more]), "vocabulary"))
    other = pd.concat([runs, more.assign(dataset="other")])
    assert isinstance(plots.arm_chart(other, "vocabulary"), Note)


def test_tradeoffs_of_another_corpus_are_left_out(runs):
    """What the share is traded against has no line if its runs read another corpus."""
    by_depth = (runs.embedding == "factorized") & runs.requested_glu.notna()
    other = runs.assign(data_fingerprint=runs.data_fingerprint.mask(by_depth, "f2"))
    tradeoffs, without = by_tradeoff(runs), by_tradeoff(other)
    assert set(tradeoffs.traded_against) - set(without.traded_against) == {"the depth"}


@pytest.mark.parametrize("share", [0.35, 0.25])
def test_the_baseline_of_the_tradeoffs_is_that_of_the_runs(runs, share):
    """In the axis, the subtitle and the table's heading."""
    spec = drawn(plots.share_tradeoff(runs.assign(baseline_share=share, baseline_glu=2.66)))
    for words in ("dev loss less that at {}", "less its own {} cell", "less its {} (paired)"):
        assert words.format(f"{100 * share:g} %") in str(spec)
    assert ("35 % cell" in str(spec)) == (share == 0.35)


def test_document_groups_need_not_be_equal_in_number(all_arms):
    """31 groups of documents at one vocabulary, 32 at the others: drawn, of seeds alone."""
    fewer = all_arms.dev_by_group.map(lambda groups: groups[:31])
    groups = all_arms.dev_by_group.where(all_arms.vocab_size != 8192, fewer)
    drawn(plots.arm_chart(all_arms.assign(dev_by_group=groups), "vocabulary"))
