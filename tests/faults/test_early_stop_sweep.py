"""Early stop in a sweep and on Ray: a cell ends at the count that its recorded curve gives."""

import shutil

import pytest
import yaml
from processes import finish

from paramalloc.runs import load_runs, read_metrics

SHARES = [0.2, 0.25, 0.3]
BASELINE = 0.35
TOKENS = 60 * 1024
PATIENCE = 15 * 1024
GRACE = 10 * 1024

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("early_stop")


@pytest.fixture(scope="module")
def sweep(tiny, folder):
    """A function that runs the sweep with some early stop: its runs by share, and their curves."""

    def run(name: str, *words, **changed):
        path, outputs = folder / f"{name}.yaml", folder / name
        recipe = {
            "parametrization": "standard",  # its curves cross
            "embed_lr": 3.0,
            "tokens": TOKENS,
            "probes": 60,
            "stop_patience": PATIENCE,
            "stop_grace": GRACE,
        }
        axes = {"embed_share": [*SHARES, BASELINE]}
        path.write_text(yaml.safe_dump({"axes": axes, "parameters": tiny | recipe | changed}))
        finish(path, outputs, *words)
        runs = load_runs(outputs).set_index("requested_share")
        curves = {share: curve(outputs / "runs" / run_id) for share, run_id in runs.run_id.items()}
        return runs, curves

    return run


def curve(folder) -> dict[int, float]:
    """Tokens -> dev perplexity."""
    return {row["tokens"]: row["dev_ppl"] for row in read_metrics(folder) if "dev_ppl" in row}


def expected(curve: dict, baseline: dict, margin: float) -> tuple[float | None, bool]:
    """The count at which the rule ends a cell, from two whole curves; and if it was ever worse."""
    stretch, ever = [], False
    for tokens in sorted(curve):
        worse = tokens >= GRACE and curve[tokens] - baseline[tokens] >= margin
        ever |= worse
        stretch = [*stretch, tokens] if worse else []
        if stretch and stretch[-1] - stretch[0] >= PATIENCE:
            return stretch[-1], ever
    return None, ever


@pytest.fixture(scope="module")
def undisturbed(sweep):
    """The curves without an early stop, a margin, and the count at which it ends each cell.

    Under that margin one cell is stopped midway, and another is not, though it was worse by as much
    for a while.
    """
    _, curves = sweep("off", early_stop="off")
    for margin in (value / 50 for value in range(1, 2000)):
        ends = {share: expected(curves[share], curves[BASELINE], margin) for share in SHARES}
        stopped = [share for share, (count, _) in ends.items() if count and count < 50 * 1024]
        spared = [share for share, (count, ever) in ends.items() if ever and not count]
        if stopped and spared:
            return curves, margin, {share: count for share, (count, _) in ends.items()}
    pytest.fail("no margin separates the cells: change the fixture")


@pytest.mark.parametrize("engine", ["pool", "ray"])
def test_a_bad_cell_ends_where_the_rule_says(sweep, undisturbed, engine):
    """`kill`: it ends at that count; one worse for less than the patience is trained in full."""
    if engine == "ray":
        pytest.importorskip("ray")
    _, margin, counts = undisturbed
    runs, _ = sweep(f"kill-{engine}", "--engine", engine, early_stop="kill", stop_margin=margin)
    for share, count in counts.items():
        assert runs.status[share] == ("stopped_early" if count else "completed")
        assert runs.tokens_trained[share] == (count or TOKENS)
    assert runs.status[BASELINE] == "completed"


def test_flag_marks_and_trains_on(sweep, undisturbed, folder):
    """The runs are those without an early stop, of which the baseline is taken over."""
    curves, margin, counts = undisturbed
    baseline = load_runs(folder / "off").set_index("requested_share").run_id[BASELINE]
    shutil.copytree(folder / "off" / "runs" / baseline, folder / "flag" / "runs" / baseline)
    runs, flagged = sweep("flag", early_stop="flag", stop_margin=margin)
    assert set(runs.status) == {"completed"}
    assert flagged == curves
    for share, count in counts.items():
        if count:
            assert runs.flagged_at_tokens[share] == count
        else:
            assert runs.flagged_at_tokens.isna()[share]
