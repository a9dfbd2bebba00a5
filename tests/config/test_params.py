"""Every sweep in params/ opens with its question, and each cell has a shape at each size."""

import math
from itertools import product

import pytest
import yaml

from paramalloc.allocation import allocation
from paramalloc.config import ROOT, TrainConfig, load_profile, profiles
from paramalloc.runs import run_id
from paramalloc.sweep import Sweep, load_sweep

ALL = sorted(path.stem for path in (ROOT / "params").glob("*.yaml"))
ONE_SIZE = ("transfer", "spot_check")  # begin the names of sweeps for one size alone
SWEEPS = [name for name in ALL if not name.startswith(ONE_SIZE)]
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


def ids(configs: list[TrainConfig], seeds: set[int] | None = None) -> set[str]:
    """The ids of all runs of these cells, or of their runs with one of these seeds."""
    runs = [run for config in configs for run in config.runs()]
    return {run_id(run, "data") for run in runs if seeds is None or run.seed in seeds}


def requests(sweep: Sweep) -> list[tuple[float, float]]:
    return [(cell.config.embed_share, cell.config.glu) for cell in sweep.cells]


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
        "screening",
        *ARMS,
    } == set(SWEEPS)


@pytest.mark.parametrize("name", ALL)
def test_a_sweep_opens_with_its_question(name):
    """Question, what is expected, what it costs and its command stand in the first comment; an arm
    says what would answer it."""
    text = (ROOT / "params" / f"{name}.yaml").read_text()
    assert text.startswith("# Question")
    assert all(f"# {word}" in text for word in ("Expected", "Cost", "Command"))
    sweep = "paramalloc sweep"
    commands = (f"make {name}", f"{sweep} {name}", f"{sweep} params/{name}.yaml")
    assert any(command in text for command in commands)
    assert name not in ARMS or "# Answers" in text


@pytest.mark.parametrize("name, profile", list(product(SWEEPS, profiles())))
def test_every_cell_can_be(name, profile):
    """The allocator has a shape for it, near what was asked, and no two cells are the same run."""
    sweep = load_sweep(name, profile=profile, dataset="builtin")
    assert not {cell.name: cell.error for cell in sweep.cells if cell.error}
    for cell in sweep.cells:
        shape = allocation(cell.config)
        assert abs(shape.params["total"] / cell.config.total_params - 1) <= cell.config.tolerance
        if shape.requested_share:  # a layer more or less is a tenth of a small model
            assert abs(shape.embed_share - shape.requested_share) <= 0.025
        if shape.requested_glu:
            assert abs(math.log(shape.glu / shape.requested_glu)) <= math.log(1.11)
        assert shape.params["attention"] and shape.model.n_layers > 1
    runs = [run for cell in sweep.cells for run in cell.config.runs()]
    assert len(ids([cell.config for cell in sweep.cells])) == len(runs)


@pytest.mark.parametrize(
    "name, profile",
    list(product(["lr_check", "lr_check_ends", "lr_check_full", "embed_lr_check"], profiles())),
)
def test_a_check_of_the_rates_holds_the_profiles_own(name, profile):
    """Tried among the others (or between two, where the grid's own runs are the third). Otherwise
    the check says nothing of the grid."""
    sweep = load_sweep(name, profile=profile, dataset="builtin")
    _, sizes = load_profile(profile)
    if name == "embed_lr_check":
        tried = sorted({cell.config.embed_lr for cell in sweep.cells})
        assert tried[0] <= sizes["embed_lr"] <= tried[-1]
        return
    rates = {run.lr for cell in sweep.cells for run in cell.config.runs()}
    for cell in sweep.cells:
        assert sizes["lr"] in (cell.tuning.lr if cell.tuning else rates)


@pytest.mark.parametrize("profile", profiles())
def test_a_profile_is_one_of_this_trainer(profile):
    """Every name is a parameter, a step divides into windows; the reference trains as many tokens
    a parameter as the study."""
    _, sizes = load_profile(profile)
    small, study = (TrainConfig.from_dict({"profile": name}) for name in (profile, "study"))
    assert set(sizes) <= set(TrainConfig.names())
    assert small.batch_tokens % small.seq_len == 0
    if profile == "reference":
        assert small.tokens / small.total_params == study.tokens / study.total_params


