"""Early stop in a sweep and on Ray: the count at which a cell ends is the one that its recorded curve gives."""

import os
import sys

import pytest
import yaml

sys.path.insert(0, os.path.dirname(__file__))
from test_sweep_kills import start

from paramalloc.runs import load_runs, read_metrics

SHARES, PATIENCE, GRACE = [0.2, 0.25, 0.3, 0.35], 15 * 1024, 10 * 1024

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sweep(tiny, tmp_path_factory):
    """A function that runs the sweep with some early stop and gives its runs by share and their curves."""
    folder = tmp_path_factory.mktemp("early_stop")

    def run(name: str, *words, **changed):
        path, outputs = folder / f"{name}.yaml", folder / name
        recipe = {
            "parametrization": "standard",
            "embed_lr": 3.0,
            "tokens": 60 * 1024,
            "probes": 60,
        }  # its curves cross
        shared = tiny | recipe | {"stop_patience": PATIENCE, "stop_grace": GRACE} | changed
        path.write_text(yaml.safe_dump({"axes": {"embed_share": SHARES}, "parameters": shared}))
        process = start(path, outputs, *words)
        said, _ = process.communicate(timeout=400)
        assert process.returncode == 0, said
        runs = load_runs(outputs).set_index("requested_share")
        probes = lambda run_id: (
            row for row in read_metrics(outputs / "runs" / run_id) if "dev_ppl" in row
        )
        return runs, {
            share: {row["tokens"]: row["dev_ppl"] for row in probes(run_id)}
            for share, run_id in runs.run_id.items()
        }

    return run


def expected(curve: dict, baseline: dict, margin: float) -> tuple[float | None, bool]:
    """(the count at which the rule ends it, whether it was ever worse by the margin), computed here from two whole curves."""
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
    """Runs and curves without an early stop, and a margin by which one cell is stopped midway and another is not, though it was
    worse by as much for a while."""
    runs, curves = sweep("off", early_stop="off")
    for margin in (value / 50 for value in range(1, 2000)):
        found = {share: expected(curves[share], curves[0.35], margin) for share in SHARES[:3]}
        stopped = [share for share, (count, _) in found.items() if count and count < 50 * 1024]
        spared = [share for share, (count, ever) in found.items() if ever and not count]
        if stopped and spared:
            return curves, margin, {share: count for share, (count, _) in found.items()}
    pytest.fail("no margin tells the cells apart: change the fixture")


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_bad_cell_ends_where_the_rule_says(sweep, undisturbed, engine):
    """`kill`: that cell ends at that count, one that was worse for less than the patience is trained in full."""
    if engine == "ray":
        pytest.importorskip("ray")
    _, margin, counts = undisturbed
    runs, _ = sweep(f"kill-{engine}", "--engine", engine, early_stop="kill", stop_margin=margin)
    assert {share: runs.status[share] for share in counts} == {
        share: "stopped_early" if count else "completed" for share, count in counts.items()
    }
    assert {share: runs.tokens_trained[share] for share in counts} == {
        share: count or 60 * 1024 for share, count in counts.items()
    }
    assert runs.status[0.35] == "completed"


def test_flag_marks_and_trains_on(sweep, undisturbed):
    curves, margin, counts = undisturbed
    runs, flagged = sweep("flag", early_stop="flag", stop_margin=margin)
    assert set(runs.status) == {"completed"} and flagged == curves
    assert all(
        runs.flagged_at_tokens[share] == count if count else runs.flagged_at_tokens.isna()[share]
        for share, count in counts.items()
    )
