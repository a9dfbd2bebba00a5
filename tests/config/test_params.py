"""Every sweep in params/ says what it asks before it runs, and every cell of it can be, at each size."""

import math
from itertools import product

import pytest
import yaml

from paramalloc.allocation import allocation
from paramalloc.config import ROOT, TrainConfig, load_profile, profiles
from paramalloc.runs import run_id
from paramalloc.sweep import load_sweep

ALL = sorted(path.stem for path in (ROOT / "params").glob("*.yaml"))
SWEEPS = [
    name for name in ALL if not name.startswith(("transfer", "spot_check"))
]  # those are made for one size alone
ARMS = [
    "factorized_mlp",
    "factorized_depth",
    "tying",
    "low_share",
    "sizes",
    "vocabulary",
    "budget",
    "gate",
    "noise_floor",
]


def cells(name: str, profile: str) -> list[TrainConfig]:
    return [cell.config for cell in load_sweep(name, profile=profile, dataset="builtin").cells]


def test_the_studys_arms_are_there():
    assert {
        "grid",
        "embedding_sweep",
        "glu_sweep",
        "reference",
        "lr_check",
        "lr_check_ends",
        "lr_check_full",
        "embed_lr_check",
        "optimizer",
        *ARMS,
    } == set(SWEEPS)


@pytest.mark.parametrize("name", ALL)
def test_a_sweep_opens_with_its_question(name):
    """Question, what is expected, what it costs and its command stand in the first comment; an arm says what would answer it."""
    text = (ROOT / "params" / f"{name}.yaml").read_text()
    assert all(f"# {word}" in text for word in ("Expected", "Cost", "Command")) and text.startswith(
        "# Question"
    )
    assert any(
        command in text
        for command in (
            f"make {name}",
            f"paramalloc sweep {name}",
            f"paramalloc sweep params/{name}.yaml",
        )
    )
    assert name not in ARMS or "# Answers" in text


@pytest.mark.parametrize("name, profile", list(product(SWEEPS, profiles())))
def test_every_cell_can_be(name, profile):
    """The allocator has a shape for it, near what was asked, and no two cells are the same run."""
    sweep = load_sweep(name, profile=profile, dataset="builtin")
    assert not {cell.name: cell.error for cell in sweep.cells if cell.error}
    for cell in sweep.cells:
        shape = allocation(cell.config)
        assert abs(shape.params["total"] / cell.config.total_params - 1) <= cell.config.tolerance
        if shape.requested_share:
            assert (
                abs(shape.embed_share - shape.requested_share) <= 0.025
            )  # a layer more or less is a tenth of a small model
        if shape.requested_glu:
            assert abs(math.log(shape.glu / shape.requested_glu)) <= math.log(1.11)
        assert shape.params["attention"] and shape.model.n_layers > 1
    ids = [run_id(run, "data") for cell in sweep.cells for run in cell.config.runs()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    "name, profile",
    list(product(["lr_check", "lr_check_ends", "lr_check_full", "embed_lr_check"], profiles())),
)
def test_a_check_of_the_rates_holds_the_profiles_own(name, profile):
    """Tried among the others (or between two, where the grid's own runs are the third), or the check says nothing of the grid."""
    sweep, (_, sizes) = load_sweep(name, profile=profile, dataset="builtin"), load_profile(profile)
    if name == "embed_lr_check":
        tried = sorted({cell.config.embed_lr for cell in sweep.cells})
        assert tried[0] <= sizes["embed_lr"] <= tried[-1]
    else:
        assert all(
            sizes["lr"]
            in (
                cell.tuning.lr
                if cell.tuning
                else {run.lr for other in sweep.cells for run in other.config.runs()}
            )
            for cell in sweep.cells
        )


@pytest.mark.parametrize("profile", profiles())
def test_a_profile_is_one_of_this_trainer(profile):
    """Every name is a parameter, a step divides into windows; the reference trains as many tokens a parameter as the study."""
    _, sizes = load_profile(profile)
    small, study = (TrainConfig.from_dict({"profile": name}) for name in (profile, "study"))
    assert set(sizes) <= set(TrainConfig.names()) and small.batch_tokens % small.seq_len == 0
    assert (
        profile != "reference"
        or small.tokens / small.total_params == study.tokens / study.total_params
    )


