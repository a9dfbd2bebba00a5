"""Parameters are understood or refused, never guessed."""

from dataclasses import dataclass, fields

import pytest

from paramalloc.config import AnalysisConfig, TrainConfig, is_identity, load_profile
from paramalloc.config.fields import number, text
from paramalloc.errors import ConfigError

QUICK = {"profile": "quick"}


def build(**values) -> TrainConfig:
    return TrainConfig.from_dict(QUICK | values)


def test_the_profile_fills_only_what_is_not_set():
    """A name that is given wins over the profile; None leaves it to the profile."""
    config = build(tokens=409_600, lr=None)
    assert (config.tokens, config.total_params, config.vocab_size) == (409_600, 1_000_000, 4096)


def test_a_larger_model_gets_a_smaller_learning_rate_unless_one_is_given():
    """The profile's lr holds at its size. Under standard ten times the parameters divide it by the
    root of ten; under completep it stays, and so does a given one."""
    lr = load_profile("quick")[1]["lr"]
    for parametrization, larger in (("standard", float(f"{lr / 10**0.5:.3g}")), ("completep", lr)):
        assert build(total_params=10**6, parametrization=parametrization).lr == lr
        assert build(total_params=10**7, parametrization=parametrization).lr == larger
    assert build(total_params=10**6).lr == build(total_params=10**7).lr == lr
    assert build(total_params=10**7, lr=3e-3).lr == 3e-3


@pytest.mark.parametrize("text, value", [("1e-3", 1e-3), ("0.002", 2e-3), (1, 1.0)])
def test_numeric_text_is_a_number(text, value):
    """YAML reads 1e-3 as text; it is understood."""
    assert build(lr=text).lr == value


def test_whole_numbers_may_be_written_as_people_do():
    """1_000_000, "1_000_000", 1e6 and "1e6" are one value."""
    assert {
        build(total_params=value).total_params for value in (10**6, "1_000_000", 1e6, "1e6")
    } == {10**6}


@pytest.mark.parametrize(
    "value", ["1e-3,3e-3", "[1e-3, 3e-3]", " [0.001,3e-3 ]", [1e-3, "3e-3"], (0.001, 0.003)]
)
def test_a_list_makes_one_run_for_each_value(value):
    """lr and seed take one value or a list; the runs are their product, seeds innermost."""
    runs = build(lr=value, seed="0,1").runs()
    assert [(run.lr, run.seed) for run in runs] == [(1e-3, 0), (1e-3, 1), (3e-3, 0), (3e-3, 1)]


def test_on_and_off_are_booleans_in_yaml():
    """YAML's `compile: off` arrives as False and is understood."""
    assert (build(compile=False).compile, build(compile=True).compile) == ("off", "on")


@pytest.mark.parametrize(
    "values, message",
    [
        ({"gul": 4}, "unknown parameter 'gul': did you mean 'glu'?"),
        ({"glu": "abc"}, "glu must be a number, not 'abc'"),
        ({"glu": float("nan")}, "glu must be a finite number, not nan"),
        ({"glu": -1}, "glu must be between 0.25 and 16, not -1"),
        ({"glu": True}, "glu must be a number, not True"),
        ({"glu": [2, 3]}, "glu must be a number"),
        ({"vocab_size": 100_000}, "vocab_size must be between 257 and 65536, not 100000"),
        ({"tokens": 1.5}, "tokens must be a whole number, not 1.5"),
        ({"lr": []}, "lr is an empty list"),
        ({"dataset": 3}, "dataset must be text, not 3"),
        ({"device": "tpu"}, "device 'tpu' is not of the form auto|cpu|cuda(:\\d+)?"),
        ({"tokens": "9" * 400}, "tokens must be a finite number"),
        ({"early_stop": "maybe"}, "early_stop must be one of kill, flag, off, not 'maybe'"),
        ({"profile": "huge"}, "unknown profile 'huge': there are auto, quick, reference, study"),
        ({"batch_tokens": 1000}, "batch_tokens 1000 must be a multiple of seq_len 128"),
        ({"tokens": 500}, "tokens 500 is less than one step of batch_tokens 512"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(values, message):
    """Every mistake is a ConfigError whose one line names the parameter."""
    with pytest.raises(ConfigError) as error:
        build(**values)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_name_that_only_papermill_injected_is_refused():
    """Papermill warns of an unknown name and goes on; the notebook does not."""
    notebook = {
        "In": ["", "x = 1", "# Parameters\ngul = 4\n"],
        "gul": 4,
        "glu": 2.66,
        "profile": "quick",
    }
    with pytest.raises(ConfigError, match="unknown parameter 'gul'"):
        TrainConfig.from_notebook(notebook)


def test_other_variables_of_a_notebook_are_nobodys_business():
    """A second Run All, with the notebook's own variables about, works."""
    notebook = {
        "In": ["# Parameters\nglu = 3.0\n"],
        "glu": 3.0,
        "config": object(),
        "profile": "quick",
        "results": [],
    }
    assert TrainConfig.from_notebook(notebook).glu == 3.0


def test_the_baseline_keeps_what_a_factorized_arm_holds_fixed():
    """There the share and the expansion determine d_embed and d_ff alone; of a tied cell they
    determine the whole shape. A baseline's own learning rate is used."""
    arm = {"embedding": "factorized", "d_model": 112, "n_layers": 4}
    assert build(**arm, embed_share=0.25, d_embed=60, d_ff=412).baseline() == build(
        **arm, embed_share=0.35
    )
    assert build(d_model=216, n_layers=12, d_ff=576, embed_share=0.25, glu=4).baseline() == build()
    assert build(glu=4, lr=1e-3, baseline_lr=2e-3).baseline() == build(lr=2e-3, baseline_lr=2e-3)


def test_at_least_four_probes_fall_within_one_patience():
    """The early-stop rule sees at least four probes before it fires, at any budget."""
    for tokens in (30_720, 307_200, 5_000_000, 50_000_000, 200_000_000):
        for probes in (4, 20, 200):
            config = build(tokens=tokens, probes=probes, batch_tokens=1024)
            counts = sorted(step * config.batch_tokens for step in config.probe_steps if step)
            within = [
                sum(start < count <= start + config.patience for count in counts)
                for start in counts
            ]
            assert min(within[: max(1, len(counts) - 4)]) >= min(4, len(counts) - 1)


def test_the_studys_patience_is_a_million_tokens():
    """The rule as published: 0.5 perplexity for 1M tokens in a row, after a tenth of the budget.

    It only marks: a killed run would make a screening of the study.
    """
    config = TrainConfig.from_dict({"profile": "study"})
    assert (config.patience, config.grace, config.stop_margin, config.early_stop) == (
        1_000_000,
        5_000_000,
        0.5,
        "flag",
    )


def test_the_analysis_has_its_own_names():
    """Each notebook refuses the names of the other."""
    with pytest.raises(ConfigError, match="unknown parameter 'glu'"):
        AnalysisConfig.from_dict(QUICK | {"glu": 2})


def test_a_parameter_that_was_added_later_leaves_published_ids_alone():
    """It is a part of a run's identity only where it differs from its default."""

    @dataclass
    class Later:
        """A config with a parameter that older runs did not have."""

        old: float = number(0.0, 1.0, 0.5)
        new: float = number(0.0, 1.0, 0.99, added=True)
        place: str = text("here", identity=False)

    old, new, place = fields(Later)
    assert is_identity(old, 0.5) and not is_identity(old, None)
    assert not is_identity(new, 0.99) and is_identity(new, 0.95)
    assert not is_identity(place, "there")
