"""The explorer without a front end: its controls, its answers, the command it hands over."""

import shlex
from types import SimpleNamespace

import pandas as pd
import pytest

from paramalloc.allocation import allocation
from paramalloc.config import ExploreConfig, TrainConfig
from paramalloc.errors import ConfigError
from paramalloc.widgets import Explorer, LiveTraining
from paramalloc.widgets.controls import CONTEXTS, VOCABULARIES

MOVES = [
    {},
    {"embed_share": 0.45, "glu": 4.0},
    {"total_params": 1_000_000, "vocab_size": 4_096},
    {"embedding": "untied"},
    {"embedding": "factorized"},
    {"embedding": "factorized", "traded_against": "the depth"},
    {"mlp": "relu2"},
    {"embedding": "factorized", "traded_against": "the MLP"},
    *({"seq_len": length} for length in CONTEXTS),
    {"vocab_size": VOCABULARIES[0], "total_params": 1_000_000, "embed_share": 0.05},
]


def moved(moves: dict, **config) -> Explorer:
    explorer = Explorer(ExploreConfig(**config))
    for name, value in moves.items():
        explorer.controls[name].value = value
    return explorer


@pytest.mark.parametrize("profile", ("quick", "study"))
@pytest.mark.parametrize("moves", MOVES, ids=str)
def test_the_command_trains_the_shape_that_is_shown(moves, profile):
    """What papermill would get from the command is the allocation on display, in either profile."""
    explorer = moved(moves)
    words = shlex.split(explorer.command.value)
    given = {words[i + 1]: words[i + 2] for i, word in enumerate(words) if word == "-p"}
    assert words[:2] == ["papermill", "notebooks/train.ipynb"]
    config = TrainConfig.from_dict(given | {"profile": profile, "device": "cpu"})
    assert allocation(config).model == explorer.now.model
    assert config.seq_len == explorer.controls["seq_len"].value


@pytest.mark.parametrize("seq_len", (300, 500, 2048))
def test_the_command_fits_any_context(seq_len):
    """The command names batch_tokens where the profile's is no multiple of seq_len."""
    explorer = Explorer(ExploreConfig(seq_len=seq_len))
    words = shlex.split(explorer.command.value)
    given = {words[i + 1]: words[i + 2] for i, word in enumerate(words) if word == "-p"}
    assert TrainConfig.from_dict(given | {"device": "cpu"}).batch_tokens % seq_len == 0


def test_an_infeasible_request_says_so_and_the_next_one_is_answered():
    """The allocator's message replaces chart and command until the controls move on."""
    explorer = moved({"embed_share": 0.94})
    assert (
        "the nearest embed_share that fits is" in explorer.table.value
        and not explorer.command.value
    )
    assert explorer.now is None and explorer.pin.disabled
    explorer.controls["embed_share"].value = 0.3
    assert (
        "Not feasible" not in explorer.table.value
        and "<svg" in explorer.chart.value
        and explorer.command.value
    )


def test_a_pinned_allocation_stays_for_comparison():
    """Two columns and two bars while one is pinned; one after it is let go."""
    explorer = moved({"embed_share": 0.25})
    explorer.toggle()
    explorer.controls["embed_share"].value = 0.45
    assert "24 layers of width 160" in explorer.table.value
    assert (
        "6 layers of width 280" in explorer.table.value
        and "pinned: share 25.6%" in explorer.chart.value
        and "'></th>" not in explorer.table.value
    )
    explorer.toggle()
    assert "24 layers" not in explorer.table.value and "pinned" not in explorer.chart.value


def test_without_a_front_end_the_defaults_show():
    """What nbconvert and nbval get is the table and the chart, as text and HTML."""
    shown = Explorer()._repr_mimebundle_()
    assert "11 layers of width 224" in shown["text/plain"]
    assert "<svg" in shown["text/html"] and "<table" in shown["text/html"]


def test_finished_runs_of_the_size_are_in_the_plane():
    """A completed run is a dot with its dev loss where budget, vocabulary and embedding agree."""
    explorer = Explorer()
    row = {
        "total_params": 9_995_552,
        "vocab_size": 16_000,
        "embedding": "tied",
        "status": "completed",
        "embed_share": 0.359,
        "glu": 2.54,
        "mlp": "swiglu",
        "data_fingerprint": "a",
        "tokens": 1000,
        "seq_len": 512,
    }
    others = [
        {"mlp": "relu2"},
        {"tokens": 9},
        {"total_params": 1_000_000},
        {"vocab_size": 4_096},
        {"embedding": "untied"},
        {"status": "diverged"},
    ]
    explorer.runs = pd.DataFrame(
        [
            row | {"dev_loss": 3.87},
            row | {"dev_loss": 3.87, "glu": 3.0},
            *(row | other | {"dev_loss": 4.44} for other in others),
        ]
    )
    explorer.refresh()
    assert ">3.87<" in explorer.chart.value and ">4.44<" not in explorer.chart.value
    explorer.controls["embedding"].value = "untied"
    assert ">4.44<" in explorer.chart.value and ">3.87<" not in explorer.chart.value


def test_every_control_is_labelled():
    """Each control has a description, and unknown hardware is refused in one line."""
    assert all(control.description for control in Explorer().controls.values())
    with pytest.raises(ConfigError, match="unknown hardware 'abacus': known are"):
        Explorer(ExploreConfig(hardware="abacus"))


def test_measuring_shows_its_progress_and_time_left():
    """A line when a stage begins, and then twice a second at most."""
    live = LiveTraining()
    shown = []
    live.line = SimpleNamespace(update=lambda content, raw: shown.append(content["text/plain"]))
    for fraction, left in ((0.0, None), (0.5, 65.0), (0.6, 60.0)):
        live.next_line -= 10 * (fraction == 0.5)
        live(
            {"run_id": "a", "stage": "perplexity of dev", "fraction": fraction, "time_left_s": left}
        )
    assert shown == [
        "evaluating: perplexity of dev",
        "evaluating: perplexity of dev 50%, 1:05 left",
    ]
