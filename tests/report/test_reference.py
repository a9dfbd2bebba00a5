"""What is published in outputs/reference can be made again from its results.csv alone.

A single run of it: tests/checks/check_again.py.
"""

import re

import numpy as np
import pandas as pd
import pytest

from paramalloc.allocation import allocation, flops_per_token
from paramalloc.analysis import (
    by_chance,
    eligible_runs,
    estimate_noise,
    main_effects,
    rate_check,
    reach_verdict,
)
from paramalloc.cli import main
from paramalloc.config import ROOT
from paramalloc.report import scale
from paramalloc.runs import read_results
from paramalloc.sweep import load_sweep

PUBLISHED = sorted(path.parent for path in (ROOT / "outputs" / "reference").rglob("RESULTS.md"))


def told(results) -> str:
    """RESULTS.md without its provenance, which names this commit and these versions."""
    return results.read_text(encoding="utf-8").split("## Provenance")[0]


def page(name: str) -> str:
    """A page for readers without its line breaks; `make docs` writes its numbers."""
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


def test_something_is_published():
    assert PUBLISHED


@pytest.mark.slow
@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_a_published_report_is_its_table(folder, tmp_path):
    """`paramalloc report results.csv` writes tables, sentences, figures and rows byte for byte."""
    assert (
        main(["report", str(folder / "results.csv"), "--name", "again", "--outputs", str(tmp_path)])
        == 0
    )
    again = tmp_path / "reports" / "again"
    assert told(again / "RESULTS.md") == told(folder / "RESULTS.md")
    figures = {file.name: file.read_bytes() for file in (folder / "figures").iterdir()}
    assert {
        file.name: file.read_bytes() for file in (again / "figures").iterdir()
    } == figures and figures
    assert (again / "results.csv").read_bytes() == (folder / "results.csv").read_bytes()


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_a_published_folder_names_no_machine(folder):
    """No absolute path of who ran it in text, table or figure; all fits into a repository."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    texts = [
        file.read_text(encoding="utf-8")
        for file in files
        if file.suffix in (".md", ".csv", ".svg", ".html")
    ]
    assert not [
        text
        for text in texts
        if any(path in text for path in ("/home/", "/tmp/", f"{ROOT.parent}/"))
    ]
    assert sum(file.stat().st_size for file in files) < 8e6


def test_the_readme_opens_with_the_answer_of_the_rows():
    """Main effects and best cell with intervals, the scale, how many may be the best, the rows."""
    runs = read_results(ROOT / "outputs" / "reference" / "results.csv")
    verdict = reach_verdict(runs)
    best = verdict.sentences[0]
    effects = main_effects(runs).set_index("level")
    worse, similar = effects.loc[0.25], effects.loc[0.45]
    claim = (
        f"**Averaged over GLU expansions, a share of 25 % is {worse.difference:.3f} nats worse than"
        f" 35 % (95 % CI [{worse.low:.3f}, {worse.high:.3f}]); a share of 45 % is not"
        f" distinguishable from 35 % (95 % CI [−{-similar.low:.3f}, +{similar.high:.3f}]).**"
    )
    assert " ".join([claim, *verdict.meaning[1:]]) in page("README.md")
    noise = f"{len(verdict.close)} of 12 cells may be the best at this noise."
    assert f"{best} {noise} {scale(runs)}" in page("README.md")
    grid = runs[(runs.tokens == 5_000_000) & runs.seed.isin([0, 1, 2])]
    assert len(grid) == 36
    rows = "The reference grid is the 36 rows of 5M tokens and seeds 0, 1 and 2."
    assert rows in page("outputs/README.md")


def test_the_readme_says_what_confounds_the_answer():
    """By the grid's rows: one worse share, the only one with single heads, one learning rate."""
    runs = eligible_runs(read_results(ROOT / "outputs" / "reference" / "results.csv"))
    effects = main_effects(runs)
    heads = runs.groupby("requested_share").n_heads.max()
    assert list(effects.level[effects.low > 0]) == list(heads.index[heads == 1]) == [0.25]
    assert runs.lr.nunique() == 1
    sentence = "The one claim, that 25 % is worse, is confounded: only those cells have a single"
    assert sentence in page("README.md")


