"""What is published in outputs/reference can be made again from its results.csv (a single run of it: check_again.py)."""

import re

import numpy as np
import pandas as pd
import pytest

from paramalloc.allocation import allocation, flops_per_token
from paramalloc.analysis import by_chance, estimate_noise, main_effects, rate_check, reach_verdict
from paramalloc.cli import main
from paramalloc.config import ROOT
from paramalloc.report import scale
from paramalloc.runs import read_results
from paramalloc.sweep import load_sweep

PUBLISHED = sorted(path.parent for path in (ROOT / "outputs" / "reference").rglob("RESULTS.md"))


def told(results) -> str:
    """RESULTS.md without its provenance, which names this commit and these versions."""
    return results.read_text(encoding="utf-8").split("## Provenance")[0]


def said_in_the_readme() -> str:
    """The README without its line breaks."""
    return " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


def test_something_is_published():
    assert PUBLISHED


@pytest.mark.slow
@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_a_published_report_is_its_table(folder, tmp_path):
    """`paramalloc report results.csv` writes every table, sentence and figure again, byte for byte, and the same rows."""
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
    """No absolute path of who ran it, in text, table or figure; all of it is small enough for a repository."""
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
    """Its two sentences, with their intervals, the seeds and the scale they hold at, how many cells may be the best, and the rows."""
    runs = read_results(ROOT / "outputs" / "reference" / "results.csv")
    found = reach_verdict(runs)
    first, *_, last = found.sentences
    assert (
        f"**{first}** {last} {scale(runs)} {len(found.close)} of 12 cells may be the best at this noise."
        in said_in_the_readme()
    )
    grid = runs[(runs.tokens == 5_000_000) & runs.seed.isin([0, 1, 2])]
    assert (
        len(grid) == 36
        and "(the grid's are those of 5,000,000 tokens and seeds 0, 1, 2)" in said_in_the_readme()
    )


def test_the_rows_that_the_report_names_give_its_means():
    """Methods' rule, applied by hand: completed rows of a request, at the named tokens and the table's rate, on claim seeds."""
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


def test_the_readme_says_what_a_rate_of_its_own_would_gain_a_cell():
    """In the mean, by chance alone, and between shares, recomputed from the rows of the check."""
    runs = read_results(ROOT / "outputs" / "reference" / "results.csv")
    check = rate_check(runs[(runs.tokens == 5e6) | (runs.tokens == 1e6) & (runs.seed == 1000)])
    shares = check.groupby("requested_share").gain.mean()
    assert (
        f"{check.gain.mean():.3f} nats in the mean of {len(check)} cells, of which {by_chance(check, estimate_noise(runs).sigma)[0]:.3f} would be chance, and no share's "
        f"mean is more than {shares.max() - shares.min():.3f} from another's"
    ) in said_in_the_readme()
    assert (
        set(check.tokens) == {1e6}
        and f"So at that budget the rate explains little of the {main_effects(runs).difference.max():.3f} nats"
        in said_in_the_readme()
    )


def test_the_readme_says_what_the_larger_study_takes():
    """The FLOPs by the ledger; the minutes from the 505 s that an H200 took for twelve runs (LOG.md)."""
    runs = [
        run for cell in load_sweep("reference", profile="study").cells for run in cell.config.runs()
    ]
    flops = sum(
        run.tokens * flops_per_token(allocation(run).model, run.seq_len)["train"] for run in runs
    )
    assert (
        f"{flops / 1e15:.0f} PFLOP for the same {len(runs)} runs, about {len(runs) / 12 * 505 / 60:.0f} minutes"
        in said_in_the_readme()
    )


@pytest.mark.parametrize(
    "folder, size, tokens, words",
    [("wikitext-2", 1e6, 5e6, " nats per token at 25, 35 and 45 %"), ("spot_check", 1e7, 2e6, "")],
)
def test_the_readme_says_what_three_shares_gave(folder, size, tokens, words):
    """One seed a share, so only the losses are told; their rows are beside them."""
    runs = read_results(ROOT / "outputs" / "reference" / folder / "results.csv").sort_values(
        "requested_share"
    )
    assert (
        list(runs.requested_share) == [0.25, 0.35, 0.45]
        and runs.seed.nunique() == 1
        and set(runs.requested_glu) == {2.66}
    )
    assert np.allclose(runs.total_params, size, rtol=0.02) and set(runs.tokens) == {tokens}
    first, second, third = runs.dev_loss
    said = (
        f"at {size / 1e6:.0f}M parameters, {tokens / 1e6:.0f}M tokens and × 2.66 gave {first:.3f}, {second:.3f} and {third:.3f}{words} "
        f"([rows](outputs/reference/{folder}/results.csv)"
    )
    assert said in said_in_the_readme()
