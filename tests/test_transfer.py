"""The best learning rate of a shape, how far it moves, and what one rate for all costs: against losses whose minimum is known."""

import math

import numpy as np
import pandas as pd
import pytest

from paramalloc import plots
from paramalloc.config import ROOT
from paramalloc.runs import read_results
from paramalloc.transfer import moves, optima, slopes, verdict

RATES = [1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2]
SHAPES = [(48, 8), (96, 8), (192, 8), (96, 2), (96, 32)]


def runs(best: dict, curve: float = 0.1) -> pd.DataFrame:
    """Losses 4.5 + curve (log2 lr - log2 best)^2, where best[parametrization](d_model, n_layers) is the rate of the minimum."""
    return pd.DataFrame([
        {"parametrization": name, "embed_lr": 3.0, "d_model": d, "n_layers": n, "lr": lr, "seed": 0, "status": "completed",
         "dev_loss": 4.5 + curve * math.log2(lr / rate(d, n)) ** 2} for name, rate in best.items() for d, n in SHAPES for lr in RATES])


TWO = {"completep": lambda d, n: 3e-3, "standard": lambda d, n: 3e-3 * 96 / d}


def test_a_parabola_gives_its_own_vertex():
    """Between the rates that were tried the minimum is found exactly, and its loss."""
    found = optima(runs({"completep": lambda d, n: 3e-3}))
    assert found.best_lr.to_numpy() == pytest.approx(3e-3) and found.best_loss.to_numpy() == pytest.approx(4.5) and not found.edge.any()


def test_a_best_rate_at_the_edge_is_called_one():
    """Of losses that only fall, the last rate and its loss."""
    found = optima(runs({"standard": lambda d, n: 1.0}))
    assert found.edge.all() and (found.best_lr == RATES[-1]).all()


def test_a_diverged_run_is_no_best():
    """Without a loss a rate does not count."""
    frame = runs({"completep": lambda d, n: 8e-3})
    frame.loc[frame.lr == 1.6e-2, ["dev_loss", "status"]] = [np.nan, "diverged"]
    assert (optima(frame).best_lr == 8e-3).all()


def test_moves_are_octaves_and_the_loss_of_one_rate_for_all():
    """A best rate that halves with each doubling of the width moves by -2 octaves from 48 to 192, and by none with the depth; the
    rate of 96 is one octave off in the others: 0.1 nats, and a little, as losses are interpolated between rates."""
    found = moves(runs(TWO), base=(96, 8)).set_index(["parametrization", "axis"])
    assert found.octaves.to_dict() == pytest.approx({("completep", "width"): 0, ("completep", "depth"): 0, ("standard", "width"): -2, ("standard", "depth"): 0}, abs=1e-9)
    assert 0.1 <= found.regret["standard", "width"] < 0.13 and found.regret["completep", "width"] < 0.03


def test_the_verdict_names_the_one_that_loses_less():
    """Or says that there is nothing to compare."""
    assert "under `completep`, and one" in verdict(runs(TWO), base=(96, 8))
    assert "no runs to compare" in verdict(runs({"completep": TWO["completep"]}), base=(96, 8))


def test_slopes_are_exponents():
    """Changes that grow with the root of the width and fall with the depth: 0.5 and -1."""
    rows = [{"parametrization": "x", "axis": axis, "what": "logits", "step": 1, "d_model": d, "n_layers": n, "change": d**0.5 / n}
            for axis, sizes in (("width", [(64, 4), (128, 4), (256, 4)]), ("depth", [(64, 2), (64, 8), (64, 32)])) for d, n in sizes]
    assert slopes(pd.DataFrame(rows)).set_index("axis").slope.to_dict() == pytest.approx({"width": 0.5, "depth": -1.0})


def test_charts_draw_every_shape_and_rate():
    """The chart of rates holds each mean once per panel that its shape belongs to, and a note where nothing was trained."""
    frame = runs(TWO)
    spec = plots.best_rates(frame, optima(frame)).to_dict()
    rows = [row for data in spec["datasets"].values() for row in data if "dev_loss" in row]
    assert len(rows) == 2 * 2 * 3 * len(RATES)
    assert "no runs yet" in plots.best_rates(frame.iloc[:0], optima(frame.iloc[:0]))


def test_the_readme_says_what_was_measured():
    """Octaves by width and depth under both, recomputed from the published runs."""
    published = read_results(ROOT / "outputs" / "reference" / "transfer" / "results.csv")
    found = moves(published[published.embed_lr == 3], base=(96, 8)).set_index(["parametrization", "axis"]).octaves.abs()
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    said = (f"by {found['completep', 'width']:.1f} octaves from width 48 to 192 and by {found['completep', 'depth']:.1f} from depth 2 to 32, where under "
            f"`standard` it moves by at least {found['standard', 'width']:.1f} and {found['standard', 'depth']:.1f}")
    assert said in readme