@pytest.mark.parametrize("profile", profiles())
def test_an_arm_varies_what_it_says_and_nothing_else(profile):
    """factorized_mlp moves d_embed and d_ff alone; factorized_depth keeps the width; vocabulary keeps it too."""
    shapes = {
        name: [allocation(config).model for config in cells(name, profile)]
        for name in ("factorized_mlp", "factorized_depth", "vocabulary")
    }
    held = lambda name, *dimensions: (
        len({tuple(getattr(shape, d) for d in dimensions) for shape in shapes[name]}) == 1
    )
    assert held("factorized_mlp", "d_model", "n_layers", "n_heads") and not held(
        "factorized_mlp", "d_ff"
    )
    assert held("factorized_depth", "d_model") and not held("factorized_depth", "n_layers")
    assert held("vocabulary", "d_model") and not held("vocabulary", "vocab_size")


@pytest.mark.parametrize(
    "name, profile",
    list(
        product(
            ["factorized_mlp", "factorized_depth", "low_share", "tying", "sizes", "budget", "gate"],
            profiles(),
        )
    ),
)
def test_early_stop_of_an_arm_compares_within_the_arm(name, profile):
    """The baseline of every cell is a cell of the same sweep: what the arm holds fixed is fixed there too."""
    ids = lambda configs: {run_id(run, "data") for config in configs for run in config.runs()}
    configs = cells(name, profile)
    assert ids(config.baseline() for config in configs) <= ids(configs)


@pytest.mark.parametrize("profile", profiles())
def test_arms_share_runs_with_the_grid(profile):
    """What is a cell of the grid is trained once."""
    ids = lambda name: {
        run_id(run, "data")
        for config in cells(name, profile)
        for run in config.runs()
        if run.seed == 0
    }
    for name, count in {
        "tying": 3,
        "sizes": 3,
        "budget": 3,
        "gate": 3,
        "vocabulary": 1,
        "noise_floor": 1,
    }.items():
        assert len(ids(name) & ids("grid")) == count, name
    assert len(ids("low_share") & (ids("factorized_mlp") | ids("factorized_depth"))) == 2


def test_make_reference_runs_every_arm():
    """The learning rates, the grid and the factorized arms for each seed, then the rest; each name is a sweep."""
    recipe = (ROOT / "Makefile").read_text().split("\nreference:")[1].split("\n\n")[0]
    assert (
        all(name in recipe for name in ["reference", "lr_check", *ARMS])
        and "for seed in 0 1 2" in recipe
    )


def test_the_reference_is_the_grid_with_seeds_at_one_learning_rate():
    """The cells of grid; three claim seeds; the rate of every arm, so that their cells are the same runs; lr_check tunes the same cells."""
    grid = [
        (cell.config.embed_share, cell.config.glu)
        for cell in load_sweep("grid", profile="quick").cells
    ]
    for profile in profiles():
        sweep, check = (
            load_sweep("reference", profile=profile),
            load_sweep("lr_check", profile=profile),
        )
        assert [(cell.config.embed_share, cell.config.glu) for cell in sweep.cells] == grid
        assert [(cell.config.embed_share, cell.config.glu) for cell in check.cells] == grid and all(
            cell.tuning for cell in check.cells
        )
        assert all(
            cell.config.seed == (0, 1, 2) and cell.config.early_stop == "flag" and not cell.tuning
            for cell in sweep.cells
        )
        assert {
            cell.config.lr
            for name in ["reference", *ARMS]
            for cell in load_sweep(name, profile=profile).cells
        } == {load_profile(profile)[1]["lr"]}
    assert load_sweep("noise_floor", profile="reference").cells[0].config.seed == tuple(range(9))
    assert (
        yaml.safe_load((ROOT / "params" / "reference.yaml").read_text())["parameters"]["dataset"]
        == "../shared/data/wiki-news"
    )
