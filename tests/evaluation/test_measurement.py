"""What a measurement keeps of a part that fails."""

import pytest
import torch

from paramalloc.config import ModelConfig, TrainConfig
from paramalloc.evaluation import measurement
from paramalloc.model import DecoderLM


@pytest.fixture
def elsewhere(tiny, monkeypatch):
    """A model that is not on the CPU, and its config."""
    shape = {
        "vocab_size": 300,
        "d_model": 32,
        "n_layers": 1,
        "n_heads": 4,
        "n_kv_heads": 2,
        "d_head": 8,
        "d_ff": 64,
    }
    model = DecoderLM(ModelConfig(**shape)).to("meta")
    monkeypatch.setattr(measurement, "device_name", lambda device: "a GPU")
    return model, TrainConfig.from_dict(tiny)


def measure_inference(elsewhere, precision):
    model, config = elsewhere
    return measurement._measure_inference(model, config, precision, lambda *_: None)


def test_the_cost_on_the_cpu_is_kept_when_the_gpu_fails(elsewhere, monkeypatch):
    """It stays in the details, the failure is named, and no column is filled."""

    def cost(model, seq_len, dtype, place):
        if place.type != "cpu":
            raise RuntimeError("no such kernel")
        return {"decode_ms_per_token": 9.0}

    monkeypatch.setattr(measurement, "inference_cost", cost)
    measured = measure_inference(elsewhere, "bf16")
    assert measured.columns == {}
    assert measured.failed == {"inference": "RuntimeError: no such kernel"}
    assert measured.details["inference"] == {
        "threads": torch.get_num_threads(),
        "cpu": {"decode_ms_per_token": 9.0},
    }


@pytest.mark.parametrize(
    "precision, dtype", [("bf16", torch.bfloat16), ("fp32", torch.float32), ("?", torch.float32)]
)
def test_inference_is_measured_in_the_precision_of_training(
    elsewhere, monkeypatch, precision, dtype
):
    """In float32 on the CPU; on a GPU as trained, in float32 where the precision has no other."""
    monkeypatch.setattr(
        measurement,
        "inference_cost",
        lambda model, seq_len, dtype, place: {"dtype": dtype},
    )
    measured = measure_inference(elsewhere, precision)
    assert measured.columns == {"dtype": dtype, "inference_device": "a GPU"}
    assert measured.details["inference"]["cpu"] == {"dtype": torch.float32}
    assert measured.failed == {}


def test_what_was_timed_alone_outlasts_an_evaluation():
    """Its rounds are worth more than one measurement; what a run timed itself is replaced."""
    columns = {"dev_loss": 2.0, "decode_ms_per_token": 9.0, "inference_device": "cpu"}
    timed = {"dev_loss": 3.0, "decode_ms_per_token": 5.0, "tokens_per_s": 100.0}
    alone = measurement._replace_measured(timed | {"speeds": "alone"}, columns)
    assert alone["dev_loss"] == 2.0 and alone["decode_ms_per_token"] == 5.0
    other = measurement._replace_measured(timed | {"speeds": "training"}, columns)
    assert other["decode_ms_per_token"] == 9.0 and other["tokens_per_s"] == 100.0