@pytest.mark.parametrize("profile", profiles())
def test_an_arm_varies_what_it_says_and_nothing_else(profile):
    """factorized_mlp moves d_embed and d_ff alone; factorized_depth, vocabulary keep the width."""
    shapes = {
        name: [allocation(config).model for config in cells(name, profile)]
        for name in ("factorized_mlp", "factorized_depth", "vocabulary")
    }

    def held(name: str, dimension: str) -> bool:
        return len({getattr(shape, dimension) for shape in shapes[name]}) == 1

    for dimension in ("d_model", "n_layers", "n_heads"):
        assert held("factorized_mlp", dimension)
    assert not held("factorized_mlp", "d_ff")
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
    """The baseline of every cell is a cell of the same sweep: what the arm holds fixed is fixed
    there too."""
    configs = cells(name, profile)
    assert ids([config.baseline() for config in configs]) <= ids(configs)


@pytest.mark.parametrize("profile", profiles())
def test_arms_share_runs_with_the_grid(profile):
    """What is a cell of the grid is trained once."""
    shared = {"tying": 3, "sizes": 3, "budget": 3, "gate": 3, "vocabulary": 1, "noise_floor": 1}
    arms = ("low_share", "factorized_mlp", "factorized_depth")
    of_seed_0 = {name: ids(cells(name, profile), {0}) for name in ("grid", *shared, *arms)}
    for name, count in shared.items():
        assert len(of_seed_0[name] & of_seed_0["grid"]) == count, name
    factorized = of_seed_0["factorized_mlp"] | of_seed_0["factorized_depth"]
    assert len(of_seed_0["low_share"] & factorized) == 2


@pytest.mark.parametrize("profile", profiles())
def test_only_a_sweep_that_says_so_screens(profile):
    """`kill` ends runs in the sweep screening, the same cells as the grid's; every other one makes
    claims or chooses rates, from whole runs.
    """
    for name in ALL:
        kills = {config.early_stop == "kill" for config in cells(name, profile)}
        assert kills == {name == "screening"}, name
    text = (ROOT / "params" / "screening.yaml").read_text()
    assert "compares none" in text.splitlines()[0]
    assert ids(cells("screening", profile)) == ids(cells("grid", profile))


def test_make_reference_runs_every_arm():
    """The learning rates, the grid and the factorized arms for each seed, then the rest; each name
    is a sweep."""
    recipe = (ROOT / "Makefile").read_text().split("\nreference:")[1].split("\n\n")[0]
    assert all(name in recipe for name in ["reference", "lr_check", *ARMS])
    assert "for seed in 0 1 2" in recipe


def test_the_reference_is_the_grid_with_seeds_at_one_learning_rate():
    """The cells of grid; three claim seeds; the rate of every arm, so that their cells are the same
    runs; lr_check tunes the same cells."""
    grid = requests(load_sweep("grid", profile="quick"))
    for profile in profiles():
        sweep = load_sweep("reference", profile=profile)
        check = load_sweep("lr_check", profile=profile)
        assert requests(sweep) == requests(check) == grid
        assert all(cell.tuning for cell in check.cells)
        for cell in sweep.cells:
            assert cell.config.seed == (0, 1, 2)
            assert cell.config.early_stop == "flag"
            assert not cell.tuning
        arms = [load_sweep(name, profile=profile) for name in ["reference", *ARMS]]
        rates = {cell.config.lr for arm in arms for cell in arm.cells}
        assert rates == {load_profile(profile)[1]["lr"]}
    assert load_sweep("noise_floor", profile="reference").cells[0].config.seed == tuple(range(9))
    reference = yaml.safe_load((ROOT / "params" / "reference.yaml").read_text())
    assert reference["parameters"]["dataset"] == "../shared/data/wiki-news"
