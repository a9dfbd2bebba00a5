"""A device is used as its hardware allows, and refused where torch cannot use it."""

import pytest
import torch

from paramalloc.config import TrainConfig
from paramalloc.errors import ConfigError
from paramalloc.model import device


def test_half_precision_is_used_only_where_the_hardware_has_it(monkeypatch):
    """bf16 from compute capability 8.0 and on CPUs with bf16 instructions, fp16 on a V100, else
    fp32.
    """
    for capability, expected in (((7, 0), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_, now=capability: now)
        assert device.pick_precision("auto", torch.device("cuda")) == expected
    for features, expected in (
        ({"amx_bf16": True}, "bf16"),
        ({"avx512_bf16": True}, "bf16"),
        ({"avx512_f": True}, "fp32"),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda now=features: now, raising=False)
        assert device.pick_precision("auto", torch.device("cpu")) == expected


def test_a_device_that_is_not_there_is_refused(tiny, monkeypatch):
    """One line says what to use instead, before anything is computed."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="torch finds no CUDA device: use device cpu or auto"):
        TrainConfig.from_dict(tiny | {"device": "cuda"})


@pytest.mark.parametrize(
    "capability, architectures, runs",
    [
        ((7, 0), ["sm_75", "sm_80", "sm_90"], False),
        ((7, 0), ["sm_70", "sm_80"], True),
        ((8, 6), ["sm_80", "sm_90a"], True),
        ((8, 0), ["sm_86"], False),
        ((12, 0), ["sm_90", "compute_90"], True),
        ((9, 0), ["sm_80"], False),
    ],
)
def test_a_card_needs_a_build_of_torch_for_its_generation(capability, architectures, runs):
    """Kernels run on a card of the same major version and no older minor; PTX runs on any newer
    card.
    """
    assert device.built_for(capability, architectures) == runs


def test_the_peak_of_a_run_is_not_that_of_an_earlier_one():
    """A process that held 400 MB before holds little for the next run, whatever torch keeps."""
    device.keep_freed_memory()
    cpu = torch.device("cpu")
    if device.reset_peak_memory(cpu):
        pytest.skip("this system cannot measure a peak anew")
    large = torch.ones(10**8)
    before = device.peak_memory(cpu)
    del large
    device.release_memory()
    assert device.reset_peak_memory(cpu) == 0
    assert device.peak_memory(cpu) < before - 300e6
