"""What is published in outputs/reference can be made again from its results.csv alone.

A single run of it: tests/checks/check_again.py.
"""

import re

import numpy as np
import pandas as pd
import pytest

from paramalloc.allocation import allocation, flops_per_token
from paramalloc.cli import main
from paramalloc.config import ROOT
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