def test_the_rows_that_the_report_names_give_its_means():
    """Methods' rule by hand: completed rows of a request, at the named tokens and rate."""
    results = (ROOT / "outputs" / "reference" / "RESULTS.md").read_text(encoding="utf-8")
    tokens = int(re.search(r"`tokens` (\d+) and the table's `lr`", results)[1])
    rows = pd.read_csv(ROOT / "outputs" / "reference" / "results.csv")
    rows = rows[(rows.status == "completed") & (rows.tokens == tokens) & (rows.seed < 1000)]
    found = re.findall(
        r"^\| (\d+) % × ([\d.]+) \| ([\d.]+) \| .*\| 3 \| ([\d.]+) \| completed",
        results,
        re.MULTILINE,
    )
    assert len(found) == 12
    for share, glu, mean, lr in found:
        own = rows[
            np.isclose(rows.requested_share, int(share) / 100)
            & np.isclose(rows.requested_glu, float(glu))
            & np.isclose(rows.lr, float(lr))
        ]
        assert f"{own.dev_loss.mean():.4f}" == mean and len(own) == 3


def test_what_a_rate_of_its_own_would_gain_a_cell():
    """On average, by chance alone, and between shares, recomputed from the rows of the check."""
    runs = read_results(ROOT / "outputs" / "reference" / "results.csv")
    check = rate_check(runs[(runs.tokens == 5e6) | (runs.tokens == 1e6) & (runs.seed == 1000)])
    shares = check.groupby("requested_share").gain.mean()
    chance, _ = by_chance(check, estimate_noise(runs).sigma)
    text = page("params/README.md")
    assert f"gains {check.gain.mean():.3f} nats, averaged over {len(check)} cells" in text
    assert f"{chance:.3f} would be chance." in text
    assert f"shares differ by at most {shares.max() - shares.min():.3f}." in text
    effect = f"the rate explains little of the {main_effects(runs).difference.max():.3f} nats"
    assert effect in text
    assert set(check.tokens) == {1e6}
    fewest = check.tried.map(len).min()
    assert f"`lr_check` tried at least {fewest} rates for each cell" in text
    assert "with 1M tokens and seed 1000" in text


def test_the_readme_says_what_the_larger_study_takes():
    """FLOPs by the ledger; minutes from the 505 s that an H200 took for twelve runs (LOG.md)."""
    runs = [
        run for cell in load_sweep("reference", profile="study").cells for run in cell.config.runs()
    ]
    flops = sum(
        run.tokens * flops_per_token(allocation(run).model, run.seq_len)["train"] for run in runs
    )
    minutes = len(runs) / 12 * 505 / 60
    study = f"{len(runs)} runs, {flops / 1e15:.0f} PFLOP, about {minutes:.0f} minutes on an H200"
    assert study in page("README.md")


@pytest.mark.parametrize("folder, size, tokens", [("wikitext-2", 1, 5), ("spot_check", 10, 2)])
def test_what_three_shares_gave(folder, size, tokens):
    """One seed a share, so only the losses are told; their rows are beside them."""
    runs = read_results(ROOT / "outputs" / "reference" / folder / "results.csv").sort_values(
        "requested_share"
    )
    assert (
        list(runs.requested_share) == [0.25, 0.35, 0.45]
        and runs.seed.nunique() == 1
        and set(runs.requested_glu) == {2.66}
    )
    assert np.allclose(runs.total_params, size * 1e6, rtol=0.02)
    assert set(runs.tokens) == {tokens * 1e6}
    first, second, third = runs.dev_loss
    row = f"| `{folder}` | {size}M | {tokens}M | {first:.3f} | {second:.3f} | {third:.3f} |"
    assert row in page("outputs/README.md")
