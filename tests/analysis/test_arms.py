"""Arms compare what differs in one more axis, each group at its own noise and rates."""

import pandas as pd
from analysis_fixtures import factorized, grid, noisy, run

from paramalloc.analysis import (
    arm,
    by_tradeoff,
)


def test_by_tradeoff_names_what_gives_way_as_the_share_grows():
    """Tied: width and depth; factorized: the MLP or the depth; three shares each, in order, with
    intervals where seeds repeat.
    """
    found = by_tradeoff(
        noisy(
            pd.concat(
                [grid(seeds=2), factorized("the MLP", 2), factorized("the depth", 2)],
                ignore_index=True,
            )
        )
    )
    assert found.groupby("traded_against", sort=False).size().to_dict() == {
        "width and depth": 3,
        "the MLP": 3,
        "the depth": 3,
    }
    assert all(
        part.embed_share.is_monotonic_increasing for _, part in found.groupby("traded_against")
    )
    assert (found.low < found.dev_loss).all() and (found.dev_loss < found.high).all()
    beside = found[found.difference.notna()]
    assert (
        len(beside) == 6
        and (beside.difference_low < beside.difference).all()
        and not beside.cell.str.startswith("35 %").any()
    )


def test_all_tradeoffs_have_one_baseline():
    """That of most runs, although those of one arm recorded another."""
    recorded = grid(seeds=2).assign(baseline_share=0.35, baseline_glu=2.66)
    other = factorized("the depth", 2).assign(baseline_share=0.25, baseline_glu=2.66)
    rows = by_tradeoff(noisy(pd.concat([recorded, other], ignore_index=True)))
    without = rows[rows.difference.isna()]
    assert without.traded_against.tolist() == ["width and depth", "the depth"]
    assert without.cell.str.startswith("35 %").all()
    assert (rows.baseline_share == 0.35).all()


def test_an_arm_keeps_its_groups_apart():
    """Two budgets, 12 cells each: 24 rows, none averaged with another, in order of the budget."""
    later = grid(seeds=2).assign(tokens=1_000_000, dev_loss=lambda rows: rows.dev_loss - 0.5)
    found = arm(noisy(pd.concat([grid(seeds=2), later], ignore_index=True)), "tokens")
    assert (
        found.tokens.tolist() == [300_000] * 12 + [1_000_000] * 12
        and found.dev_loss[:12].min() > found.dev_loss[12:].max()
    )
    assert found.cell.nunique() == 12 and (found.n_seeds == 2).all() and found.low.notna().all()


def test_an_arm_is_at_the_rates_that_all_of_it_have():
    """Where a tuning run chose another rate at one budget alone, both budgets are compared at the
    common one, on all its seeds.
    """
    short = grid(seeds=2).assign(tokens=60_000)
    tuned = pd.concat(
        [
            grid().assign(tokens=60_000, lr=1.4e-3, dev_loss=5.0),
            grid().assign(tokens=60_000, lr=1.4e-3, seed=1000, dev_loss=5.0),
        ]
    )
    found = arm(noisy(pd.concat([grid(seeds=3), short, tuned], ignore_index=True)), "tokens")
    assert (
        found.groupby("tokens").n_seeds.unique().map(list).to_dict() == {60_000: [2], 300_000: [3]}
        and found.lr.nunique() == 1
    )
    apart = arm(
        noisy(pd.concat([grid(seeds=3), short.assign(lr=1.4e-3)], ignore_index=True)), "tokens"
    )
    assert apart.groupby("tokens").lr.unique().map(list).to_dict() == {
        60_000: [1.4e-3],
        300_000: [3e-3],
    }


def test_an_arm_over_vocabularies_is_in_bits_per_byte():
    """The column of the quality is the one asked for."""
    runs = pd.concat([grid(), grid().assign(vocab_size=8192)], ignore_index=True)
    found = arm(runs, "vocab_size", "dev_bpb")
    assert (
        found.vocab_size.unique().tolist() == [4096, 8192]
        and found.dev_bpb.notna().all()
        and "dev_loss" not in found
    )


def test_an_arm_keeps_a_cell_at_its_own_rate_where_the_others_have_no_run_of_it():
    """Tied cells of 25 % at a rate of their own, untied ones of 35 % only: the tied cell stays, at
    its rate; tuning runs of another budget change nothing.
    """
    tied = [
        run(share, 2.66, seed, lr) for share, lr in ((0.25, 1e-3), (0.35, 3e-3)) for seed in (0, 1)
    ]
    untied = [run(0.35, 2.66, seed, 3e-3, embedding="untied") for seed in (0, 1)]
    runs = pd.DataFrame(tied + untied)
    found = arm(runs, "embedding")
    assert len(found) == 3 and set(found.n_seeds) == {2}
    tuning = pd.DataFrame([run(0.35, 2.66, 1000, 6e-3, tokens=1e5)])
    assert (
        arm(pd.concat([runs, tuning], ignore_index=True), "embedding").dev_loss.tolist()
        == found.dev_loss.tolist()
    )
